# SPDX-License-Identifier: Apache-2.0
"""Single rotations and their vectors, in plain floats: numpy takes ten times as long for them."""
from __future__ import annotations

from math import atan2, cos, sin, sqrt

import numpy as np

from depthface_ros.compiled import compiled, in_order, takes
from depthface_ros.geometry.rotations import (
    compose,
    rotation_from_vector,
    vector_from_rotation,
)

TINY = 1e-12  # of an angle or its sine, below which the limit is taken


@compiled
def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) float64 of a rotation vector (3,), axis times radians.

    Rodrigues' formula, as :func:`depthface_ros.geometry.rotations.rotation_from_vector`.
    """
    x, y, z = float(vector[0]), float(vector[1]), float(vector[2])
    half = 0.5 * sqrt(x * x + y * y + z * z)
    sinc = sin(half) / half if half > TINY else 1.0
    a, b = sinc * cos(half), sinc * sinc / 2  # sin(angle) / angle, (1 - cos(angle)) / angle^2
    return np.array([[1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y],
                     [b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x],
                     [b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y)]])


@compiled
def moved_pose(pose: np.ndarray, move: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return a pose (4, 4) float64, moved by (3,) m and turned by a rotation vector (3,).

    Both are along the axes of the parent frame. The rotation stays one: without a Newton step to
    the nearest one, rounding errors would accumulate.
    """
    moved, turned = pose.copy(), _product(rotation_matrix(turn), pose)
    square = _product(turned.T, turned)
    for i in range(3):
        moved[i, 3] += move[i]
        for j in range(3):
            total = 1.5 * turned[i, j]
            for k in range(3):
                total -= 0.5 * turned[i, k] * square[k, j]
            moved[i, j] = total
    return moved


@compiled
def _product(a, b):
    """Return the product of the first three rows and columns of matrices."""
    found = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            found[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
    return found


def corrected(a_from_b, vectors, translations):
    """Return a_from_c (N, 4, 4) by rotation vectors (N, 3) rad and translations (N, 3) m of c in b.
    """
    if takes(a_from_b):
        return _corrected(in_order(a_from_b), in_order(vectors), in_order(translations))
    return compose(a_from_b, rotation_from_vector(vectors), translations)


@compiled
def _corrected(a_from_b, vectors, translations):
    """Return the same in one loop; float32."""
    found = a_from_b.copy()
    for k in range(len(found)):
        turned = _product(a_from_b[k], rotation_matrix(vectors[k]))
        for i in range(3):
            for j in range(3):
                found[k, i, j] = turned[i, j]
                found[k, i, 3] += a_from_b[k, i, j] * translations[k, j]
    return found


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,) float64 of a rotation (3, 3), of up to half a turn."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    x, y, z = zy - yz, xz - zx, yx - xy
    sine, cosine = sqrt(x * x + y * y + z * z), xx + yy + zz - 1  # twice of both
    if cosine < -1.8:  # the sine is too small for the axis
        return np.asarray(vector_from_rotation(rotation), float)
    factor = atan2(sine, cosine) / sine if sine > TINY else 0.5
    return np.array([factor * x, factor * y, factor * z])
