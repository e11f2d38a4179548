# SPDX-License-Identifier: Apache-2.0
"""What people hold in front of faces: hands, phones, cups, sheets; and bars in the way.

Triangles (T, 3, 3), metres, camera frame.
"""
from __future__ import annotations

import numpy as np
from scipy.ndimage import minimum_filter

from training.synthesis.random_rotations import axis_rotation, random_rotation
from training.synthesis.scene.solids import box, cylinder, ellipsoid

CELL = 0.010  # m at the nearest head, cell size of the range image
SAMPLES = 2000  # points on a thing that are compared with this range image


def sample_occluder(rng: np.random.Generator, target, heads_points):
    """Draw an occluder of a point (3,): a hand, a phone, a cup, a bar or a sheet.

    It touches no head but may come near: half of them end a few centimetres away.

    :param heads_points: (N, 3) metres, camera frame, dense points of all heads.
    :returns: (T, 3, 3), or (0, 3, 3) where there is no room between head and camera.
    """
    kind = rng.choice(['hand', 'phone', 'cup', 'bar', 'sheet', 'ball'],
                      p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    if kind == 'hand':
        thing = _hand(rng)
    elif kind == 'phone':
        thing = box(rng.uniform((0.065, 0.13, 0.007), (0.085, 0.17, 0.012)))
        if rng.random() < 0.6:  # someone holds it
            thing = np.concatenate([thing, _hand(rng) + [0, 0.05, 0.025]])
    elif kind == 'cup':
        thing = cylinder(rng.uniform(0.03, 0.05), rng.uniform(0.08, 0.14), 20)
    elif kind == 'bar':
        thing = cylinder(rng.uniform(0.008, 0.03), rng.uniform(0.3, 1.5), 10)
    elif kind == 'sheet':
        thing = box((0.21, 0.297, 0.002))
    else:
        thing = ellipsoid(rng.uniform(0.04, 0.1, 3), 20, 10)
    thing = thing @ random_rotation(rng).T
    ray = target / np.linalg.norm(target)
    gap = rng.choice([0.002, rng.exponential(0.03), rng.exponential(0.15)])
    thing = thing + target
    for _ in range(3):  # nearer things cover more
        thing = thing - ray * (clearance(rng, thing, heads_points) + gap)
        gap = 0.002
    in_the_way = (thing @ ray).min() > 0.1
    return thing if in_the_way else thing[:0]


def clearance(rng, thing, heads_points):
    """Return the shift (m) towards the camera that places a thing before all heads.

    Heads become a coarse range image, the thing random points on its triangles.
    """
    a, b, c = thing.transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(thing), SAMPLES, p=area / area.sum())
    weights = rng.dirichlet(np.ones(3), len(chosen))
    samples = np.concatenate([(thing[chosen] * weights[..., None]).sum(1), thing.reshape(-1, 3)])
    samples, heads_points = (points[points[:, 2] > 0.05] for points in (samples, heads_points))
    cell = CELL / np.linalg.norm(heads_points, axis=1).min()

    def cells(points):
        return np.round(points[:, :2] / (points[:, 2:] * cell)).astype(np.int64)

    heads, things = cells(heads_points), cells(samples)
    low, high = heads.min(0), heads.max(0)
    nearest = np.full(high - low + 1, 100.0)
    np.minimum.at(nearest, tuple((heads - low).T), np.linalg.norm(heads_points, axis=1))
    nearest = minimum_filter(nearest, 3)  # no gaps between points
    inside = ((things >= low) & (things <= high)).all(1)
    before = nearest[tuple((things[inside] - low).T)]
    beyond = np.linalg.norm(samples[inside], axis=1) - before + 0.003
    return beyond.max(initial=-0.15)


def _hand(rng):
    """Return a palm, five fingers bent alike and a forearm; palm centred on the origin, across z."""
    spread, bend = rng.uniform(0.02, 0.3), rng.uniform(0, 1.2)
    parts = [ellipsoid((0.042, 0.048, 0.014), 14, 8)]
    for k in range(4):
        length = (0.068, 0.078, 0.072, 0.058)[k] * rng.uniform(0.95, 1.05)
        turn = axis_rotation('zx', ((1.5 - k) * spread * 0.5, bend * rng.uniform(0.6, 1.2)))
        finger = ellipsoid((0.0085, length / 2, 0.0085), 8, 6) + [0, -length / 2, 0]
        parts.append(finger @ turn.T + [(k - 1.5) * 0.02, -0.04, 0])
    thumb = ellipsoid((0.01, 0.034, 0.01), 8, 6) + [0, -0.03, 0]
    turn = axis_rotation('zx', (-rng.uniform(0.5, 1.1), bend * 0.5))
    parts.append(thumb @ turn.T + [-0.035, 0.015, 0])
    arm = ellipsoid((0.034, 0.16, 0.03), 12, 8) + [0, 0.18, 0]
    parts.append(arm @ axis_rotation('xz', rng.uniform(-0.6, 0.6, 2)).T)
    hand = np.concatenate(parts) * rng.uniform(0.85, 1.1)
    return hand * [rng.choice([-1, 1]), 1, 1]  # left or right
