# SPDX-License-Identifier: Apache-2.0
"""Measure what the alignment has to expect: joint errors of the networks, and what lies on faces."""
from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.alignment import Alignment, aligned_triangles, face_modes, onto_modes
from depthface_ros.estimation.error_prior import ExpectedErrors
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_corrections
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import in_frame
from training.evaluation.errors import Record, own_words, pose_errors
from training.synthesis.scene.random_scene import Head

REACH = 0.008  # m; farther than that off a face is something else
NEAR = 2.0  # m; beyond, noise hides what lies on faces
SEEN = 0.02  # weight of a triangle from which on its gap is known
WAYS = 6  # in which a surface stands off a face; more told no more
ITERATIONS = 100
OUTLIER = 3.0  # sigma, to which larger errors are cut
EVEN = (0.05, 4.0)  # least and most that a triangle tells, in what one in the middle of them does


def networks_alone(face: Face, head: Head, depth: np.ndarray, intrinsics: Intrinsics) -> Record:
    """What a face without alignment gets wrong, and the gaps between the true face and the image."""
    pose, truth = face.camera_from_face.astype(float), head.camera_from_face.astype(np.float32)
    left_over = np.linalg.inv(pose) @ truth
    vertices_face = in_frame(head.vertices_camera, truth)
    off = vertices_face - in_frame(face.vertices, pose)
    gaps, weights = _alignment().gaps(depth, intrinsics, truth[None],
                                      vertices_face[None].astype(np.float32), REACH)
    unit = np.repeat([face.rotation_std, face.position_std], 3)
    return pose_errors(pose, truth) | own_words(face) | {
        'of_pose': np.r_[Rotation.from_matrix(left_over[:3, :3]).as_rotvec(),
                         left_over[:3, 3]] / unit,
        'of_shape': _onto_modes() @ off.ravel(), 'gaps': gaps[0], 'weights': weights[0]}


def fit_expected_errors(records: list[Record]) -> ExpectedErrors:
    """Fit to faces of :func:`networks_alone`; as many are mirrored."""
    near = [record for record in records if record['distance_m'] < NEAR]
    of_surface, share = stand_off(*(with_mirrored_triangles(
        np.array([record[name] for record in near])) for name in ('gaps', 'weights')))
    return ExpectedErrors(
        of_predictions=mixing(np.array([np.r_[record['of_pose'], record['of_shape']]
                                        for record in records])).astype(np.float32),
        of_surface=of_surface.astype(np.float32), share=share.astype(np.float32))


def mixing(errors: np.ndarray) -> np.ndarray:
    """The lower triangular (6 + K, 6 + K) that mixes independent numbers to such errors (N, 6 + K)."""
    errors = np.concatenate([errors, errors * mirrored_corrections()])
    limit = OUTLIER * 1.4826 * np.median(np.abs(errors), axis=0)  # of a normal distribution
    errors = np.clip(errors, -limit, limit)
    return np.linalg.cholesky(errors.T @ errors / len(errors) + 1e-6 * np.eye(errors.shape[1]))


def stand_off(gaps: np.ndarray, weights: np.ndarray, ways: int = WAYS,
              seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How surfaces stand off faces (ways, T), m, one sigma each, and how much triangles (T,) tell.

    Factor analysis by expectation and maximisation (Rubin and Thayer 1982) of gaps (N, T) m, in
    which a gap counts by its weight (N, T), so not at all where it is not known.
    """
    weights = np.where(weights > SEEN, weights, 0)
    gaps = np.where(weights > 0, gaps, 0)
    count, identity = gaps.shape[1], np.eye(ways)
    loading = np.random.default_rng(seed).normal(0, 0.001, (count, ways))
    variance = np.full(count, 0.003 ** 2)
    for _ in range(ITERATIONS):
        precision = weights / variance
        spread = np.linalg.inv(np.einsum('nt,tk,tl->nkl', precision, loading, loading) + identity)
        factors = np.einsum('nkl,nl->nk', spread, (precision * gaps) @ loading)
        square = spread + factors[:, :, None] * factors[:, None]
        # a tenth of a sample keeps loadings of what is hardly seen small
        loading = np.linalg.solve(np.einsum('nt,nkl->tkl', weights, square) + 0.1 * identity,
                                  ((weights * gaps).T @ factors)[..., None])[..., 0]
        left = (weights * (gaps - factors @ loading.T) ** 2).sum(0) + np.einsum(
            'nt,tk,nkl,tl->t', weights, loading, spread, loading)
        # and one of five gaps of 2 mm, their variances from nothing
        variance = (left + 5 * 0.002 ** 2) / (weights.sum(0) + 5)
    share = (np.median(variance) / variance).clip(*EVEN)
    return loading.T, share / share.mean()


def with_mirrored_triangles(values: np.ndarray) -> np.ndarray:
    """Values (N, T) of faces, and as many of their mirror images."""
    half = values.shape[1] // 2  # of the aligned triangles are the others in a mirror
    return np.concatenate([values, np.roll(values, half, axis=1)])


@cache
def _alignment() -> Alignment:
    return Alignment(aligned_triangles(FaceModel.load()), face_modes())


@cache
def _onto_modes() -> np.ndarray:
    return onto_modes(face_modes())
