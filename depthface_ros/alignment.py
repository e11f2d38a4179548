# SPDX-License-Identifier: Apache-2.0
"""Finer faces: predicted meshes are laid on the measured surface, as far as networks err."""
from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import array_api_compat
import numpy as np

from depthface_ros.camera import Intrinsics, measured_points
from depthface_ros.rotations import compose, cross, rotation_from_vector
from depthface_ros.settings import setting

POSE = 6  # numbers: rotation vector and translation
MIN_FACING = 0.3  # cosine to the viewing ray below which a triangle says too little


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
    """Lays meshes of one topology on depth images; numpy or torch, as the modes are."""

    def __init__(self, triangles, modes, config: AlignmentConfig = AlignmentConfig()):
        """Prepare for meshes with triangles (T, 3) that may bend by modes (K, V, 3), metres."""
        self.config = config
        self._corners = [triangles[:, i] for i in range(3)]
        self._modes = modes if config.shape_std else modes[:0]
        self._modes_middle = sum(self._at_corners(self._modes)) / 3  # (K, 3, T)

    def __call__(self, depth, intrinsics: Intrinsics, camera_from_face, rotation_std, position_std,
                 vertices_face):
        """Weigh the measured surface against predictions: better poses (N, 4, 4) and vertices.

        Minimises sum_i w_i (n_i . (q_i - p_i))^2 / noise^2 + |d / std|^2 over d: the six numbers
        (rotation vector, translation) by which a pose moves in its face frame, and the modes by
        which its shape changes. p_i are the middles of triangles, n_i their normals and q_i what
        the depth image holds where p_i projects to. The weights are the areas in view, less where
        mesh and surface are far apart (Geman and McClure's), as at a hand before the face.

        :param depth: (H, W) uint16 millimetres or float32 metres.
        :param rotation_std: (N,) radians, one sigma per axis of the predicted rotations.
        :param position_std: (N,) metres, of the predicted positions.
        :param vertices_face: (N, V, 3) float32 metres, face frame.
        """
        if not self.config.steps:
            return camera_from_face, vertices_face
        xp = array_api_compat.array_namespace(vertices_face)
        middle, area = self._surface(vertices_face)
        share = self._share(camera_from_face, middle, area)
        normal = area / _length(area).clip(1e-12)
        std = self._std(rotation_std, position_std)
        # how n . p changes with d / std: (N, 6 + K, T)
        jacobian = std[..., None] * xp.concat([
            cross(middle, normal, axis=1), normal,
            sum(self._modes_middle[:, i] * normal[:, None, i] for i in range(3))], axis=1)
        jacobian_t = xp.matrix_transpose(jacobian)
        identity = xp.eye(std.shape[1], dtype=std.dtype, device=array_api_compat.device(std))
        pose, bent, d_in_std = camera_from_face, middle, xp.zeros_like(std)[..., None]
        for _ in range(self.config.steps):
            points = xp.matmul(pose[:, :3, :3], bent) + pose[:, :3, 3:]
            measured = measured_points(depth, intrinsics, points)
            gap = measured - points
            # by the gap along the ray, not across the surface: a hand before a cheek is far off
            weight = xp.where(measured[:, 2:] > 0, share, 0.0) / (
                1 + xp.sum(gap * gap, axis=1, keepdims=True) / self.config.reach ** 2) ** 2
            distance = xp.sum(xp.matmul(pose[:, :3, :3], normal) * gap, axis=1)
            weighted = jacobian * weight
            information = xp.matmul(weighted, jacobian_t) + identity
            gradient = xp.matmul(weighted, distance[..., None]) - d_in_std
            d_in_std = d_in_std + _solve(information, gradient)
            d = d_in_std[..., 0] * std
            pose = compose(camera_from_face, rotation_from_vector(d[:, :3]), d[:, 3:POSE])
            bent = middle + xp.tensordot(d[:, POSE:], self._modes_middle, axes=1)
        return pose, vertices_face + xp.tensordot(d[:, POSE:], self._modes, axes=1)

    def _surface(self, vertices_face):
        """Middles of the triangles, and normals twice as long as their areas: (N, 3, T) each."""
        a, b, c = self._at_corners(vertices_face)
        return (a + b + c) / 3, cross(b - a, c - a, axis=1)

    def _at_corners(self, vertices):
        """Vertices (N, V, 3) at the three corners of each triangle: (N, 3, T) each."""
        xp = array_api_compat.array_namespace(vertices)
        return [xp.take(xp.matrix_transpose(vertices), corner, axis=2)
                for corner in self._corners]

    def _share(self, camera_from_face, middle, area):
        """How much each triangle counts, by its area in view: (N, 1, T), in 1 / m^2."""
        xp = array_api_compat.array_namespace(middle)
        rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3:]
        ray = middle + xp.matmul(xp.matrix_transpose(rotation), origin)  # from the camera
        ray = ray / _length(ray)
        in_view = -xp.sum(area * ray, axis=1, keepdims=True)
        whole = xp.sum(in_view.clip(0), axis=-1, keepdims=True).clip(1e-12)
        in_view = xp.where(in_view > MIN_FACING * _length(area), in_view, 0.0)
        return in_view * (self.config.independent / self.config.noise ** 2 / whole)

    def _std(self, rotation_std, position_std):
        """One sigma (N, 6 + K) of all that is asked for."""
        xp = array_api_compat.array_namespace(rotation_std)
        rotation_std, position_std = (self.config.trust * std[:, None]
                                      for std in (rotation_std, position_std))
        modes = self._modes.shape[0]
        return xp.concat([*[rotation_std] * 3, *[position_std] * 3,
                          *[xp.full_like(rotation_std, self.config.shape_std)] * modes], axis=1)


def _solve(a, b):
    """x of a x = b for regular a; PyTorch is not asked to look whether they are, and to wait."""
    xp = array_api_compat.array_namespace(a)
    if array_api_compat.is_torch_array(a):
        return xp.linalg.solve_ex(a, b).result
    return xp.linalg.solve(a, b)


def _length(vectors):
    """Lengths (N, 1, T) of vectors (N, 3, T)."""
    xp = array_api_compat.array_namespace(vectors)
    return xp.sqrt(xp.sum(vectors * vectors, axis=1, keepdims=True))
