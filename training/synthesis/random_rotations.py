# SPDX-License-Identifier: Apache-2.0
"""Rotation matrices from angles about axes, and random ones; numpy."""
from __future__ import annotations

import numpy as np


def axis_rotation(axes: str, angles):
    """Return the product of rotations (3, 3) about named axes, the first one leftmost; radians.

    axis_rotation('zyx', (yaw, pitch, roll)) is Rz(yaw) Ry(pitch) Rx(roll).
    """
    rotation = np.eye(3)
    for axis, angle in zip(axes, angles):
        i, j = {'x': (1, 2), 'y': (2, 0), 'z': (0, 1)}[axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i] = np.sin(angle)
        turn[i, j] = -turn[j, i]
        rotation = rotation @ turn
    return rotation


def random_rotation(rng: np.random.Generator):
    """Draw a uniformly distributed rotation (3, 3) from a random unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
