# SPDX-License-Identifier: Apache-2.0
"""Rotations of network outputs and for messages and displays; numpy or torch."""
from __future__ import annotations

from functools import lru_cache

from depthface_ros.geometry.arrays import device_of, namespace


def rotation_from_6d(columns):
    """Orthonormalise two columns to rotation matrices: (..., 6) to (..., 3, 3).

    Gram-Schmidt as in Zhou et al. 2019, 'On the Continuity of Rotation Representations in Neural
    Networks', equation 15: the first three numbers are the first column.
    """
    xp = namespace(columns)
    first = unit(columns[..., :3])
    second = columns[..., 3:]
    second = unit(second - first * (first * second).sum(axis=-1, keepdims=True))
    return xp.stack([first, second, cross(first, second)], axis=-1)


def rotation_from_vector(vectors):
    """Return rotation matrices (..., 3, 3) of rotation vectors (..., 3), axis times radians.

    Rodrigues' formula, I + sin(a)/a K + (1 - cos(a))/a^2 K^2 with K the cross-product matrix.
    """
    xp = namespace(vectors)
    square = (vectors * vectors).sum(axis=-1)[..., None, None]
    half = 0.5 * xp.sqrt(square).clip(1e-12)  # below the limit, the sine equals the angle
    sinc = xp.sin(half) / half  # sin(a)/a is sinc cos(a/2), and (1 - cos(a))/a^2 is sinc^2 / 2
    identity, product = _identity_and_product(vectors)
    return (identity + sinc * xp.cos(half) * product
            + sinc ** 2 / 2 * xp.matmul(product, product))


def small_rotation(vectors):
    """Return rotations by 2 atan(a / 2) instead of the angle a of rotation vectors (..., 3).

    Cayley's map. It equals :func:`rotation_from_vector` for small angles, in half the time.
    """
    xp = namespace(vectors)
    identity, product = _identity_and_product(0.5 * vectors)
    scale = 2 / (1 + 0.25 * (vectors * vectors).sum(axis=-1))
    return identity + scale[..., None, None] * (product + xp.matmul(product, product))


def _identity_and_product(vectors):
    """Return the identity, and the cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    xp = namespace(vectors)
    identity, products = _identity_and_axes(vectors.dtype, xp, device_of(vectors))
    return identity, xp.reshape(xp.matmul(vectors, products), (*vectors.shape, 3))


@lru_cache(maxsize=8)
def _identity_and_axes(dtype, xp, device):
    """Return the identity (3, 3), and the cross-product matrices of its rows: (3, 9)."""
    identity = xp.eye(3, dtype=dtype, device=device)
    products = [cross(row[None], identity, axis=-1) for row in identity]
    return identity, xp.reshape(xp.stack([xp.matrix_transpose(p) for p in products]), (3, 9))


def nearest_rotation(matrices):
    """Return the rotations nearest to matrices (..., 3, 3) in Frobenius norm: Kabsch's u d v."""
    xp = namespace(matrices)
    u, _, v = xp.linalg.svd(matrices)
    handed = xp.linalg.det(u) * xp.linalg.det(v)
    return xp.matmul(xp.concat([u[..., :2], u[..., 2:] * handed[..., None, None]], axis=-1), v)


def quaternion_from_rotation(rotation):
    """Return unit quaternions xyzw with w >= 0 of rotation matrices: (..., 3, 3) to (..., 4).

    Each row of the matrix below is the quaternion times four times one of its own elements
    (Shepperd 1978); the longest row loses the least to rounding.
    """
    xp = namespace(rotation)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (
        tuple(rotation[..., i, j] for j in range(3)) for i in range(3))
    rows = xp.stack([xp.stack(row, axis=-1) for row in (
        (1 + xx - yy - zz, xy + yx, xz + zx, zy - yz),
        (xy + yx, 1 - xx + yy - zz, yz + zy, xz - zx),
        (xz + zx, yz + zy, 1 - xx - yy + zz, yx - xy),
        (zy - yz, xz - zx, yx - xy, 1 + xx + yy + zz))], axis=-2)
    best = xp.argmax((rows * rows).sum(axis=-1), axis=-1)
    index = xp.broadcast_to(best[..., None, None], (*best.shape, 1, 4))
    quaternion = unit(xp.take_along_axis(rows, index, axis=-2)[..., 0, :])
    return xp.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def vector_from_rotation(rotation):
    """Return rotation vectors of up to half a turn, radians: (..., 3, 3) to (..., 3).

    The inverse of :func:`rotation_from_vector`: the antisymmetric part is the axis times the sine.
    Near half a turn the sine is too small. There the axis is taken from the vector part of the
    quaternion, which is the axis times the sine of half the angle.
    """
    xp = namespace(rotation)
    r, factor = rotation, 1
    axis = xp.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
                     r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    cosine = (r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2] - 1)[..., None]  # twice the cosine
    if bool(xp.any(cosine < -1.8)):
        quaternion = quaternion_from_rotation(rotation)
        axis, cosine, factor = quaternion[..., :3], quaternion[..., 3:], 2
    sine = xp.sqrt((axis * axis).sum(axis=-1, keepdims=True)).clip(1e-12)
    return axis * (factor * xp.atan2(sine, cosine) / sine)


def homogeneous(rotation, translation):
    """Return rigid motions (N, 4, 4) of rotations (N, 3, 3) and translations (N, 3)."""
    xp = namespace(rotation)
    top = xp.concat([rotation, translation[:, :, None]], axis=2)
    bottom = xp.concat([xp.zeros_like(top[:, :1, :3]), xp.ones_like(top[:, :1, :1])], axis=2)
    return xp.concat([top, bottom], axis=1)


def compose(a_from_b, rotation, translation):
    """Return a_from_c (N, 4, 4) from a_from_b and the rotation and translation of b_from_c."""
    xp = namespace(a_from_b)
    turned = xp.matmul(a_from_b[:, :3, :3], rotation)
    moved = xp.matmul(a_from_b[:, :3, :3], translation[:, :, None]) + a_from_b[:, :3, 3:]
    return xp.concat([xp.concat([turned, moved], axis=2), a_from_b[:, 3:]], axis=1)


def in_frame(points_a, a_from_b):
    """Return points (V, 3) of frame a in frame b, by the rigid motion (4, 4).

    Their axes are contiguous in memory: numpy is slow where its innermost loop has three elements.
    """
    return (a_from_b[:3, :3].T @ (points_a - a_from_b[:3, 3]).T).T


def yaw_pitch_roll(camera_from_face):
    """Return yaw, pitch and roll (..., 3) in radians; 0 for a face that looks into the camera.

    Yaw turns the face to its own left, pitch turns it down, roll tilts the scalp to its own right.
    They are applied in that order about axes that turn with the face (z, y, x of the face frame).
    """
    xp = namespace(camera_from_face)
    # Rows of the rotation in the frame of a face that looks into the camera: x = -z, y = x, z = -y.
    forward, left, up = (-camera_from_face[..., 2, :3], camera_from_face[..., 0, :3],
                         -camera_from_face[..., 1, :3])
    return xp.stack([xp.atan2(left[..., 0], forward[..., 0]),
                     -xp.atan2(up[..., 0], xp.hypot(forward[..., 0], left[..., 0])),
                     xp.atan2(up[..., 1], up[..., 2])], axis=-1)


def cross(a, b, axis=-1):
    """Return cross products of vectors along an axis of length 3.

    Equal to the array API's own function, but much faster for few vectors.
    """
    xp = namespace(a)
    before = (slice(None),) * (axis % a.ndim)
    (a_yzx, a_zxy), (b_yzx, b_zxy) = (
        [twice[(*before, slice(i, i + 3))] for i in (1, 2)]
        for twice in (xp.concat([vectors, vectors], axis=axis) for vectors in (a, b)))
    return a_yzx * b_zxy - a_zxy * b_yzx


def unit(vectors):
    """Normalise vectors (..., 3); zero vectors stay."""
    xp = namespace(vectors)
    return vectors / xp.sqrt((vectors * vectors).sum(axis=-1, keepdims=True)).clip(1e-12)
