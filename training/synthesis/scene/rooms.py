# SPDX-License-Identifier: Apache-2.0
"""What stands around people: walls, furniture, seats, and things that resemble heads.

All functions return triangles (T, 3, 3), metres, in the camera frame unless stated otherwise.
"""
from __future__ import annotations

import numpy as np

from training.synthesis.random_rotations import axis_rotation, random_rotation
from training.synthesis.scene.clutter import CLUTTER
from training.synthesis.scene.solids import box, cylinder, ellipsoid, quad

ROOM = 12.0  # m, edge of walls and floors


def sample_room(rng: np.random.Generator, up, people_points, clutter: int):
    """Draw a list of walls, floor, ceiling and furniture that keep clear of people; it may be empty.

    :param up: (3,) direction away from the ground, camera frame.
    :param people_points: (N, 3) metres, where people are.
    :param clutter: maximum number of things that resemble heads or people.
    """
    if not clutter and rng.random() < 0.12:
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
    upright = _upright(up).T
    for _ in range(clutter):
        _place(rng, CLUTTER[rng.integers(len(CLUTTER))](rng) @ upright, people_points, parts)
    for _ in range(rng.poisson(3)):
        _place(rng, _sample_furniture(rng), people_points, parts)
    return parts


def sample_seat(rng: np.random.Generator, person):
    """Draw a chair's back or a head rest that touches a person's back; face frame."""
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


def _place(rng, thing, people_points, parts):
    """Append a thing to parts, beside or behind people, if a place is found where it is clear."""
    radius = np.sqrt((thing ** 2).sum(-1).max())
    for _ in range(3):
        place = people_points[rng.integers(len(people_points))] + rng.normal(0, 0.7, 3)
        clear = np.linalg.norm(people_points - place, axis=1).min() > radius + 0.03
        beside = _angle_to_nearest(place, people_points) > radius / max(place[2], 0.1)
        behind = place[2] > people_points[:, 2].max() - 0.1
        if place[2] > radius + 0.15 and clear and (beside or behind):
            parts.append(thing + place)
            return


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
    """Return a large square across `outwards` (a unit vector) that leaves points behind it by a gap."""
    middle = points.mean(0)
    reach = ((points - middle) @ outwards).max() + gap
    axes = _upright(outwards)
    # Tiled: one huge square would leave float32 little precision inside the image.
    ticks = (np.arange(6) - 2.5) * (ROOM / 6)
    tile = quad(ROOM / 6, ROOM / 6)
    square = np.concatenate([tile + [x, y, 0] for x in ticks for y in ticks])
    return square @ axes.T + (middle + reach * outwards)


def _upright(up):
    """Return a rotation (3, 3) that maps z to `up`; the turn about `up` is arbitrary."""
    helper = np.eye(3)[np.abs(up).argmin()]
    right = np.cross(helper, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(up, right), up], axis=1)


def _angle_to_nearest(place, points):
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = directions @ (place / max(np.linalg.norm(place), 1e-6))
    return np.arccos(np.clip(cosine.max(), -1, 1))
