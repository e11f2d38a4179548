# SPDX-License-Identifier: Apache-2.0
"""Finer faces: predicted meshes are laid on the measured surface, as far as networks err."""
from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from depthface_ros.camera import Intrinsics
from depthface_ros.rotations import compose, rotation_from_vector
from depthface_ros.settings import setting

POSE = 6  # numbers: rotation vector and translation


@dataclass(frozen=True)
class AlignmentConfig:
    """How far the measured surface may move and bend a mesh."""

    steps: int = setting(3, 'Gauss-Newton steps; 0 leaves faces as the networks predict them.',
                         0, 20)
    noise: float = setting(0.003, 'Metres between mesh and measured surface, one sigma.',
                           1e-4, 0.1)
    reach: float = setting(0.006, 'Metres between them at which a point counts a quarter.',
                           1e-4, 0.1)
    # Errors of neighbouring points are alike, so a face is worth much less than its pixels.
    independent: float = setting(300.0, 'Independent measurements that a whole face is worth.',
                                 0.0, 1e4)
    trust: float = setting(1.0, 'What the networks say of their errors is multiplied by this.',
                           1e-3, 100.0)
    shape_std: float = setting(0.8, 'Error of predicted shapes, as a share of the variety of '
                               'faces; 0 leaves shapes as they are.', 0.0, 10.0)


def face_modes() -> np.ndarray:
    """How faces differ: modes (K, V, 3) float32 of the mesh's vertices, m, one sigma each."""
    with (files(__package__) / 'models' / 'face_basis.npz').open('rb') as file:
        return np.load(file)['modes'].astype(np.float32)


class Alignment:
    """Lays meshes of one topology on depth images."""

    def __init__(self, triangles: np.ndarray, modes: np.ndarray,
                 config: AlignmentConfig = AlignmentConfig()):
        """Prepare for meshes with triangles (T, 3) that may bend by modes (K, V, 3), metres."""
        self.config = config
        self._triangles = triangles
        self._modes = modes[:len(modes) if config.shape_std else 0]
        self._modes_middle = self._modes[:, triangles].mean(axis=2)  # (K, T, 3)

    def __call__(self, depth_m: np.ndarray, intrinsics: Intrinsics, camera_from_face: np.ndarray,
                 rotation_std: np.ndarray, position_std: np.ndarray,
                 vertices_face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weigh the measured surface against predictions: better poses (N, 4, 4) and vertices.

        Minimises sum_i w_i (n_i . (q_i - p_i))^2 / noise^2 + |d / std|^2 over d: the six numbers
        (rotation vector, translation) by which a pose moves in its face frame, and the modes by
        which its shape changes. p_i are the middles of triangles, n_i their normals and q_i what
        the depth image holds where p_i projects to. The weights are the areas in view, less where
        mesh and surface are far apart (Geman and McClure's), as at a hand before the face.

        :param depth_m: (H, W) float32 metres, 0 invalid.
        :param rotation_std: (N,) radians, one sigma per axis of the predicted rotations.
        :param position_std: (N,) metres, of the predicted positions.
        :param vertices_face: (N, V, 3) float32 metres, face frame.
        """
        config = self.config
        if not config.steps:
            return camera_from_face, vertices_face
        corners = vertices_face[:, self._triangles]  # (N, T, 3, 3)
        middle = corners.mean(axis=2)
        area = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
        size = np.linalg.norm(area, axis=-1)
        normal = area / np.maximum(size, 1e-12)[..., None]
        # how n . p changes with d, in the face frame
        jacobian = np.concatenate([np.cross(middle, normal), normal,
                                   np.einsum('ktj,ntj->ntk', self._modes_middle, normal)], axis=-1)
        count, modes = len(vertices_face), len(self._modes)
        std = np.concatenate([np.repeat(config.trust * rotation_std[:, None], 3, axis=1),
                              np.repeat(config.trust * position_std[:, None], 3, axis=1),
                              np.full((count, modes), config.shape_std)], axis=1)
        moved = np.zeros((count, POSE + modes), np.float32)
        pose = camera_from_face
        for _ in range(config.steps):
            turn = pose[:, :3, :3].transpose(0, 2, 1)
            bent = middle + np.tensordot(moved[:, POSE:], self._modes_middle, 1)
            points, normal_camera = bent @ turn + pose[:, None, :3, 3], normal @ turn
            measured, valid = _measure(depth_m, intrinsics, points)
            facing = -(normal_camera * points).sum(-1) / np.linalg.norm(points, axis=-1)
            in_view = size * np.maximum(facing, 0)
            weight = np.where(valid & (facing > 0.3), in_view, 0)
            weight *= config.independent / config.noise ** 2 / np.maximum(
                in_view.sum(axis=-1, keepdims=True), 1e-12)
            # by the gap along the ray, not across the surface: a hand before a cheek is far off
            gap = np.linalg.norm(measured - points, axis=-1)
            weight /= (1 + (gap / config.reach) ** 2) ** 2
            distance = (normal_camera * (measured - points)).sum(axis=-1)
            weighted = jacobian * weight[..., None]
            information = (weighted.transpose(0, 2, 1) @ jacobian
                           + std[:, None] ** -2 * np.eye(POSE + modes))
            gradient = (weighted * distance[..., None]).sum(axis=1) - moved / std ** 2
            moved += np.linalg.solve(information, gradient[..., None])[..., 0].astype(np.float32)
            pose = compose(camera_from_face, rotation_from_vector(moved[:, :3]), moved[:, 3:POSE])
        return pose, vertices_face + np.tensordot(moved[:, POSE:], self._modes, 1)


def _measure(depth_m, intrinsics, points):
    """The measured points where points (N, T, 3) project to, and whether there are any."""
    in_front = points[..., 2] > 1e-3
    z = np.where(in_front, points[..., 2], 1)
    u, v = map(np.round, intrinsics.project(points[..., 0] / z, points[..., 1] / z))
    height, width = depth_m.shape
    inside = in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    depth = np.where(inside, depth_m[v.astype(int), u.astype(int)], 0)
    x, y = intrinsics.unproject(u, v)
    return np.stack([x * depth, y * depth, depth], axis=-1), depth > 0
