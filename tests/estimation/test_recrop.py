# SPDX-License-Identifier: Apache-2.0
"""Iterations of the pose network: their number, crops and views."""
from __future__ import annotations

import numpy as np
import pytest
from oracle import CAMERA, FRONTAL, estimator_of, head_centre, head_pose, six_numbers

from depthface_ros.estimation.estimator import CENTRE_STEP
from depthface_ros.estimation.types import HeadCandidates
from depthface_ros.geometry.crop import (
    HEAD_CENTRE_FACE,
    POSE_CROP_SIZE,
    pose_crop,
    pose_frame,
    rounded,
    tilt,
)
from depthface_ros.geometry.rotations import rotation_from_vector


def test_a_head_that_is_off_the_middle_of_its_crop_is_looked_at_again():
    """Estimates all positions, but rotations only of centred heads."""
    pose = head_pose(0.05, 0, 1, yaw=0.5)
    estimator, depth = estimator_of([pose])
    off = (head_centre(pose) + np.array([0.0, 0.03, 0.01], np.float32))[None]
    _, camera_from_crop = pose_crop(depth, CAMERA, rounded(off, CENTRE_STEP))
    centre_crop = np.linalg.inv(camera_from_crop[0]) @ [*head_centre(pose), 1]
    answer_in_the_middle = estimator.engine.head_pose

    def head_pose_network(crops):
        answer = answer_in_the_middle(crops)
        if estimator.engine.ran.count('head_pose') == 1:
            answer['rotation'] = six_numbers(FRONTAL[None])
            answer['sellion'] = (centre_crop[:3] - FRONTAL @ HEAD_CENTRE_FACE)[None] / 0.15
            answer['log_variance'] += 1
        return answer

    estimator.engine.head_pose = head_pose_network
    face, = estimator(depth, CAMERA, HeadCandidates(off))
    np.testing.assert_allclose(face.camera_from_face, pose, atol=1e-4)
    assert estimator.engine.ran.count('head_pose') == 2


@pytest.mark.parametrize('confidence, found', [(0.3, True), (0.95, False)])
def test_an_uncertain_head_is_cropped_again_a_few_times(monkeypatch, confidence, found):
    """The network predicts a head that is 100 mm off only 35 mm nearer to its true place.

    Confident predictions are cropped twice at most.
    """
    pose, frames = head_pose(0.05, 0, 1, yaw=0.5), []
    estimator, depth = estimator_of([pose])
    monkeypatch.setattr('depthface_ros.estimation.estimator.pose_frame',
                        lambda *arguments: frames.append(pose_frame(*arguments)) or frames[-1])

    def head_pose_network(crops):
        camera_from_crop = frames[-1][0].astype(np.float64)
        way = head_centre(pose) - camera_from_crop[:3, 3]
        left = max(0.0, np.linalg.norm(way) - 0.035)
        seen = pose.astype(np.float64)
        seen[:3, 3] -= way * left / max(np.linalg.norm(way), 1e-9)
        crop_from_face = np.linalg.inv(camera_from_crop) @ seen
        return {'rotation': six_numbers(crop_from_face[None, :3, :3]),
                'sellion': (crop_from_face[None, :3, 3] / (POSE_CROP_SIZE / 2)).astype(np.float32),
                'log_variance': np.full((1, 2), 2 * np.log(0.02 + left), np.float32),
                'confidence': np.array([[confidence if left > 0.01 else 0.99]], np.float32)}

    estimator.engine.head_pose = head_pose_network
    off = head_centre(pose) + np.array([0.0, 0.10, 0.0], np.float32)
    face, = estimator(depth, CAMERA, HeadCandidates(off[None], tracked=True))
    assert (np.linalg.norm(face.camera_from_face[:3, 3] - pose[:3, 3]) < 0.005) == found
    assert len(frames) == (3 if found else 2)


def test_a_head_with_a_very_large_sigma_is_not_cropped_again():
    pose = head_pose(0.05, 0, 1)
    estimator, depth = estimator_of([pose], max_rotation_std=0.1)
    in_the_middle = estimator.engine.head_pose

    def head_pose_network(crops):
        answer = in_the_middle(crops)
        return answer | {'sellion': answer['sellion'] + np.float32(0.2),
                         'log_variance': np.full((len(crops), 2), 2 * np.log(std), np.float32)}

    estimator.engine.head_pose = head_pose_network
    for std, looks in ((1.0, 1), (0.3, 2)):
        estimator.engine.ran.clear()
        assert estimator(depth, CAMERA, HeadCandidates(head_centre(pose)[None])) == []
        assert estimator.engine.ran.count('head_pose') == looks


def test_heads_that_differ_in_the_last_digits_give_the_same_faces():
    """Networks of engines differ in the last digits."""
    rng = np.random.default_rng(0)
    estimator, depth = estimator_of([head_pose(0.05, 0, 1, yaw=0.5)])
    depth = (depth * rng.uniform(0.98, 1.02, depth.shape)).astype(np.float32)  # all pixels differ
    estimator.engine.head_finder = None
    crops = []
    answer, estimator.engine.head_pose = estimator.engine.head_pose, lambda crop: crops.append(crop) or answer(crop)
    for step in (0, 1e-6, -1e-6):
        estimator(depth, CAMERA, HeadCandidates(np.array([[0.05, 0.001, 1.001]]) + step))
    np.testing.assert_array_equal(crops[1:], crops[:-1])


@pytest.mark.parametrize('roll', [-2.5, -0.4, 0.0, 1.2])
def test_a_tilted_head_stands_upright_in_the_crop_that_its_tilt_turns(roll):
    centre = np.array([[0.4, -0.2, 1.0]], np.float32)
    _, camera_from_crop = pose_crop(np.ones((4, 4), np.float32), CAMERA, centre)
    pose = np.eye(4, dtype=np.float32)[None]
    pose[0, :3, :3] = camera_from_crop[0, :3, :3] @ rotation_from_vector(np.array([0, 0, roll])) @ FRONTAL
    found = tilt(pose, centre)
    np.testing.assert_allclose(found, [roll], atol=1e-5)
    _, camera_from_crop = pose_crop(np.ones((4, 4), np.float32), CAMERA, centre, found)
    scalp_crop = camera_from_crop[0, :3, :3].T @ pose[0, :3, 2]
    np.testing.assert_allclose(scalp_crop, [0, -1, 0], atol=1e-5)
