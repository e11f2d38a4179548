# SPDX-License-Identifier: Apache-2.0
"""Measure the prior of the alignment: joint errors of the networks, and offsets of the surface."""
from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.alignment import aligned_triangles, face_modes, onto_modes
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.point_to_plane import MeshTriangles
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_corrections
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import in_frame
from training.evaluation.errors import Record, pose_errors, reported_uncertainty
from training.synthesis.scene.random_scene import Head

REACH = 0.008  # m, along the ray, at which a point counts a quarter
NEAR = 2.0  # m; beyond, sensor noise hides what lies on faces
SEEN = 0.02  # weight of a triangle from which on its distance is used
N_FACTORS = 6  # of the surface offsets; more of them explained no more variance
ITERATIONS = 100  # of expectation and maximisation
OUTLIER = 3.0  # sigma, to which larger errors are clipped
PRIOR_SAMPLES, PRIOR_STD = 5, 0.002  # residuals of so many m in each triangle's variance
INFORMATION_RANGE = (0.05, 4.0)  # of a triangle, relative to the median one


def networks_alone(face: Face, head: Head, depth: np.ndarray, intrinsics: Intrinsics) -> Record:
    """Return the errors of an unaligned face, and the distances of the image from the true face."""
    pose, truth = face.camera_from_face.astype(float), head.camera_from_face.astype(np.float32)
    pose_error = np.linalg.inv(pose) @ truth
    vertices_face = in_frame(head.vertices_camera, truth)
    shape_error = vertices_face - in_frame(face.vertices, pose)
    distances, weights = _triangles().plane_distances(
        depth, intrinsics, truth[None], vertices_face[None].astype(np.float32), REACH)
    sigma = np.repeat([face.rotation_std, face.position_std], 3)
    return pose_errors(pose, truth) | reported_uncertainty(face) | {
        'pose_error': np.r_[Rotation.from_matrix(pose_error[:3, :3]).as_rotvec(),
                            pose_error[:3, 3]] / sigma,
        'shape_error': _onto_modes() @ shape_error.ravel(),
        'distances': distances[0], 'weights': weights[0]}


def fit_error_prior(records: list[Record]) -> ErrorPrior:
    """Fit the prior to records of :func:`networks_alone` and to their mirror images."""
    near = [record for record in records if record['distance_m'] < NEAR]
    loadings, information = fit_surface_factors(*(with_mirrored_triangles(
        np.array([record[name] for record in near])) for name in ('distances', 'weights')))
    errors = np.array([np.r_[record['pose_error'], record['shape_error']] for record in records])
    return ErrorPrior(fit_error_cholesky(errors).astype(np.float32),
                      loadings.astype(np.float32), information.astype(np.float32))


def fit_error_cholesky(errors: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor (6 + K, 6 + K) of the covariance of errors (N, 6 + K)."""
    errors = np.concatenate([errors, errors * mirrored_corrections()])
    limit = OUTLIER * 1.4826 * np.median(np.abs(errors), axis=0)  # of a normal distribution
    errors = np.clip(errors, -limit, limit)
    return np.linalg.cholesky(errors.T @ errors / len(errors) + 1e-6 * np.eye(errors.shape[1]))


def fit_surface_factors(distances: np.ndarray, weights: np.ndarray, n_factors: int = N_FACTORS,
                        seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fit a factor model to the offsets between measured surfaces and true faces.

    Expectation and maximisation for factor analysis (Rubin and Thayer 1982):

        distances_n = loadings' f_n + e_n,   f_n ~ N(0, I),   e_n ~ N(0, diag(variance / weight_n))

    :param distances: (N, T) m, along the normals of the true triangles.
    :param weights: (N, T); 0 where a distance is unknown.
    :returns: loadings (n_factors, T) m, and the information (T,) of each triangle, of mean 1.
    """
    weights = np.where(weights > SEEN, weights, 0)
    distances = np.where(weights > 0, distances, 0)
    count, identity = distances.shape[1], np.eye(n_factors)
    loadings = np.random.default_rng(seed).normal(0, 0.001, (count, n_factors))
    variance = np.full(count, 0.003 ** 2)
    for _ in range(ITERATIONS):
        # E step: posterior mean and covariance of the factors of each face
        precision = weights / variance
        covariance = np.linalg.inv(
            np.einsum('nt,tk,tl->nkl', precision, loadings, loadings) + identity)
        factors = np.einsum('nkl,nl->nk', covariance, (precision * distances) @ loadings)
        second_moment = covariance + factors[:, :, None] * factors[:, None]
        # M step. A ridge of a tenth of a sample keeps the loadings of rarely seen triangles small.
        loadings = np.linalg.solve(
            np.einsum('nt,nkl->tkl', weights, second_moment) + 0.1 * identity,
            ((weights * distances).T @ factors)[..., None])[..., 0]
        residual = (weights * (distances - factors @ loadings.T) ** 2).sum(0) + np.einsum(
            'nt,tk,nkl,tl->t', weights, loadings, covariance, loadings)
        # A prior of PRIOR_SAMPLES residuals keeps their variances from zero.
        variance = ((residual + PRIOR_SAMPLES * PRIOR_STD ** 2)
                    / (weights.sum(0) + PRIOR_SAMPLES))
    information = (np.median(variance) / variance).clip(*INFORMATION_RANGE)
    return loadings.T, information / information.mean()


def with_mirrored_triangles(values: np.ndarray) -> np.ndarray:
    """Return values (N, T) of faces, followed by those of their mirror images."""
    half = values.shape[1] // 2  # the second half of the triangles mirrors the first
    return np.concatenate([values, np.roll(values, half, axis=1)])


@cache
def _triangles() -> MeshTriangles:
    return MeshTriangles(aligned_triangles(FaceModel.load()))


@cache
def _onto_modes() -> np.ndarray:
    return onto_modes(face_modes())
