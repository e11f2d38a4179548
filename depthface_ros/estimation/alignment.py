# SPDX-License-Identifier: Apache-2.0
"""Alignment of predicted meshes to the depth image, with the errors of the networks as prior."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from array_api_compat import is_torch_array

from depthface_ros.compiled import in_order, takes
from depthface_ros.compiled import least_squares as loops
from depthface_ros.estimation.error_prior import POSE, ErrorPrior
from depthface_ros.estimation.point_to_plane import (
    MeshTriangles,
    Planes,
    in_camera,
    measure,
    pixels_around,
)
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import compose, cross, small_rotation
from depthface_ros.io.errors import reading
from depthface_ros.io.npz_files import NpzFile
from depthface_ros.settings import setting

TRIANGLE_STEP = 6  # every so many triangles are aligned: 600 give the accuracy of all


@dataclass(frozen=True)
class AlignmentConfig:
    """Weights of the depth image and of the networks' predictions in the alignment."""

    steps: int = setting(2, 'Gauss-Newton steps; 0 leaves faces as the networks predict them.',
                         0, 20)
    noise: float = setting(0.003, 'One sigma of the distance between mesh and measured surface, in '
                           'metres.', 1e-4, 0.1)
    reach: float = setting(0.004, 'Distance along the ray, in metres, at which the robust weight '
                           'of a point is a quarter.', 1e-4, 0.1)
    # Errors of neighbouring points are correlated, so a face is worth much less than its pixels.
    independent: float = setting(1000.0, 'Effective number of independent depth measurements per '
                                 'face; higher trusts the image more, the networks less.',
                                 0.0, 1e4)
    trust: float = setting(1.2, 'Factor on the expected errors of the networks.', 1e-3, 100.0)
    modes: int = setting(30, 'Number of shape modes that are fitted, of 30; 0 keeps the predicted '
                         'shapes.', 0, 30)


def face_modes() -> np.ndarray:
    """Return the modes of faces' shapes: (K, V, 3) float32 m of the vertices, one sigma each."""
    file = Path(str(files('depthface_ros') / 'models' / 'face_basis.npz'))
    with reading(str(file)):
        modes = NpzFile(file).array('modes').astype(np.float32)
        if modes.ndim != 3 or not np.isfinite(modes).all():
            raise ValueError(f'modes of shape {modes.shape}: expected finite numbers (K, V, 3)')
    return modes


def aligned_triangles(model: FaceModel) -> np.ndarray:
    """Return the triangles (T, 3) that are aligned; the second half mirrors the first."""
    some = model.triangles[::TRIANGLE_STEP]
    left = some[model.template[some, 1].mean(axis=1) > 0]
    right = model.mirror[left][:, ::-1]  # reversed corners, so that they face outwards
    return np.concatenate([left, right])


def onto_modes(modes: np.ndarray) -> np.ndarray:
    """Return the matrix (K, V * 3) that projects vertex offsets onto modes (K, V, 3)."""
    return np.linalg.pinv(modes.reshape(len(modes), -1).T)


class Aligned(NamedTuple):
    """N faces after an alignment; numpy or torch, float32."""

    camera_from_face: np.ndarray  # (N, 4, 4)
    vertices_face: np.ndarray  # (N, V, 3) metres
    # (N, 6 + K) changes of pose and shape modes, in sigmas of the pose network and of the modes
    correction: np.ndarray


class Alignment:
    """Align meshes of one topology to depth images; numpy or torch, as the modes are."""

    def __init__(self, triangles, modes, config: AlignmentConfig = AlignmentConfig(),
                 prior: ErrorPrior | None = None):
        """Prepare for meshes with triangles (T, 3) and shape modes (K, V, 3), metres.

        :param prior: by default errors without correlations.
        """
        self.config = config
        self.triangles = MeshTriangles(triangles)
        prior = prior or ErrorPrior.independent(len(modes), self.triangles.count)
        xp, device = namespace(triangles), device_of(triangles)
        self._modes = modes[:config.modes]
        self._modes_centre = sum(self.triangles.corners(self._modes))[:, :3] / 3  # (K, 3, T)
        self._parameters = POSE + len(self._modes)
        self._unknowns = self._parameters + len(prior.surface_loadings)
        cholesky = prior.error_cholesky[:self._parameters, :self._parameters]
        self._cholesky, self._surface_loadings, self._triangle_information = (
            xp.asarray(array, device=device) for array in (
                config.trust * cholesky, prior.surface_loadings, prior.triangle_information))
        # Masks (6 + K, 1) of the parameters by unit: rotation, position, modes.
        kinds = np.repeat(np.arange(3), (3, 3, len(self._modes)))[:, None]
        self._units = [xp.asarray(np.float32(kinds == kind), device=device) for kind in range(3)]

    def __call__(self, depth, intrinsics: Intrinsics, camera_from_face, rotation_std, position_std,
                 vertices_face) -> Aligned:
        """Return the most probable poses and meshes given predictions and depth image.

        Gauss-Newton on independent standard normal variables z = (z_p, z_s):

            minimise  sum_i w_i (n_i . (q_i - p_i(L z_p)) - (F' z_s)_i)^2 / noise^2 + |z|^2

        p_i and n_i are the centres and normals of the triangles, q_i the measured points. L z_p are
        the rotation vector and translation of the pose, in the face frame, and the shape modes;
        L is the Cholesky factor of the networks' errors. F are the loadings of the surface offsets.
        The weights w_i are robust, and shared out by visible area.

        :param depth: (H, W) uint16 millimetres or float32 metres.
        :param rotation_std: (N,) radians, one sigma per axis of the predicted rotations.
        :param position_std: (N,) metres, of the predicted positions.
        :param vertices_face: (N, V, 3) float32 metres, face frame.
        """
        xp = namespace(vertices_face)
        sigma = self._sigma(rotation_std, position_std)
        if not self.config.steps:
            return Aligned(camera_from_face, vertices_face, xp.zeros_like(sigma[..., 0]))
        planes = self.triangles.planes(camera_from_face, vertices_face)
        step = self._gauss_newton(planes, sigma)
        z = xp.zeros((len(sigma), self._unknowns, 1), dtype=sigma.dtype, device=device_of(sigma))
        centre, normal = in_camera(camera_from_face, planes)
        for _ in range(self.config.steps):
            measured = measure(pixels_around(depth, intrinsics, centre), centre, normal,
                               self.config.reach)
            z = step(*measured, z)
            correction, pose, bent = self._moved(z, sigma, camera_from_face, planes.centre)
            centre, normal = in_camera(pose, planes._replace(centre=bent))  # normals stay
        bend = correction[:, POSE:]
        return Aligned(pose, vertices_face + _linear(bend, self._modes), correction)

    def _gauss_newton(self, planes: Planes, sigma) -> Callable:
        """Return the function (weight, weighted distance, z) -> z (N, 6 + K + F, 1) of a step.

        Weights and weighted distances are those of :func:`measure`.
        """
        information = self._information(planes)
        if takes(information):
            return partial(loops.gauss_newton_step, self._by_parameters(planes),
                           self._surface_loadings, self._cholesky, sigma, information)
        return partial(self._step, self._jacobian(planes, sigma), information)

    def _step(self, jacobian, information, weight, weighted_distance, z):
        """Return z after a step: (J W J' + I) step = J W r - z."""
        xp = namespace(jacobian)
        transposed = xp.matrix_transpose(jacobian)
        # The distances do not contain the offset of the surface from the skin
        offset = xp.matmul(transposed[..., self._parameters:], z[:, self._parameters:])
        residual = xp.matrix_transpose(weighted_distance) - xp.matrix_transpose(weight) * offset
        matrix = (xp.matmul(jacobian * (information * weight), transposed)
                  + _identity(jacobian.shape[1], jacobian.dtype, xp, device_of(jacobian)))
        return z + _solved(matrix, xp.matmul(jacobian * information, residual) - z)

    def _jacobian(self, planes: Planes, sigma):
        """Return the derivatives (N, 6 + K + F, T) of n . p + surface offset by z.

            d(n . p) / d(rotation, translation, modes) = (p x n, n, n . modes)
        """
        xp, loadings = namespace(sigma), self._surface_loadings
        return xp.concat(
            [xp.matmul(xp.matrix_transpose(sigma * self._cholesky), self._by_parameters(planes)),
             xp.broadcast_to(loadings, (len(planes.normal), *loadings.shape))], axis=1)

    def _by_parameters(self, planes: Planes):
        """Return the derivatives (N, 6 + K, T) of n . p."""
        if takes(planes.centre):
            return loops.by_parameters(*planes[:2], self._modes_centre)
        xp = namespace(planes.centre)
        return xp.concat(
            [cross(planes.centre, planes.normal, axis=1), planes.normal,
             xp.einsum('kit,nit->nkt', self._modes_centre, planes.normal)], axis=1)

    def _moved(self, z, sigma, camera_from_face, centre):
        """Return what z (N, 6 + K + F, 1) means for triangles with centres (N, 3, T), face frame.

        :returns: corrections (N, 6 + K) in sigmas; poses (N, 4, 4); centres (N, 3, T), face frame.
        """
        if takes(z):
            return loops.moved(z, self._cholesky, sigma, in_order(camera_from_face), centre,
                               self._modes_centre)
        xp = namespace(z)
        correction = xp.matmul(self._cholesky, z[:, :self._parameters])[..., 0]
        scaled = sigma[..., 0] * correction
        pose = compose(camera_from_face, small_rotation(scaled[:, :3]), scaled[:, 3:POSE])
        return correction, pose, centre + _linear(scaled[:, POSE:], self._modes_centre)

    def _information(self, planes: Planes):
        """Return the information (N, 1, T) of the triangles in 1 / m^2, shared out by area."""
        per_area = self.config.independent / self.config.noise ** 2 / planes.total_area
        return planes.visible_area * self._triangle_information * per_area

    def _sigma(self, rotation_std, position_std):
        """Return the units (N, 6 + K, 1) of the parameters: rad, m, and modes as they are."""
        rotation, position, mode = self._units
        return (rotation * rotation_std[:, None, None] + position * position_std[:, None, None]
                + mode)


def _solved(matrix, gradient):
    """Return the solutions (N, P, 1) of linear equations."""
    xp = namespace(matrix)
    if is_torch_array(matrix):  # without the check for singular matrices, which waits for GPUs
        return xp.linalg.solve_ex(matrix, gradient).result
    return xp.linalg.solve(matrix, gradient)


@lru_cache(maxsize=8)
def _identity(size: int, dtype, xp, device):
    return xp.eye(size, dtype=dtype, device=device)


def _linear(coefficients, modes):
    """Return sums (N, A, B) of modes (K, A, B) with coefficients (N, K)."""
    xp = namespace(coefficients)
    flat = xp.reshape(modes, (modes.shape[0], math.prod(modes.shape[1:])))
    return xp.reshape(xp.matmul(coefficients, flat), (-1, *modes.shape[1:]))
