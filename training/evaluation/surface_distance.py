# SPDX-License-Identifier: Apache-2.0
"""Distances between meshes and the measured surface: a figure and a loss that need no label."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics

LEAST_FACING = 0.3  # least cosine between normal and viewing ray; depth cameras are unreliable below it


class SurfaceDistances(NamedTuple):
    """Differences between triangles (B, T) and the points measured at their projections."""

    across: Tensor  # m, n . (q - p): point-to-plane distance of the measured point q
    along: Tensor  # m, |q - p|, approximately along the viewing ray
    seen: Tensor  # m^2, projected area of the triangle; 0 where nothing was measured


def surface_distances(depth_m: Tensor, intrinsics: Intrinsics, vertices_camera: Tensor,
                 triangles: Tensor) -> SurfaceDistances:
    """Return the differences between meshes and depth images.

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
    difference = measured - middle
    facing = -(normal * middle).sum(-1) / middle.norm(dim=-1)
    valid = (measured[..., 2] > 0) & (facing > LEAST_FACING)
    return SurfaceDistances((normal * difference).sum(-1), difference.norm(dim=-1),
                torch.where(valid, size * facing, 0).detach())


def _measured(depth_m: Tensor, intrinsics: Intrinsics, points: Tensor) -> Tensor:
    """Return the points (B, N, 1, 3) measured at the projections of points, 0 where there are none."""
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
    """Return every n-th triangle (T, 3) int64 of the face without ears, which hair covers."""
    ears = np.isin(model.triangles, model.regions['ears']).any(1)
    return torch.from_numpy(model.triangles[~ears][::every].astype(np.int64))


def median_distances(distances: SurfaceDistances) -> Tensor:
    """Return the median distance (B,) of each mesh, metres; NaN if no part of it was measured.

    Triangles are weighted by projected area, as if each pixel of the face were one sample.
    """
    distance, order = distances.across.abs().sort(dim=1)
    cumulative = distances.seen.gather(1, order).cumsum(1)
    total = cumulative[:, -1:]
    middle = (cumulative < total / 2).sum(1, keepdim=True).clamp(max=distance.shape[1] - 1)
    return torch.where(total > 0, distance.gather(1, middle), torch.nan)[:, 0]
