# SPDX-License-Identifier: Apache-2.0
"""Surface detail: meshes follow the measured surface as far as the camera is precise.

Networks and alignment describe a face by few shape modes. What the camera measured beyond them is
fitted here: displacements along the normals, with a smooth prior. The noise is estimated from the
residual of each face in each image, so noisy cameras change little.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from depthface_ros.compiled import surface_modes as loops
from depthface_ros.compiled import takes
from depthface_ros.estimation.point_to_plane import (
    MeshTriangles,
    distances,
    in_camera,
    pixels_around,
)
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.camera import Intrinsics

REACH = 0.008  # m along the ray, at which a measured point counts a quarter
MIN_WEIGHT = 0.2  # of a triangle that is fitted
MIN_TRIANGLES = 60  # with such a weight, below which a face stays as it is
# Residual, in sigmas, at which a triangle counts a quarter. In front of the face, where hair,
# glasses and hands are, it is FRONT times that.
CUT, FRONT = 3.0, 0.7
# At first the kernel is wide, so that local shapes are no outliers.
MIN_CUTS = (0.004, 0.002)  # m, one for each iteration
MIN_NOISE, MAX_NOISE = 0.0003, 0.01  # m, limits of the estimated sigma
SOLVER_STEPS = 3  # conjugate gradients per iteration
TRIANGLE_STEP = 2  # every so many triangles are fitted: modes are much longer than their edges
MIN_COSINE = 0.5  # between the directions of displacements and the normals of a mesh
TINY = 1e-20  # instead of a division by zero
LIMITS = np.float32([MIN_WEIGHT, MIN_TRIANGLES, CUT, FRONT, MIN_NOISE, MAX_NOISE, TINY])


class SurfaceModes(NamedTuple):
    """Smooth displacements of the face mesh, by `python -m training surface-modes`; float32."""

    displacements: np.ndarray  # (K, V) m, one sigma each
    directions: np.ndarray  # (V, 3), smoothed normals of the template

    @classmethod
    def load(cls) -> SurfaceModes:
        """Return the modes of this package."""
        with (files('depthface_ros') / 'models' / 'surface_modes.npz').open('rb') as file:
            arrays = np.load(file)
            return cls(arrays['displacements_mm'].astype(np.float32) / 1000,
                       arrays['directions'].astype(np.float32))


def surface_triangles(model: FaceModel) -> np.ndarray:
    """Return the triangles (T, 3) that are fitted, both sides alike.

    Ears are left out, and so are the rims of mouth and eyes: beside them the camera measures what
    is behind the lips and lids.
    """
    rim = np.concatenate([model.regions['ears'], opening_vertices(model)])
    some = model.triangles[~np.isin(model.triangles, rim).any(axis=1)][::TRIANGLE_STEP]
    left = some[model.template[some, 1].mean(axis=1) > 0]
    return np.concatenate([left, model.mirror[left][:, ::-1]])


def opening_vertices(model: FaceModel) -> np.ndarray:
    """Return the vertices (B,) at the boundary of the mesh: eyes, mouth and outer edge."""
    edges = np.sort(np.concatenate([model.triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))]))
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


class SurfaceDetail:
    """Fit displacements of meshes to depth images; numpy or torch, as `constant` makes arrays.

    The mirror plane of the face halves the work. Modes are even or odd in it, so sums and
    differences of both halves' values depend on half of the modes each, on half of the triangles.
    Values of triangles are (N, 2, T / 2): left and right half. Coefficients are (N, 2, M): even and
    odd modes, the fewer of them padded by zeros.
    """

    def __init__(self, model: FaceModel, modes: SurfaceModes, constant: Callable = np.asarray):
        """Prepare for meshes of a face model."""
        triangles = surface_triangles(model)
        self._triangles = MeshTriangles(constant(triangles))
        by_parity = even_and_odd(modes.displacements, model.mirror)  # (2, M, V)
        self._displacements = constant(by_parity.reshape(-1, len(model.template)))
        self._directions = constant(modes.directions)
        at_triangles = by_parity[:, :, triangles].mean(axis=3)
        self._jacobian = constant(np.ascontiguousarray(
            at_triangles[..., :len(triangles) // 2]))  # (2, M, T / 2)
        self._square = constant(np.square(at_triangles).mean(axis=2))  # (2, M) m^2
        self._sum_and_difference = constant(np.float32([[1, 1], [1, -1]]))
        self._triangle_directions = constant(
            np.ascontiguousarray(modes.directions[triangles].mean(axis=1).T))  # (3, T)
        self._rank = constant(np.arange(len(triangles), dtype=np.float32))

    def __call__(self, depth, intrinsics: Intrinsics, camera_from_face, vertices_face):
        """Return the most probable meshes (N, V, 3) m, face frame, at poses (N, 4, 4).

        Iteratively reweighted ridge regression on the coefficients c of the modes:

            minimise  sum_t w_t (d_t - (J' c)_t)^2 / sigma^2 + |c|^2,   sigma = 1.48 MAD

        d_t are the point-to-plane distances of the triangles, J the displacements of their centres
        by the modes.
        """
        xp = namespace(vertices_face)
        distance, weight = (xp.reshape(values, (values.shape[0], 2, -1)) for values in
                            self._distances(depth, intrinsics, camera_from_face, vertices_face))
        coefficients = xp.reshape(self._fitted(distance, weight),
                                  (-1, 1, self._displacements.shape[0]))
        displacement = xp.matmul(coefficients, self._displacements)[:, 0]
        return vertices_face + displacement[..., None] * self._directions

    def _fitted(self, distance, weight):
        """Return coefficients (N, 2, M) for distances (N, 2, T / 2) m with weights in 0..1."""
        if takes(distance):
            found = loops.fitted(distance.reshape(len(distance), -1),
                                 weight.reshape(len(weight), -1), self._jacobian,
                                 self._square.reshape(-1), np.float32(MIN_CUTS), LIMITS,
                                 SOLVER_STEPS)
            return found.reshape(-1, *self._square.shape)
        xp = namespace(distance)
        valid = weight > MIN_WEIGHT
        count = _total(xp.astype(valid, xp.float32))
        weight = weight * xp.astype(valid & (count >= MIN_TRIANGLES), xp.float32)
        coefficients, residual = 0.0, distance
        for min_cut in MIN_CUTS:
            noise = self._noise(residual, valid, count)
            robust = _robust(residual, (CUT * noise).clip(min_cut))
            information = weight * robust / (noise * noise)
            gradient = self._onto_modes(information * residual) - coefficients
            step, moved = self._solve(information, gradient)
            coefficients, residual = coefficients + step, residual - moved
        return coefficients

    def _distances(self, depth, intrinsics, camera_from_face, vertices_face):
        """Return distances (N, T) m along the smooth normals, and their weights (N, T)."""
        planes = self._triangles.planes(camera_from_face, vertices_face)
        centre, normal = in_camera(camera_from_face, planes)
        distance, weight = distances(pixels_around(depth, intrinsics, centre), centre, normal,
                                     planes.visible_area, REACH)
        cosine = (planes.normal * self._triangle_directions).sum(axis=1).clip(MIN_COSINE)
        return distance / cosine, weight * cosine * cosine

    def _at_triangles(self, coefficients):
        """Return the displacements (N, 2, T / 2) m of triangles by modes: J' c."""
        xp = namespace(coefficients)
        return xp.matmul(self._sum_and_difference,
                         xp.matmul(coefficients[:, :, None], self._jacobian)[:, :, 0])

    def _onto_modes(self, values):
        """Return the products (N, 2, M) of modes and values (N, 2, T / 2) of triangles: J v."""
        xp = namespace(values)
        return xp.matmul(xp.matmul(self._sum_and_difference, values)[:, :, None],
                         xp.matrix_transpose(self._jacobian))[:, :, 0]

    def _noise(self, residual, valid, count):
        """Return one sigma (N, 1, 1) m of the valid residuals by their median absolute deviation.

        :param count: (N, 1, 1), how many are valid.
        """
        xp = namespace(residual)
        size = xp.where(valid, xp.abs(residual), xp.full_like(residual, MAX_NOISE))
        ordered = xp.sort(xp.reshape(size, (size.shape[0], -1)), axis=1)
        middle = xp.astype(self._rank == xp.floor(count[..., 0] / 2), xp.float32)
        median = (ordered * middle).sum(axis=1)[:, None, None]
        return (1.4826 * median).clip(MIN_NOISE, MAX_NOISE)

    def _solve(self, information, gradient):
        """Return Gauss-Newton steps (N, 2, M), and how far they move the triangles, m.

            (J W J' + I) step = gradient,   moved = J' step

        Some preconditioned conjugate gradients solve it.

        :param information: (N, 2, T / 2), the diagonal of W, in 1 / m^2.
        """
        preconditioner = 1 / (1 + _total(information) * self._square)
        step, moved, residual = 0.0, 0.0, gradient
        direction = preconditioner * residual
        energy = _dot(residual, direction)
        for remaining in reversed(range(SOLVER_STEPS)):
            motion = self._at_triangles(direction)
            weighted = information * motion
            length = energy / (_dot(weighted, motion) + _dot(direction, direction)).clip(TINY)
            step, moved = step + length * direction, moved + length * motion
            if remaining:
                residual = residual - length * (self._onto_modes(weighted) + direction)
                scaled = preconditioner * residual
                previous, energy = energy, _dot(residual, scaled)
                direction = scaled + energy / previous.clip(TINY) * direction
        return step, moved


def even_and_odd(modes: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Return modes (K, V) as (2, M, V): those that are even in the mirror plane, and the odd ones.

    :param mirror: (V,) index of the mirrored vertex.
    :raises ValueError: a mode is neither.
    """
    mirrored, limit = modes[:, mirror], 1e-3 * np.abs(modes).max(axis=1)
    parts = [modes[np.abs(modes - sign * mirrored).max(axis=1) < limit] for sign in (1, -1)]
    if sum(map(len, parts)) != len(modes):
        raise ValueError('surface modes are neither even nor odd in the mirror plane: write them '
                         'anew with `python -m training surface-modes`')
    found = np.zeros((2, max(map(len, parts)), modes.shape[1]), modes.dtype)
    for part, place in zip(parts, found):
        place[:len(part)] = part
    return found


def _robust(residual, cut):
    """Return Welsch's weights of residuals (m): a quarter at the cut (m), soon nothing."""
    xp = namespace(residual)
    scaled = xp.maximum(residual / FRONT, residual) / cut  # positive ones are in front
    return xp.exp(-math.log(4) * scaled * scaled)


def _dot(a, b):
    """Return the inner products (N, 1, 1) of N arrays."""
    return _total(a * b)


def _total(values):
    """Return the sums (N, 1, 1) of N arrays."""
    return values.sum(axis=(1, 2), keepdims=True)
