# SPDX-License-Identifier: Apache-2.0
"""What stands around people and in front of them: rooms, furniture, seats, hands and things held.

All functions return triangles (T, 3, 3), metres, in the camera frame unless they say otherwise.
"""
from __future__ import annotations

import numpy as np

from training.synthesis.rotations import axis_rotation, random_rotation
from training.synthesis.surfaces import box, cylinder, ellipsoid, quad

ROOM = 12.0  # m, edge of walls and floors


def sample_room(rng: np.random.Generator, up, people_points):
    """A list of walls, floor, ceiling and furniture that keep clear of people; it may be empty.

    :param up: (3,) direction away from the ground, camera frame.
    :param people_points: (N, 3) metres, where people are.
    """
    if rng.random() < 0.12:
        return []  # nothing within reach of the sensor
    up = np.asarray(up) / np.linalg.norm(up)
    inside = np.concatenate([people_points, 0.15 * np.eye(3), -0.15 * np.eye(3)])  # and the camera
    parts = []
    if rng.random() < 0.7:
        parts.append(_behind(inside, -up, rng.uniform(0.1, 1.2)))
    if rng.random() < 0.4:
        parts.append(_behind(inside, up, rng.uniform(0.3, 1.5)))
    forward = np.array([0, 0, 1]) - up[2] * up
    if np.linalg.norm(forward) > 0.2:
        forward /= np.linalg.norm(forward)
        azimuths = [rng.normal(0, 0.5)] if rng.random() < 0.85 else []
        azimuths += [side * rng.uniform(0.8, 1.7) for side in (-1, 1) if rng.random() < 0.4]
        for azimuth in azimuths:
            outwards = forward * np.cos(azimuth) + np.cross(up, forward) * np.sin(azimuth)
            gap = np.exp(rng.uniform(np.log(0.03), np.log(3)))
            parts.append(_behind(inside, outwards, gap))
    for _ in range(rng.poisson(3)):
        thing = _sample_furniture(rng)
        radius = np.sqrt((thing ** 2).sum(-1).max())
        place = people_points[rng.integers(len(people_points))] + rng.normal(0, 0.8, 3)
        clear = np.linalg.norm(people_points - place, axis=1).min() > radius + 0.03
        beside = _angle_to_nearest(place, people_points) > radius / max(place[2], 0.1)
        behind = place[2] > people_points[:, 2].max() - 0.1
        if place[2] > radius + 0.15 and clear and (beside or behind):
            parts.append(thing + place)
    return parts


def sample_seat(rng: np.random.Generator, person):
    """A chair's back or a head rest that touches a person's back; face frame."""
    low = rng.uniform(-0.5, -0.15)  # how far below the sellion the chair's top is
    if rng.random() < 0.4:  # a head rest, with its posts hidden
        size = rng.uniform((0.08, 0.22, 0.14), (0.14, 0.34, 0.28))
        shape = ellipsoid(size / 2) if rng.random() < 0.5 else box(size)
        back = person.head_vertices[:, 0].min()
        return shape + [back - size[0] / 2 - rng.uniform(0, 0.04), 0, rng.uniform(-0.08, 0.04)]
    size = np.array([rng.uniform(0.05, 0.12), rng.uniform(0.4, 0.6), 0.7])
    back = person.body_vertices[:, 0].min()
    tilt = axis_rotation('y', [rng.uniform(-0.3, 0.05)])
    slab = (box(size) + [-size[0] / 2, 0, -0.35]) @ tilt.T
    return slab + [back - rng.uniform(0, 0.03), 0, low]


def sample_occluder(rng: np.random.Generator, target):
    """Something between the camera and a point (3,): a hand, a phone, a cup, a bar or a sheet."""
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
    # Just clear of the point, at most halfway to the camera.
    distance = np.linalg.norm(target)
    radius = min(np.sqrt((thing ** 2).sum(-1).max()), 0.10)
    gap = min(radius * 0.6 + rng.exponential(0.06), 0.5 * distance)
    return thing + target * (1 - gap / distance)


def _hand(rng):
    """A palm, five fingers bent alike and a forearm; palm centred on the origin, across z."""
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


def _sample_furniture(rng):
    size = np.exp(rng.uniform(np.log(0.06), np.log(0.7), 3))
    shape = rng.integers(4)
    if shape == 0:
        return box(size) @ axis_rotation('y', [rng.uniform(0, 3)]).T
    if shape == 1:
        return cylinder(size[0] / 2, size[1] * 2) @ axis_rotation('xy', rng.uniform(0, 3, 2)).T
    if shape == 2:
        return ellipsoid(size / 2) @ random_rotation(rng).T
    return ellipsoid([size[0] / 2] * 3)


def _behind(points, outwards, gap):
    """A large square across `outwards` (a unit vector) that leaves points behind it by a gap."""
    middle = points.mean(0)
    reach = ((points - middle) @ outwards).max() + gap
    helper = np.eye(3)[np.abs(outwards).argmin()]
    right = np.cross(helper, outwards)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(outwards, right), outwards], axis=1)
    # Tiled: one huge square would leave float32 little precision inside the image.
    ticks = (np.arange(6) - 2.5) * (ROOM / 6)
    tile = quad(ROOM / 6, ROOM / 6)
    square = np.concatenate([tile + [x, y, 0] for x in ticks for y in ticks])
    return square @ axes.T + (middle + reach * outwards)


def _angle_to_nearest(place, points):
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = directions @ (place / max(np.linalg.norm(place), 1e-6))
    return np.arccos(np.clip(cosine.max(), -1, 1))
