# SPDX-License-Identifier: Apache-2.0
"""How far faces are from the measured surface: a figure, and a loss, that need no label."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics

LEAST_FACING = 0.3  # cosine between a normal and the ray back, below which depth cameras see badly


class Gaps(NamedTuple):
    """Between triangles (B, T) and what was measured where they project to."""

    across: Tensor  # m, n . (q - p): the measured point q over the plane of the triangle
    along: Tensor  # m, |q - p|, more or less along the viewing ray
    seen: Tensor  # m^2, the triangle's area as the camera sees it; 0 where nothing was measured


def surface_gaps(depth_m: Tensor, intrinsics: Intrinsics, vertices_camera: Tensor,
                 triangles: Tensor) -> Gaps:
    """Compare meshes with depth images.

    :param depth_m: (B, H, W) float32 metres, 0 invalid.
    :param intrinsics: numbers, or tensors (B, 1, 1).
    :param vertices_camera: (B, V, 3) float32 metres.
    :param triangles: (T, 3) int64, counter-clockwise seen from outside.
    """
    corners = vertices_camera[:, triangles]  # (B, T, 3, 3)
    middle = corners.mean(2)
    area = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0],
                              corners[:, :, 2] - corners[:, :, 0]) / 2
    size = area.norm(dim=-1)
    normal = area / size.clamp(min=1e-12)[..., None]
    measured = _measured(depth_m, intrinsics, middle.detach()[:, :, None])[:, :, 0]
    gap = measured - middle
    facing = -(normal * middle).sum(-1) / middle.norm(dim=-1)
    valid = (measured[..., 2] > 0) & (facing > LEAST_FACING)
    return Gaps((normal * gap).sum(-1), gap.norm(dim=-1),
                torch.where(valid, size * facing, 0).detach())


def _measured(depth_m: Tensor, intrinsics: Intrinsics, points: Tensor) -> Tensor:
    """The measured points (B, N, 1, 3) where points project to, 0 where there are none."""
    x, y, z = points.unbind(-1)
    in_front = z > 1e-3
    z = torch.where(in_front, z, 1.)
    u, v = intrinsics.project(x / z, y / z)
    u, v = u.round(), v.round()
    height, width = depth_m.shape[1:]
    inside = in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = torch.where(inside, u, 0.), torch.where(inside, v, 0.)
    index = (v.long() * width + u.long()).flatten(1)
    depth = torch.where(inside, depth_m.flatten(1).gather(1, index).reshape(u.shape), 0.)
    x, y = intrinsics.unproject(u, v)
    return torch.stack([x * depth, y * depth, depth], dim=-1)


def face_triangles(model: FaceModel, every: int = 1) -> Tensor:
    """Every so many triangles (T, 3) int64 of the face but for the ears, which hair covers."""
    ears = np.isin(model.triangles, model.regions['ears']).any(1)
    return torch.from_numpy(model.triangles[~ears][::every].astype(np.int64))


def median_distances(gaps: Gaps) -> Tensor:
    """Of each mesh the median distance (B,) in m over its area in view; NaN if none of it is.

    By area in view, that is as if each pixel of the face were asked.
    """
    distance, order = gaps.across.abs().sort(dim=1)
    share = gaps.seen.gather(1, order).cumsum(1)
    total = share[:, -1:]
    middle = (share < total / 2).sum(1, keepdim=True).clamp(max=distance.shape[1] - 1)
    return torch.where(total > 0, distance.gather(1, middle), torch.nan)[:, 0]
