# SPDX-License-Identifier: Apache-2.0
"""Covariances of poses, as geometry_msgs/PoseWithCovariance defines them.

Order: position x, y, z, then rotation about x, y, z. The axes are those of a fixed frame. Rotations
are about the origin of the face. Units: m^2, m rad, rad^2. A camera measures directions better than
distances, so errors across the viewing ray and along it differ. Errors of rotations differ by axis
of the face.
"""
from __future__ import annotations

import math

import numpy as np

FORWARD = (0.0, 0.0, 1.0)  # of an optical frame
TINY = 1e-9  # m, and sine of an angle


def isotropic_covariance(rotation_std: float, position_std: float) -> np.ndarray:
    """Return the covariance (6, 6) float64 of one sigma for all axes, rad and m."""
    return np.diag(np.repeat(np.square([position_std, rotation_std], dtype=float), 3))


def pose_covariance(camera_from_face: np.ndarray, axis_std: np.ndarray) -> np.ndarray:
    """Return the covariance (6, 6) float64 in the camera frame, of independent errors.

        C = A diag(axis_std^2) A'

    :param camera_from_face: (4, 4), metres.
    :param axis_std: (6,) m and rad, one sigma each along the axes A of :func:`error_axes`.
    """
    scaled = error_axes(camera_from_face) * axis_std
    return scaled @ scaled.T


def error_axes(camera_from_face: np.ndarray) -> np.ndarray:
    """Return the axes (6, 6) along which errors of a pose are independent, as columns.

    Position: right, down, and along the viewing ray. Rotation: roll, pitch and yaw, about x, y and
    z of the face. All in the camera frame.
    """
    pose = np.asarray(camera_from_face, float)
    return _blocks(ray_axes(pose[:3, 3]), pose[:3, :3])


def ray_axes(position: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) with the columns right, down, and along the ray to a position."""
    distance = math.hypot(*position)
    x, y, z = (value / distance for value in position) if distance > TINY else FORWARD
    level = math.hypot(x, z)
    sine, cosine = (x / level, z / level) if level > TINY else (0.0, 1.0)  # right above or below
    return np.array([[cosine, -y * sine, x], [0.0, level, y], [-sine, -y * cosine, z]])


def axis_std(covariance: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return one sigma (6,) of a covariance (6, 6) along axes, the columns of a matrix (6, 6)."""
    return np.sqrt(np.einsum('ij,ik,kj->j', axes, covariance, axes))


def rotated(covariance: np.ndarray, a_from_b: np.ndarray) -> np.ndarray:
    """Return in frame a the covariance (6, 6) of frame b, by the rotation a_from_b (3, 3)."""
    both = _blocks(a_from_b, a_from_b)
    return both @ covariance @ both.T


def _blocks(position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return the block diagonal matrix (6, 6) of two matrices (3, 3)."""
    matrix = np.zeros((6, 6))
    matrix[:3, :3], matrix[3:, 3:] = position, rotation
    return matrix
