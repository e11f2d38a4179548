# SPDX-License-Identifier: Apache-2.0
"""Finer faces: predicted meshes are laid on the measured surface, as far as networks err."""
from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from array_api_compat import is_torch_array

from depthface_ros.estimation.error_prior import POSE, ErrorPrior
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import Intrinsics, depth_around
from depthface_ros.geometry.rotations import compose, cross, small_rotation
from depthface_ros.settings import setting

# Cosine to the viewing ray below which a triangle says too little; from twice that on it says all.
MIN_FACING = 0.2
IN_FRONT = 0.7  # of the reach: what lies before a face is more often something else


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
    independent: float = setting(1000.0, 'Independent measurements that a whole face is worth.',
                                 0.0, 1e4)
    trust: float = setting(1.2, 'Errors expected of the networks are multiplied by this.',
                           1e-3, 100.0)
    modes: int = setting(30, 'Modes of shape that may change, of 30; 0 leaves shapes as they are.',
                         0, 30)


def face_modes() -> np.ndarray:
    """How faces differ: modes (K, V, 3) float32 of the mesh's vertices, m, one sigma each."""
    with (files('depthface_ros') / 'models' / 'face_basis.npz').open('rb') as file:
        return np.load(file)['modes'].astype(np.float32)


def aligned_triangles(model: FaceModel) -> np.ndarray:
    """The triangles (T, 3) of a face that are laid on its surface: 600 say as much as all.

    The second half of them are the first half in a mirror.
    """
    some = model.triangles[::6]
    left = some[model.template[some, 1].mean(axis=1) > 0]
    right = model.mirror[left][:, ::-1]  # corners the other way round, so that they face outwards
    return np.concatenate([left, right])


def onto_modes(modes: np.ndarray) -> np.ndarray:
    """The matrix (K, V * 3) that tells of offsets how much of each mode (K, V, 3) is in them."""
    return np.linalg.pinv(modes.reshape(len(modes), -1).T)


class Aligned(NamedTuple):
    """Faces after an alignment; N of them, numpy or torch, float32."""

    camera_from_face: np.ndarray  # (N, 4, 4)
    vertices_face: np.ndarray  # (N, V, 3) metres
    # (N, 6 + K): by how much pose and modes of shape were changed, in sigmas of the pose network
    # and of the modes
    correction: np.ndarray


class Alignment:
    """Lays meshes of one topology on depth images; numpy or torch, as the modes are."""

    def __init__(self, triangles, modes, config: AlignmentConfig = AlignmentConfig(),
                 expected: ErrorPrior | None = None):
        """Prepare for meshes with triangles (T, 3) that may bend by modes (K, V, 3), metres."""
        self.config = config
        xp = namespace(triangles)
        self._corners = xp.reshape(xp.matrix_transpose(triangles), (-1,))
        expected = expected or ErrorPrior.independent(len(modes), len(triangles))
        self._modes = modes[:config.modes]
        self._modes_middle = sum(self._at_corners(self._modes)) / 3  # (K, 3, T)
        asked = POSE + len(self._modes)
        self._mixing, self._of_surface, self._share_of = (
            xp.asarray(array, device=device_of(triangles))
            for array in (config.trust * expected.error_cholesky[:asked, :asked],
                          expected.surface_loadings, expected.triangle_information))

    def __call__(self, depth, intrinsics: Intrinsics, camera_from_face, rotation_std, position_std,
                 vertices_face) -> Aligned:
        """Weigh the measured surface against predictions: better poses and vertices.

        Minimises sum_i w_i (n_i . (q_i - p_i) - g_i)^2 / noise^2 + |z|^2 over independent numbers
        z. Some of them mix to what is wanted: the six numbers (rotation vector, translation) by
        which a pose moves in its face frame, and the modes by which its shape changes. The others
        make g_i, what lies on the face. p_i are the middles of triangles, n_i their normals and
        q_i what the depth image holds where p_i projects to. The weights are the areas in view,
        less where mesh and surface are far apart (Geman and McClure's), as at a hand before the
        face.

        :param depth: (H, W) uint16 millimetres or float32 metres.
        :param rotation_std: (N,) radians, one sigma per axis of the predicted rotations.
        :param position_std: (N,) metres, of the predicted positions.
        :param vertices_face: (N, V, 3) float32 metres, face frame.
        """
        xp = namespace(vertices_face)
        unit = self._unit(rotation_std, position_std)
        if not self.config.steps:
            return Aligned(camera_from_face, vertices_face, xp.zeros_like(unit[..., 0]))
        rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3:]
        middle, normal, share = self._triangles(rotation, origin, vertices_face)
        # how n . p changes with what is asked for, and n . p + g with z: (N, 6 + K + F, T)
        jacobian = xp.concat([cross(middle, normal, axis=1), normal,
                              xp.einsum('kit,nit->nkt', self._modes_middle, normal)], axis=1)
        jacobian = xp.concat(
            [xp.matmul(xp.matrix_transpose(self._mixing), unit * jacobian),
             xp.broadcast_to(self._of_surface, (len(normal), *self._of_surface.shape))], axis=1)
        jacobian_t = xp.matrix_transpose(jacobian)
        asked = unit.shape[1]
        identity = xp.eye(jacobian.shape[1], dtype=unit.dtype, device=device_of(unit))
        turned, moved, bent, z = rotation, origin, middle, xp.zeros_like(jacobian[..., :1])
        for _ in range(self.config.steps):
            weight, distance = self._measure(
                depth, intrinsics, xp.matmul(turned, bent) + moved, xp.matmul(turned, normal))
            on_face = xp.matmul(jacobian_t[..., asked:], z[:, asked:])
            distance = distance - weight * xp.matrix_transpose(on_face)
            information = xp.matmul(jacobian * (share * weight), jacobian_t) + identity
            gradient = xp.matmul(jacobian, xp.matrix_transpose(share * distance)) - z
            z = z + _solve(information, gradient)
            correction = xp.matmul(self._mixing, z[:, :asked])
            d = unit * correction
            turn, move, bend = small_rotation(d[:, :3, 0]), d[:, 3:POSE], d[:, POSE:, 0]
            turned, moved = xp.matmul(rotation, turn), xp.matmul(rotation, move) + origin
            bent = middle + _bent(bend, self._modes_middle)
        return Aligned(compose(camera_from_face, turn, move[..., 0]),
                       vertices_face + _bent(bend, self._modes), correction[..., 0])

    def _measure(self, depth, intrinsics, middle, normal, reach: float | None = None):
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
        off = xp.where(distance > 0, distance / IN_FRONT, distance) / (
            reach or self.config.reach)
        robust = square / (square + off * off).clip(1e-12)
        weight = near * xp.astype(measured > 0, xp.float32) * robust * robust
        return (xp.sum(weight, axis=(1, 2))[:, None],
                xp.sum(weight * distance, axis=(1, 2))[:, None])

    def plane_distances(self, depth, intrinsics: Intrinsics, camera_from_face, vertices_face,
             reach: float | None = None):
        """How far a measured surface stands off meshes, and how much each triangle tells of that.

        :param reach: as in :class:`AlignmentConfig`, if it is not to be that of this alignment.
        :returns: (N, T) metres along the normals, outwards, and (N, T) weights in 0..1. For the
            other arguments see a call.
        """
        xp = namespace(vertices_face)
        rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3:]
        middle, normal, share = self._triangles(rotation, origin, vertices_face)
        weight, distance = self._measure(depth, intrinsics, xp.matmul(rotation, middle) + origin,
                                         xp.matmul(rotation, normal), reach)
        seen = xp.astype(share > 0, xp.float32)
        return (distance / weight.clip(1e-9))[:, 0], (weight * seen)[:, 0]

    def _triangles(self, rotation, origin, vertices_face):
        """Middles and unit normals (N, 3, T) of triangles, and how much each tells (N, 1, T)."""
        xp = namespace(vertices_face)
        a, b, c = self._at_corners(vertices_face)
        middle, area = (a + b + c) / 3, cross(b - a, c - a, axis=1)  # twice the area
        size = _length(area).clip(1e-12)
        camera = xp.matmul(xp.matrix_transpose(rotation), -origin)  # in the face frame
        return middle, area / size, self._share(middle - camera, area, size)

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
        return in_view * facing * self._share_of * (
            self.config.independent / self.config.noise ** 2 / whole)

    def _unit(self, rotation_std, position_std):
        """In what errors are counted, (N, 6 + K, 1): the sigmas of poses, and modes as they are."""
        xp = namespace(rotation_std)
        rotation_std, position_std = rotation_std[:, None], position_std[:, None]
        mode = xp.ones_like(rotation_std)
        return xp.concat([rotation_std] * 3 + [position_std] * 3 + [mode] * len(self._modes),
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
