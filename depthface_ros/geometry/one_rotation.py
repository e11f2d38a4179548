# SPDX-License-Identifier: Apache-2.0
"""Single rotations and their vectors, in plain floats: numpy takes ten times as long for them."""
from __future__ import annotations

from math import atan2, cos, sin, sqrt

import numpy as np

from depthface_ros.geometry.rotations import rotation_from_vector, vector_from_rotation

TINY = 1e-12  # of an angle or its sine, below which the limit is taken


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) float64 of a rotation vector (3,), axis times radians.

    Rodrigues' formula, as :func:`depthface_ros.geometry.rotations.rotation_from_vector`.
    """
    x, y, z = vector.tolist()
    half = 0.5 * sqrt(x * x + y * y + z * z)
    sinc = sin(half) / half if half > TINY else 1.0
    a, b = sinc * cos(half), sinc * sinc / 2  # sin(angle) / angle, (1 - cos(angle)) / angle^2
    return np.array([[1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y],
                     [b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x],
                     [b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y)]])


def rotation_matrices(vectors):
    """Return rotations (N, 3, 3) of a few rotation vectors (N, 3); tensors are computed at once."""
    if not isinstance(vectors, np.ndarray):
        return rotation_from_vector(vectors)
    return np.array([rotation_matrix(vector) for vector in vectors], vectors.dtype)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,) float64 of a rotation (3, 3), of up to half a turn."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    x, y, z = zy - yz, xz - zx, yx - xy
    sine, cosine = sqrt(x * x + y * y + z * z), xx + yy + zz - 1  # twice of both
    if cosine < -1.8:  # the sine is too small for the axis
        return np.asarray(vector_from_rotation(rotation), float)
    factor = atan2(sine, cosine) / sine if sine > TINY else 0.5
    return np.array([factor * x, factor * y, factor * z])
