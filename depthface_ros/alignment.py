# SPDX-License-Identifier: Apache-2.0
"""Finer faces: predicted meshes are laid on the measured surface, as far as networks err."""
from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from array_api_compat import is_torch_array

from depthface_ros.arrays import device_of, namespace
from depthface_ros.camera import Intrinsics, depth_around
from depthface_ros.rotations import compose, cross, small_rotation
from depthface_ros.settings import setting

POSE = 6  # numbers: rotation vector and translation
# Cosine to the viewing ray below which a triangle says too little; from twice that on it says all.
MIN_FACING = 0.2


@dataclass(frozen=True)
class AlignmentConfig:
    """How far the measured surface may move and bend a mesh."""

    steps: int = setting(2, 'Gauss-Newton steps; 0 leaves faces as the networks predict them.',
                         0, 20)
    noise: float = setting(0.003, 'Metres between mesh and measured surface, one sigma.',
                           1e-4, 0.1)
    reach: float = setting(0.004, 'Metres between them, along the ray, at which a point counts a '
                           'quarter.', 1e-4, 0.1)
    # Errors of neighbouring points are alike, so a face is worth much less than its pixels.
    independent: float = setting(300.0, 'Independent measurements that a whole face is worth.',
                                 0.0, 1e4)
    trust: float = setting(1.3, 'What the networks say of their errors is multiplied by this.',
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
        xp = namespace(triangles)
        self._corners = xp.reshape(xp.matrix_transpose(triangles), (-1,))
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
        xp = namespace(vertices_face)
        rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3:]
        middle, area = self._surface(vertices_face)
        size = _length(area).clip(1e-12)
        normal = area / size
        camera = xp.matmul(xp.matrix_transpose(rotation), -origin)  # in the face frame
        share = self._share(middle - camera, area, size)
        std = self._std(rotation_std, position_std)
        # how n . p changes with d / std: (N, 6 + K, T)
        jacobian = xp.concat([cross(middle, normal, axis=1), normal,
                              xp.einsum('kit,nit->nkt', self._modes_middle, normal)], axis=1)
        jacobian *= std
        jacobian_t = xp.matrix_transpose(jacobian)
        identity = xp.eye(std.shape[1], dtype=std.dtype, device=device_of(std))
        turned, moved, bent, d_in_std = rotation, origin, middle, xp.zeros_like(std)
        for _ in range(self.config.steps):
            weight, distance = self._measure(
                depth, intrinsics, xp.matmul(turned, bent) + moved, xp.matmul(turned, normal))
            information = xp.matmul(jacobian * (share * weight), jacobian_t) + identity
            gradient = xp.matmul(jacobian, xp.matrix_transpose(share * distance)) - d_in_std
            d_in_std = d_in_std + _solve(information, gradient)
            d = d_in_std * std
            turn, move, bend = small_rotation(d[:, :3, 0]), d[:, 3:POSE], d[:, POSE:, 0]
            turned, moved = xp.matmul(rotation, turn), xp.matmul(rotation, move) + origin
            bent = middle + _bent(bend, self._modes_middle)
        return (compose(camera_from_face, turn, move[..., 0]),
                vertices_face + _bent(bend, self._modes))

    def _measure(self, depth, intrinsics, middle, normal):
        """What each triangle's surroundings say: (N, 1, T) weight, and weight times metres.

        Four pixels lie around where a triangle's middle projects to. Each says how far its point is
        from the triangle's plane, and counts by how near to it the middle projects and by how near
        to the plane it is along the ray: a hand before a cheek is far off. So nothing is invented
        at edges, and a face moves evenly with what moves it, never by jumps.
        """
        xp = namespace(middle)
        measured, x, y, near = depth_around(depth, intrinsics, middle)
        nx, ny, nz = (normal[:, None, i:i + 1] for i in range(3))
        slope = nx * x + ny * y + nz  # metres across the plane for a metre of depth: (N, 2, 2, T)
        distance = slope * measured - xp.sum(normal * middle, axis=1)[:, None, None]
        # Geman and McClure's weight of distance / slope, how far off a point is along the ray
        square = slope * slope
        robust = square / (square + distance * distance / self.config.reach ** 2).clip(1e-12)
        weight = near * xp.astype(measured > 0, xp.float32) * robust * robust
        return (xp.sum(weight, axis=(1, 2))[:, None],
                xp.sum(weight * distance, axis=(1, 2))[:, None])

    def _surface(self, vertices_face):
        """Middles of the triangles, and normals twice as long as their areas: (N, 3, T) each."""
        a, b, c = self._at_corners(vertices_face)
        return (a + b + c) / 3, cross(b - a, c - a, axis=1)

    def _at_corners(self, vertices):
        """Vertices (N, V, 3) at the three corners of each triangle: (N, 3, T) each."""
        xp = namespace(vertices)
        found = xp.take(xp.matrix_transpose(vertices), self._corners, axis=2)
        count = self._corners.shape[0] // 3
        return [found[..., i * count:(i + 1) * count] for i in range(3)]

    def _share(self, ray, area, size):
        """How much each triangle counts, by its area in view: (N, 1, T), in 1 / m^2.

        :param ray: (N, 3, T) from the camera to the triangles, of any length.
        """
        xp = namespace(ray)
        in_view = -xp.sum(area * ray, axis=1, keepdims=True) / _length(ray)
        whole = xp.sum(in_view.clip(0), axis=-1, keepdims=True).clip(1e-12)
        facing = (in_view / size / MIN_FACING - 1).clip(0, 1)
        return in_view * facing * (self.config.independent / self.config.noise ** 2 / whole)

    def _std(self, rotation_std, position_std):
        """One sigma (N, 6 + K, 1) of all that is asked for."""
        xp = namespace(rotation_std)
        rotation_std, position_std = (self.config.trust * std[:, None]
                                      for std in (rotation_std, position_std))
        modes = self._modes.shape[0]
        shape_std = xp.full_like(rotation_std, self.config.shape_std)
        return xp.concat([rotation_std] * 3 + [position_std] * 3 + [shape_std] * modes,
                         axis=1)[..., None]


def _solve(a, b):
    """x of a x = b for regular a; PyTorch is not asked to look whether they are, and to wait."""
    xp = namespace(a)
    return xp.linalg.solve_ex(a, b).result if is_torch_array(a) else xp.linalg.solve(a, b)


def _bent(bend, modes):
    """Sums (N, A, B) of modes (K, A, B), each times its number in bend (N, K)."""
    xp = namespace(bend)
    flat = xp.matmul(bend, xp.reshape(modes, (modes.shape[0], math.prod(modes.shape[1:]))))
    return xp.reshape(flat, (-1, *modes.shape[1:]))


def _length(vectors):
    """Lengths (N, 1, T) of vectors (N, 3, T)."""
    xp = namespace(vectors)
    return xp.sqrt(xp.sum(vectors * vectors, axis=1, keepdims=True))
