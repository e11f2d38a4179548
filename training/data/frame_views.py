# SPDX-License-Identifier: Apache-2.0
"""Rectify, mirror, roll and cut depth frames; depth is never interpolated."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from depthface_ros import Intrinsics
from depthface_ros.geometry.camera import depth_in_metres
from depthface_ros.io.frame import Frame
from training.data.rendered_dataset import WINDOW_PIXELS
from training.synthesis.scene.views import WINDOW_WIDTH


def sample_along(depth: np.ndarray, camera: Intrinsics, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the depth of an image (H, W) in directions (x, y, 1), arrays of one shape; 0 outside."""
    u, v = (np.round(pixel).astype(int) for pixel in np.broadcast_arrays(*camera.project(x, y)))
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
    return np.where(inside, depth[np.where(inside, v, 0), np.where(inside, u, 0)],
                    depth.dtype.type(0))


def rectified(frame: Frame) -> Frame:
    """Return the frame without lens distortion, at the same focal lengths."""
    if not frame.intrinsics.distortion:
        return frame
    pinhole = replace(frame.intrinsics, distortion=())
    return replace(frame, intrinsics=pinhole,
                   depth=sample_along(frame.depth, frame.intrinsics, *_rays(frame, pinhole)))


def mirrored(frame: Frame) -> Frame:
    """Return the exact mirror image of a rectified frame."""
    return replace(frame, depth=np.ascontiguousarray(frame.depth[:, ::-1]), intrinsics=replace(
        frame.intrinsics, cx=frame.depth.shape[1] - 1 - frame.intrinsics.cx))


def rolled(frame: Frame, angle: float) -> Frame:
    """Return a rectified frame whose content is rotated clockwise by `angle` radians."""
    x, y = _rays(frame, frame.intrinsics)
    c, s = math.cos(angle), math.sin(angle)
    return replace(frame, depth=sample_along(frame.depth, frame.intrinsics, c * x + s * y,
                                           c * y - s * x))


def cut_window(frame: Frame, centre_camera: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return a window around a head: depth (160, 160) float32 m, and fx, fy, cx, cy.

    The window subsamples pixels and spans at least WINDOW_WIDTH metres, as rendered ones do.

    :param frame: rectified.
    :param centre_camera: (3,) metres.
    """
    camera = frame.intrinsics
    stride = max(1, math.ceil(WINDOW_WIDTH * camera.fx / (
        float(centre_camera[2]) * WINDOW_PIXELS)))
    middle = camera.project(centre_camera[0] / centre_camera[2],
                            centre_camera[1] / centre_camera[2])
    first_u, first_v = (round(float(pixel)) - stride * (WINDOW_PIXELS // 2) for pixel in middle)
    window = Intrinsics(camera.fx / stride, camera.fy / stride, (camera.cx - first_u) / stride,
                        (camera.cy - first_v) / stride)
    pixels = np.arange(WINDOW_PIXELS)
    depth = sample_along(depth_in_metres(frame.depth), camera,
                       *window.unproject(pixels[None, :], pixels[:, None]))
    return depth, (window.fx, window.fy, window.cx, window.cy)


def _rays(frame: Frame, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Return directions (x, y, 1) of the frame's pixels, as broadcastable x and y."""
    height, width = frame.depth.shape
    return camera.unproject(np.arange(width)[None, :], np.arange(height)[:, None])
