# SPDX-License-Identifier: Apache-2.0
"""Faces that are followed from predicted poses, by the networks that ship, in rendered images."""
from __future__ import annotations

import numpy as np
import pytest
from sample_frames import sample_frames

from depthface_ros import FaceEstimator
from depthface_ros.estimation.types import USUAL_NETWORK_STD, PredictedFaces
from depthface_ros.geometry.rotations import rotation_from_vector, vector_from_rotation

FRAMES = sample_frames(every=30)


@pytest.fixture(scope='module')
def estimator():
    return FaceEstimator('cpu_fp32')


def predictions(faces, turn=(0, 0, 0), move=(0, 0, 0)):
    poses = np.array([face.camera_from_face for face in faces])
    poses[:, :3, :3] = rotation_from_vector(np.float32([turn]))[0] @ poses[:, :3, :3]
    poses[:, :3, 3] += move
    return PredictedFaces(poses, np.array([face.confidence for face in faces]),
                          np.array([face.detector_score for face in faces]),
                          np.array([face.network_std for face in faces]))


def differences(faces, others):
    """Rotations in degrees and distances in mm between faces in the same order."""
    turns = [np.degrees(np.linalg.norm(vector_from_rotation(
        face.camera_from_face[:3, :3].T @ other.camera_from_face[:3, :3])))
        for face, other in zip(faces, others)]
    moves = [1000 * np.linalg.norm(face.camera_from_face[:3, 3] - other.camera_from_face[:3, 3])
             for face, other in zip(faces, others)]
    return np.array(turns), np.array(moves)


def test_a_followed_face_is_where_all_networks_see_it(estimator):
    for depth, intrinsics in FRAMES:
        faces = estimator(depth, intrinsics)
        followed = estimator.follow(depth, intrinsics, predictions(faces))
        turns, moves = differences(followed, faces)
        assert len(followed) == len(faces) and (turns < 2.5).all() and (moves < 5).all()
        for face, other in zip(followed, faces):
            assert face.confidence == other.confidence and face.support > 0.8 * other.support


def test_a_prediction_that_is_off_is_corrected(estimator):
    for depth, intrinsics in FRAMES:
        faces = estimator(depth, intrinsics)
        off = estimator.follow(depth, intrinsics, predictions(faces, (0.0, 0.06, 0.0), (0, 0.004, 0)))
        turns, moves = differences(off, faces)
        assert (turns < 3.4 * 0.9).all() and (moves < 5).all()


def test_a_face_that_is_covered_or_gone_has_no_support(estimator):
    depth, intrinsics = FRAMES[0]
    faces = estimator(depth, intrinsics)
    for change in (lambda image: np.where(image > 0, image - 150, 0).astype(image.dtype),
                   lambda image: np.full_like(image, 2500), np.zeros_like):
        for face, other in zip(estimator.follow(change(depth), intrinsics, predictions(faces)),
                               faces):
            assert face.support < 0.3 * other.support


def test_a_followed_face_is_as_certain_as_one_that_all_networks_look_at(estimator):
    """Its sigmas rely on those of the pose network's last prediction, which a track keeps."""
    kept, usual = [], []
    for depth, intrinsics in FRAMES:
        faces = estimator(depth, intrinsics)
        expected = predictions(faces)
        for network_std, ratios in ((expected.network_std, kept), (USUAL_NETWORK_STD, usual)):
            followed = estimator.follow(depth, intrinsics,
                                        expected._replace(network_std=network_std))
            ratios += [[other.rotation_std / face.rotation_std,
                        other.position_std / face.position_std]
                       for face, other in zip(faces, followed)]
            for other, std in zip(followed, np.broadcast_to(network_std, (len(faces), 2))):
                assert other.network_std == pytest.approx(std)
    np.testing.assert_allclose(kept, 1, atol=0.35)
    assert np.abs(np.log(kept)).mean() < np.abs(np.log(usual)).mean()
