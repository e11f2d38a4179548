# SPDX-License-Identifier: Apache-2.0
"""Finer poses: predicted meshes are laid on the measured surface, as far as networks err."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthface_ros.camera import Intrinsics
from depthface_ros.rotations import compose, rotation_from_vector
from depthface_ros.settings import setting


@dataclass(frozen=True)
class AlignmentConfig:
    """How far the measured surface may move a pose."""

    steps: int = setting(2, 'Gauss-Newton steps; 0 leaves poses as the networks predict them.',
                         0, 20)
    noise: float = setting(0.003, 'Metres between mesh and measured surface, one sigma.',
                           1e-4, 0.1)
    reach: float = setting(0.012, 'Metres between them at which a point counts a quarter.',
                           1e-4, 0.1)
    # Errors of neighbouring points are alike, so a face is worth much less than its pixels.
    independent: float = setting(60.0, 'Independent measurements that a whole face is worth.',
                                 0.0, 1e4)
    trust: float = setting(1.0, 'What the networks say of their errors is multiplied by this.',
                           1e-3, 100.0)


def align(depth_m: np.ndarray, intrinsics: Intrinsics, camera_from_face: np.ndarray,
          rotation_std: np.ndarray, position_std: np.ndarray, vertices_face: np.ndarray,
          triangles: np.ndarray, config: AlignmentConfig = AlignmentConfig()) -> np.ndarray:
    """Poses (N, 4, 4) that weigh the measured surface against the predicted poses.

    Minimises sum_i w_i (n_i . (q_i - p_i))^2 / noise^2 + |d|^2 / std^2 over the six numbers d
    (rotation vector, translation) by which a pose moves in its face frame: p_i are the middles of
    triangles, n_i their normals and q_i what the depth image holds where they project to. The
    weights w_i are the triangles' areas in view, less where mesh and surface are far apart
    (Geman and McClure's), as at a hand or at hair before the face.

    :param depth_m: (H, W) float32 metres, 0 invalid.
    :param rotation_std: (N,) radians, one sigma per axis of the predicted rotations.
    :param position_std: (N,) metres, of the predicted positions.
    :param vertices_face: (N, V, 3) float32 metres, face frame.
    :param triangles: (T, 3) the triangles to be laid on the surface.
    """
    if not config.steps:
        return camera_from_face
    corners = vertices_face[:, triangles]  # (N, T, 3, 3)
    middle = corners.mean(axis=2)
    area = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    size = np.linalg.norm(area, axis=-1, keepdims=True)
    normal = area / np.maximum(size, 1e-12)
    # how the distance n . (q - p) changes when the mesh is moved, in the face frame
    jacobian = np.concatenate([np.cross(middle, normal), normal], axis=-1)  # (N, T, 6)
    prior = np.repeat(np.stack([rotation_std, position_std], axis=-1), 3, axis=-1)
    prior = (config.trust * prior) ** -2
    moved = np.zeros((len(vertices_face), 6), np.float32)
    pose = camera_from_face
    for _ in range(config.steps):
        rotation, origin = pose[:, :3, :3], pose[:, None, :3, 3]
        points = middle @ rotation.transpose(0, 2, 1) + origin
        measured, valid = _measure(depth_m, intrinsics, points)
        normal_camera = normal @ rotation.transpose(0, 2, 1)
        facing = -(normal_camera * points).sum(-1) / np.linalg.norm(points, axis=-1)
        distance = (normal_camera * (measured - points)).sum(-1)
        weight = size[..., 0] * np.where(valid & (facing > 0.3), facing, 0)
        whole = np.maximum((size[..., 0] * np.maximum(facing, 0)).sum(-1, keepdims=True), 1e-12)
        weight = weight / whole * config.independent / config.noise ** 2
        # by the gap along the ray, not across the surface: a hand before a cheek is far from it
        gap = np.linalg.norm(measured - points, axis=-1)
        weight = weight / (1 + (gap / config.reach) ** 2) ** 2
        weighted = jacobian * weight[..., None]
        information = weighted.transpose(0, 2, 1) @ jacobian + prior[:, None] * np.eye(6)
        gradient = (weighted * distance[..., None]).sum(1) - prior * moved
        step = np.linalg.solve(information, gradient[..., None])[..., 0].astype(np.float32)
        moved = moved + step
        pose = compose(camera_from_face, rotation_from_vector(moved[:, :3]), moved[:, 3:])
    return pose


def _measure(depth_m, intrinsics, points):
    """The measured points where points (N, T, 3) project to, and whether there are any."""
    z = np.maximum(points[..., 2], 1e-3)
    u, v = intrinsics.project(points[..., 0] / z, points[..., 1] / z)
    height, width = depth_m.shape
    u, v = np.round(u), np.round(v)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (points[..., 2] > 1e-3)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    depth = np.where(inside, depth_m[v.astype(int), u.astype(int)], 0)
    x, y = intrinsics.unproject(u, v)
    return np.stack([x * depth, y * depth, depth], axis=-1), depth > 0
