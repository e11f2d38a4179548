# SPDX-License-Identifier: Apache-2.0
"""Things that resemble heads: balls, lamps, plants, coats, monitors, chairs.

Each function returns triangles (T, 3, 3), metres; z points up, the middle is near the origin.
"""
from __future__ import annotations

import numpy as np

from training.synthesis.random_rotations import axis_rotation, random_rotation
from training.synthesis.scene.solids import box, cylinder, ellipsoid, revolve


def ball(rng: np.random.Generator):
    """Return a ball, a balloon or a melon; sometimes on something like a stand."""
    radii = rng.uniform(0.06, 0.16) * rng.uniform(0.85, 1.15, 3)
    parts = [ellipsoid(radii, 24, 12) @ random_rotation(rng).T]
    if rng.random() < 0.4:
        parts.append(cylinder(rng.uniform(0.01, 0.08), 0.3) + [0, 0, -0.15 - radii.min()])
    return np.concatenate(parts)


def lamp(rng: np.random.Generator):
    """Return a shade, or a globe, on a thin pole, upright or hanging."""
    low, high = rng.uniform(0.07, 0.16, 2)
    height = rng.uniform(0.12, 0.26)
    if rng.random() < 0.4:
        shade = ellipsoid((low, low, height / 2), 20, 10)
    else:
        shade = revolve([[0, -height / 2], [low, -height / 2], [high, height / 2],
                         [0, height / 2]], 20)
    length = rng.uniform(0.2, 0.9)
    pole = cylinder(rng.uniform(0.006, 0.02), length, 8)
    return np.concatenate([shade, pole + [0, 0, rng.choice([-1, 1]) * length / 2]])


def plant(rng: np.random.Generator):
    """Return leaves around a stem in a pot."""
    spread = rng.uniform(0.06, 0.2)
    parts = [revolve([[0, -0.32], [0.06, -0.32], [0.09, -0.16], [0, -0.16]], 14)]
    for _ in range(rng.integers(12, 30)):
        leaf = ellipsoid(rng.uniform((0.01, 0.02, 0.002), (0.03, 0.08, 0.005)), 6, 4)
        parts.append(leaf @ random_rotation(rng).T + rng.normal(0, spread, 3) * [1, 1, 0.9])
    return np.concatenate(parts)


def coat(rng: np.random.Generator):
    """Return a coat on a hook or a hanger: shoulders, folds, a hood or collar, and nobody inside."""
    shoulder, depth = rng.uniform(0.12, 0.24), rng.uniform(0.05, 0.12)
    profile = [[0, -0.55], [0.95, -0.5], [0.85, -0.25], [1, -0.05], [0.8, 0.04], [0.3, 0.1],
               [rng.uniform(0.2, 0.5), rng.uniform(0.12, 0.22)], [0, rng.uniform(0.2, 0.3)]]
    coat = revolve(profile, 28)
    around = np.arctan2(coat[..., 1], coat[..., 0])
    folds = 1 + rng.uniform(0.03, 0.15) * np.sin(rng.integers(3, 9) * around + 9 * coat[..., 2])
    return coat * np.stack([depth * folds, shoulder * folds, np.ones_like(folds)], -1)


def monitor(rng: np.random.Generator):
    """Return a screen on its foot, a picture frame, or a box of a head's size."""
    if rng.random() < 0.4:
        return box(rng.uniform(0.12, 0.3, 3)) @ random_rotation(rng).T
    width, height = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.4)
    parts = [box((0.03, width, height)), box((0.04, 0.05, 0.2)) + [-0.03, 0, -height / 2 - 0.1],
             box((0.2, 0.25, 0.02)) + [0, 0, -height / 2 - 0.2]]
    return np.concatenate(parts) @ axis_rotation('z', [rng.uniform(0, 6.3)]).T


def seat(rng: np.random.Generator):
    """Return an empty chair, with a head rest."""
    width = rng.uniform(0.18, 0.32)
    rest = rng.uniform((0.06, 0.18, 0.12), (0.13, 0.3, 0.26))
    shape = ellipsoid(rest / 2, 16, 10) if rng.random() < 0.6 else box(rest)
    back = box((0.09, 2 * width, 0.6)) + [0, 0, -0.3 - rest[2] / 2 - rng.uniform(0, 0.08)]
    posts = [cylinder(0.008, 0.2, 8) + [0, y, -rest[2] / 2] for y in (-0.05, 0.05)]
    return np.concatenate([shape, back, *posts]) @ axis_rotation('z', [rng.uniform(0, 6.3)]).T


def vessel(rng: np.random.Generator):
    """Return a vase, a bottle, a bucket or a helmet: any smooth solid of revolution."""
    z = np.linspace(-1, 1, 9)
    height, phase = rng.normal(0, 0.25, 3), rng.uniform(0, 6, (3, 1))
    waves = height @ np.sin(np.outer([1, 2, 3], z * 1.6) + phase)
    radius = np.sqrt(np.clip(1 - z ** 8, 0, 1)) * np.clip(1 + waves, 0.3, 2)
    wide, high = rng.uniform(0.04, 0.13), rng.uniform(0.08, 0.22)
    return revolve(np.stack([wide * radius, high * z], -1), 18)


CLUTTER = (ball, lamp, plant, coat, monitor, seat, vessel)
