# SPDX-License-Identifier: Apache-2.0
"""Metric crops around a head: the input of the pose and the shape network.

A crop is a square of fixed size in metres, perpendicular to the viewing ray. So heads have the same
size in it at any distance, in any part of the image and for any camera. Its pixels hold points, not
depths: the networks receive geometry in units that do not depend on the camera.
"""
from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from depthface_ros.compiled import in_order, takes
from depthface_ros.compiled import pixels as loops
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import NEAREST, Intrinsics, measured_points, pixels_of
from depthface_ros.geometry.rotations import cross, homogeneous, rotation_from_6d, unit

CROP_PIXELS = 96
POSE_CROP_SIZE = 0.30  # m
SHAPE_CROP_SIZE = 0.26  # m
# Crops are upright in head axes, and the pose network predicts the x and y axes of the head. Head
# axes have the origin and the y of the face frame. The x of the face frame is the line of sight;
# the x of head axes points 5.5 degrees above it. Rows: face frame; columns: head axes.
HEAD_PITCH = math.radians(5.5)
FACE_FROM_HEAD = ((math.cos(HEAD_PITCH), 0.0, -math.sin(HEAD_PITCH)), (0.0, 1.0, 0.0),
                  (math.sin(HEAD_PITCH), 0.0, math.cos(HEAD_PITCH)))
# In the face frame, m. The head centre lies between the ears, where it hardly moves in rotations.
HEAD_CENTRE_FACE = (-0.0787, 0.0, -0.0176)
FACE_CENTRE_FACE = (-0.0374, 0.0, -0.0287)
# Points further than this from the crop's plane, in units of half its size, are rejected.
DEPTH_LIMIT = 1.25
# The frame of the shape crop is rounded to multiples of these, far below its pixel size. So engines
# whose poses differ in the last digits sample the same pixels. Powers of 2 make multiples exact.
FACE_STEP = 1 / 1024  # m
UP_STEP = 1 / 256  # of a unit vector


def pose_crop(depth, intrinsics: Intrinsics, head_centre_camera, roll=None):
    """Crop the surroundings of head centres for the head-pose network.

    :param depth: (H, W) for all crops, or (N, H, W) with an image per crop; uint16 millimetres or
        float32 metres.
    :param head_centre_camera: (N, 3) float32 metres, camera frame, z > 0.
    :param roll: (N,) radians to turn the crop about the viewing ray, or None for 0.
    :returns: crops (N, 4, S, S) float32 and camera_from_crop (N, 4, 4) float32. Channels 0-2 are
        the points in the crop frame (z along the viewing ray, origin at the head centre) in units
        of half the crop's size. Channel 3 is 1 for a measured point, 0 for a hole, and -1 for a
        measurement far in front of or behind the head.
    """
    camera_from_crop = pose_frame(head_centre_camera, roll)
    return crop_in_frame(depth, intrinsics, camera_from_crop), camera_from_crop


def pose_frame(head_centre_camera, roll=None):
    """Return camera_from_crop (N, 4, 4) of :func:`pose_crop` for the same arguments."""
    xp = namespace(head_centre_camera)
    up = xp.zeros_like(head_centre_camera)
    up = xp.stack([up[:, 0], up[:, 1] - 1, up[:, 2]], axis=-1)  # -y is up in an optical frame
    camera_from_grid = _look_at(head_centre_camera, up)
    if roll is not None:
        camera_from_grid = xp.matmul(camera_from_grid, _rotation_about_z(roll))
    return homogeneous(camera_from_grid, head_centre_camera)


def crop_in_frame(depth, intrinsics: Intrinsics, camera_from_crop):
    """Return the crops (N, 4, S, S) of :func:`pose_crop` for given frames."""
    return _crop(depth, intrinsics, camera_from_crop[:, :3, :3], camera_from_crop[:, :3, 3],
                 camera_from_crop, POSE_CROP_SIZE / 2)


def shape_crop(depth, intrinsics: Intrinsics, camera_from_face):
    """Crop faces of known pose, upright and in face coordinates, for the shape network.

    :param depth: as for :func:`pose_crop`.
    :param camera_from_face: (N, 4, 4) float32.
    :returns: (N, 4, S, S) float32; channels 0-2 are the points in the face frame in units of half
        the crop's size, channel 3 as in :func:`pose_crop`.
    """
    return _crop(depth, intrinsics, *_shape_frame(camera_from_face), camera_from_face,
                 SHAPE_CROP_SIZE / 2)


def _shape_frame(camera_from_face):
    """Return the rotations (N, 3, 3) and centres (N, 3) of shape crops, rounded."""
    xp, device = namespace(camera_from_face), device_of(camera_from_face)
    if takes(camera_from_face):
        return loops.shape_frames(in_order(camera_from_face), _face_centre(xp, device)[:, 0],
                                  in_order(_head_axes(xp, device)[:, 2]),
                                  np.float32(FACE_STEP), np.float32(UP_STEP))
    rotation, sellion = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3]
    centre = sellion + xp.matmul(rotation, _face_centre(xp, device))[..., 0]
    centre = rounded(centre, FACE_STEP)
    up = xp.matmul(rotation, _head_axes(xp, device)[:, 2:])[..., 0]
    return _look_at(centre, rounded(up, UP_STEP)), centre


def face_rotation(columns):
    """Return rotations crop_from_face (N, 3, 3) of the pose network's six numbers (N, 6).

    These are the first two columns of crop_from_head, the head axes in the crop frame.
    """
    xp = namespace(columns)
    head_from_face = xp.matrix_transpose(_head_axes(xp, device_of(columns)))
    return xp.matmul(rotation_from_6d(columns), head_from_face)


def rounded(values, step: float):
    """Round to multiples of a step."""
    return namespace(values).round(values / step) * step


def points_camera(camera_from_face: np.ndarray, point_face) -> np.ndarray:
    """Return a point (3,) of the face frame in the camera frame for N poses: (N, 3) metres."""
    rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3]
    return rotation @ np.array(point_face, np.float32) + origin


def tilt(camera_from_face: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the roll (N,) in radians of upright crops of heads at (N, 3)."""
    x, y, z = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T  # forward
    a, b, c = (camera_from_face[:, :3, :3] @ np.float32(FACE_FROM_HEAD)[:, 2]).T  # to the scalp
    # Components along the crop's right, (z, 0, -x), and down, forward x right. Both axes have the
    # length of the cosine of the crop's pitch.
    right, down = a * z - c * x, b * (x * x + z * z) - y * (a * x + c * z)
    return np.arctan2(right, -down).astype(np.float32)


def _crop(depth, intrinsics, camera_from_grid, centre, camera_from_value, half_size):
    """Sample depth on a grid across the viewing ray; points come in the value frame / half_size."""
    xp = namespace(centre)
    ticks = _ticks(xp, device_of(centre))
    if takes(centre) and depth.ndim == 2 and intrinsics.is_plain:
        return loops.crops(*pixels_of(depth, intrinsics), np.float32(NEAREST),
                           in_order(camera_from_grid), in_order(centre),
                           in_order(camera_from_value), np.float32(half_size),
                           np.float32(DEPTH_LIMIT), ticks)
    right, down, forward = (camera_from_grid[:, :, i, None] for i in range(3))
    # Explicit sums and products: all engines round these alike, unlike matrix products. So they
    # sample the same pixels for equal frames.
    rows = centre[:, :, None] + half_size * down * ticks
    points = rows[..., None] + (half_size * right * ticks)[:, :, None, :]
    points = measured_points(depth, intrinsics, xp.reshape(points, (-1, 3, CROP_PIXELS ** 2)))
    # one product takes points to values and to their distance from the grid's plane
    value_from_camera = xp.matrix_transpose(camera_from_value[:, :3, :3]) / half_size
    across = xp.matrix_transpose(forward) / (DEPTH_LIMIT * half_size)
    linear = xp.concat([value_from_camera, across], axis=1)
    origin = xp.concat([xp.matmul(value_from_camera, camera_from_value[:, :3, 3:]),
                        xp.matmul(across, centre[:, :, None])], axis=1)
    crops = xp.matmul(linear, points)
    crops -= origin
    measured = points[:, 2:] > 0
    near = xp.astype(measured & (xp.abs(crops[:, 3:]) < 1), xp.float32)
    crops[:, :3] *= near
    crops[:, 3:] = 2 * near - xp.astype(measured, xp.float32)
    return xp.reshape(crops, (-1, 4, CROP_PIXELS, CROP_PIXELS))


@lru_cache(maxsize=8)
def _head_axes(xp, device):
    """Return FACE_FROM_HEAD (3, 3) float32."""
    return xp.asarray(FACE_FROM_HEAD, dtype=xp.float32, device=device)


@lru_cache(maxsize=8)
def _face_centre(xp, device):
    return xp.asarray(FACE_CENTRE_FACE, dtype=xp.float32, device=device)[:, None]


@lru_cache(maxsize=8)
def _ticks(xp, device):
    """Return the centres of a crop's pixels, in -1..1."""
    return (xp.arange(CROP_PIXELS, dtype=xp.float32, device=device) + 0.5) * (2 / CROP_PIXELS) - 1


def _look_at(target, up):
    """Return rotations (N, 3, 3), columns right, down and forward, that point at a target."""
    xp = namespace(target)
    # In doubles: square roots of engines differ in the last digit of floats.
    forward = unit(xp.astype(target, xp.float64))
    right = unit(cross(forward, xp.astype(up, xp.float64)))
    return xp.astype(xp.stack([right, cross(forward, right), forward], axis=-1), xp.float32)


def _rotation_about_z(angle):
    xp = namespace(angle)
    c, s, zero, one = xp.cos(angle), xp.sin(angle), xp.zeros_like(angle), xp.ones_like(angle)
    rows = [xp.stack(row, axis=-1) for row in ((c, -s, zero), (s, c, zero), (zero, zero, one))]
    return xp.stack(rows, axis=-2)
