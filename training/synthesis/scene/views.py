# SPDX-License-Identifier: Apache-2.0
"""Render views of a scene: whole frames, coarse frames, and windows around a point; without noise."""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from depthface_ros.face_model.mesh import FaceModel
from training.synthesis.renderer import render_depth
from training.synthesis.scene.random_scene import HAIR, Scene
from training.synthesis.sensors import SensorBatch, simulate

WINDOW_WIDTH = 0.45  # m; more than the diagonal of a head-pose crop
HIDDEN_BEHIND = 0.010  # m; a face point this far behind the visible surface is covered
HEAD_OUTLINE = 0.026  # m^2, of a mean head from the front, without hair
LEAST_FACE = 0.008  # m^2; lower bound of the area that a face turns to the camera


class View(NamedTuple):
    """Clean depth of a pinhole camera that covers the view of the scene's camera or a part of it."""

    depth: torch.Tensor  # (H, W) float32 metres, 0 where nothing is or the sensor's image ends
    hair: torch.Tensor  # (H, W) bool
    fx: float
    fy: float
    cx: float
    cy: float
    pixel_scale: float  # pixels of the sensor per pixel of this view
    fx_native: float
    face_visible: np.ndarray  # (heads,) 0..1, visible fraction of the side turned to the camera
    head_visible: np.ndarray  # (heads,) 0..1, visible fraction of a head's usual outline


def render_frame(scene: Scene, stride: int = 1, shape=None) -> View:
    """Render the whole image, or every stride-th pixel of it: pixels stride // 2 + k * stride.

    :param shape: (height, width) to pad to, with 0 at the right and at the bottom.
    """
    camera, first = scene.camera, stride // 2
    height, width = shape or (-(-(size - first) // stride)
                              for size in (camera.height, camera.width))
    return _render(scene, stride, (camera.cx - first) / stride, (camera.cy - first) / stride,
                   height, width)


def render_window(scene: Scene, centre_camera, size: int = 160) -> View:
    """Render a square of size x size pixels around a point (3,), metres, camera frame.

    It shows WINDOW_WIDTH metres at the point's depth; or more, where the sensor has fewer pixels.
    """
    camera = scene.camera
    x, y, z = centre_camera
    scale = max(1.0, WINDOW_WIDTH * camera.fx / (z * size))
    middle = (size - 1) / 2
    return _render(scene, scale, middle - camera.fx / scale * x / z,
                   middle - camera.fy / scale * y / z, size, size)


def measure(views: list[View], sensors, generator: torch.Generator | None = None) -> torch.Tensor:
    """Measure views of one size with their sensors: (B, H, W) float32 metres, 0 invalid."""
    fx, scale, cx, cy = torch.tensor([[view.fx_native, view.pixel_scale, view.cx, view.cy]
                                      for view in views], dtype=torch.float32).T
    return simulate(torch.stack([view.depth for view in views]), SensorBatch.stack(sensors), fx,
                    scale, generator, hair=torch.stack([view.hair for view in views]),
                    centre=torch.stack([cx, cy], 1))


def _render(scene: Scene, scale, cx, cy, height, width) -> View:
    camera = scene.camera
    fx, fy = camera.fx / scale, camera.fy / scale
    triangles = torch.from_numpy(scene.triangles_camera)
    material = torch.from_numpy(scene.material)
    zeros = torch.zeros(len(triangles), dtype=torch.int64)
    intrinsics = torch.tensor([[fx], [fy], [cx], [cy]], dtype=torch.float32)
    depth, index = render_depth(triangles, zeros, *intrinsics, height, width, return_index=True,
                                two_sided=torch.from_numpy(scene.two_sided))
    depth, index = depth[0], index[0]
    u = (torch.arange(width) - cx) * scale + camera.cx
    v = (torch.arange(height) - cy) * scale + camera.cy
    inside = ((v > -0.5) & (v < camera.height - 0.5))[:, None]
    inside = inside & (u > -0.5) & (u < camera.width - 0.5)
    depth = torch.where(inside, depth, 0)
    hair = (material[index.clamp(min=0)] == HAIR) & (depth > 0)

    owner = torch.from_numpy(scene.head_index)[index.clamp(min=0)]
    owner = torch.where(depth > 0, owner, -1)
    pixels_per_area = np.array([fx * fy / max(float(head.centre_camera[2]), 0.1) ** 2
                                for head in scene.heads], np.float32)
    head_pixels = np.array([int((owner == k).sum()) for k in range(len(scene.heads))], np.float32)
    return View(depth, hair, fx, fy, cx, cy, scale, camera.fx,
                _face_visible(scene, depth, intrinsics, LEAST_FACE * pixels_per_area),
                np.minimum(head_pixels / (HEAD_OUTLINE * pixels_per_area), 1))


def _face_visible(scene: Scene, depth, intrinsics, least_pixels):
    """Return the unoccluded fraction of the pixels of each face: (heads,)."""
    count = len(scene.heads)
    if not count:
        return np.zeros(0, np.float32)
    vertices = torch.from_numpy(np.stack([head.vertices_camera for head in scene.heads]))
    triangles = vertices[:, _face_triangles()].reshape(-1, 3, 3)
    image = torch.arange(count).repeat_interleave(len(triangles) // count)
    one_sided = torch.zeros(len(triangles), dtype=torch.bool)
    alone = render_depth(triangles, image, *intrinsics.expand(4, count), *depth.shape,
                         two_sided=one_sided)
    face = alone > 0
    seen = face & (depth > alone - HIDDEN_BEHIND)
    return seen.sum((1, 2)).numpy() / np.maximum(face.sum((1, 2)).numpy(), least_pixels)


@lru_cache(maxsize=1)
def _face_triangles():
    return torch.from_numpy(FaceModel.load().triangles.astype(np.int64))
