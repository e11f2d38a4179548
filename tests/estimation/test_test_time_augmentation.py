# SPDX-License-Identifier: Apache-2.0
"""Test-time augmentation: uncertain heads are cropped from other views, and the predictions averaged."""
from __future__ import annotations

import numpy as np
import pytest
from oracle import (
    CAMERA,
    UNALIGNED,
    draw_heads,
    estimator_of,
    head_centre,
    head_pose,
    six_numbers,
)

from depthface_ros.estimation.poses import Poses, averaged
from depthface_ros.estimation.recrop import TTA_VIEWS
from depthface_ros.estimation.types import HeadCandidates
from depthface_ros.geometry.crop import POSE_CROP_SIZE, crop_in_frame, pose_frame, tilt
from depthface_ros.geometry.rotations import rotation_from_vector

POSE = head_pose(0.05, 0.02, 1, yaw=0.6)
MIRROR = np.diag([1, -1, 1, 1])  # of a face: left and right


class SeesPoses:
    """Returns the true poses with given errors and uncertainties for each view."""

    def __init__(self, monkeypatch, errors=(), confidences=(), stds=()):
        self.frames, self.errors = [], [*errors, *5 * [np.zeros(3)]]
        self.confidences, self.stds = [*confidences, *5 * [0.9]], [*stds, *5 * [0.1]]
        monkeypatch.setattr('depthface_ros.estimation.estimator.pose_frame',
                            lambda *arguments: self.frames.append(pose_frame(*arguments)) or self.frames[-1])

    def __call__(self, crops):
        look, camera_from_crop = len(self.frames) - 1, self.frames[-1][0].astype(float)
        seen = POSE.astype(float)
        seen[:3, :3] = rotation_from_vector(np.asarray(self.errors[look], float)) @ seen[:3, :3]
        if np.linalg.det(camera_from_crop) < 0:
            seen = seen @ MIRROR
        crop_from_face = np.linalg.inv(camera_from_crop) @ seen
        assert np.linalg.det(crop_from_face[:3, :3]) > 0  # networks only return rotations
        return {'rotation': six_numbers(crop_from_face[None, :3, :3]),
                'sellion': (crop_from_face[None, :3, 3] / (POSE_CROP_SIZE / 2)).astype(np.float32),
                'log_variance': np.full((1, 2), 2 * np.log(self.stds[look]), np.float32),
                'confidence': np.full((1, 1), self.confidences[look], np.float32)}


def estimate(network, **settings):
    estimator, depth = estimator_of([POSE], tta_confidence=0.95, **settings)
    estimator.engine.head_pose = network
    return estimator(depth, CAMERA, HeadCandidates(head_centre(POSE)[None]))


def test_rolled_and_mirrored_crops_give_the_same_pose(monkeypatch):
    network = SeesPoses(monkeypatch)
    face, = estimate(network)
    np.testing.assert_allclose(face.camera_from_face, POSE, atol=1e-5)
    handed = [np.linalg.det(frame[0]) for frame in network.frames]
    np.testing.assert_allclose(handed, [1, *(-1 if mirrored else 1 for _, mirrored in TTA_VIEWS)], atol=1e-5)
    rolled = [network.frames[0][0, :3, 1] @ frame[0, :3, 1] for frame in network.frames[1:]]
    upright = tilt(POSE[None], head_centre(POSE)[None])
    expected = [np.cos(upright + turn)[0] for turn, _ in TTA_VIEWS]
    np.testing.assert_allclose(rolled, expected, atol=0.005)


def test_errors_that_differ_average_out_and_the_least_confidence_counts(monkeypatch):
    """Weights are precisions: three times the sigma counts a ninth."""
    errors = np.array([[0.09, 0, 0], [-0.01, 0, 0], [0, 0.05, 0], [0, -0.05, 0], [0, 0, 0]])
    network = SeesPoses(monkeypatch, errors, (0.9, 0.7, 0.9, 0.9, 0.99), (0.3, 0.1, 0.1, 0.1, 0.1))
    face, = estimate(network)
    turn = face.camera_from_face[:3, :3] @ POSE[:3, :3].T
    np.testing.assert_allclose(turn, np.eye(3), atol=1e-3)
    assert face.confidence == pytest.approx(0.7, abs=1e-4)
    told, _ = UNALIGNED.std(0.1 * 3 ** (1 / 5), 0.1)
    assert face.rotation_std == pytest.approx(told, rel=1e-4)


@pytest.mark.parametrize('confidence, looks', [(0.05, 1), (0.3, 5), (0.93, 5), (0.96, 1)])
def test_only_uncertain_heads_get_test_time_augmentation(monkeypatch, confidence, looks):
    network = SeesPoses(monkeypatch, confidences=(confidence, 0.99, 0.99, 0.99, 0.99))
    faces = estimate(network)
    assert len(network.frames) == looks
    assert len(faces) == (confidence > 0.5)


def test_a_face_in_all_views_but_one_is_rejected(monkeypatch):
    assert estimate(SeesPoses(monkeypatch, confidences=(0.94, 0.94, 0.94, 0.3, 0.94))) == []


def test_a_face_in_one_view_only_is_rejected(monkeypatch):
    assert estimate(SeesPoses(monkeypatch, confidences=(0.94, 0.2, 0.3, 0.1, 0.2))) == []


def test_a_view_that_overflows_is_left_out(monkeypatch):
    face, = estimate(SeesPoses(monkeypatch, stds=(0.1, np.inf)))
    np.testing.assert_allclose(face.camera_from_face, POSE, atol=1e-5)


def test_a_left_handed_frame_holds_the_mirror_image_to_the_last_bit():
    rng = np.random.default_rng(0)
    depth = (draw_heads([POSE]) * rng.uniform(0.98, 1.02, (480, 640))).astype(np.float32)
    frame = pose_frame(head_centre(POSE)[None], np.array([0.25], np.float32))
    crop = crop_in_frame(depth, CAMERA, frame)
    frame[:, :3, 0] *= -1
    mirrored = crop_in_frame(depth, CAMERA, frame)
    np.testing.assert_array_equal(mirrored[:, 3], crop[:, 3, :, ::-1])
    np.testing.assert_allclose(mirrored[:, :3], crop[:, :3, :, ::-1] * np.array([-1, 1, 1])[:, None, None], atol=1e-6)


def test_views_are_averaged_per_head():
    poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    other = poses.copy()
    other[1, :3, :3], other[1, :3, 3] = rotation_from_vector(np.array([0, 0, 0.4])), (0.03, 0, 0)
    sigma = np.array([0.1, 0.1])
    mean = averaged([Poses(poses, np.array([0.5, 0.9]), sigma, sigma),
                     Poses(other, np.array([np.nan, 0.9]), sigma, sigma * [1, 2])])
    np.testing.assert_allclose(mean.camera_from_face[0], np.eye(4), atol=1e-6)
    np.testing.assert_allclose(mean.camera_from_face[1, :3, :3], rotation_from_vector(np.array([0, 0, 0.2])), atol=1e-6)
    np.testing.assert_allclose(mean.camera_from_face[1, :3, 3], [0.006, 0, 0], atol=1e-6)  # a quarter to four
    assert mean.confidence[0] < 0.05  # one crop holds no measurement
    assert mean.confidence[1] == pytest.approx(0.9)
