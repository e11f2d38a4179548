# SPDX-License-Identifier: Apache-2.0
"""The geometry of the pipeline, with networks that return the ground truth."""
from __future__ import annotations

import numpy as np
import pytest
from oracle import CAMERA, UNALIGNED, estimator_of, head_centre, head_pose

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import HeadCandidates, PredictedFaces
from depthface_ros.geometry.rotations import in_frame


def sorted_poses(faces):
    return sorted((face.camera_from_face.tolist() for face in faces), key=lambda pose: pose[0][3])


def predicted(pose):
    return PredictedFaces(np.array([pose]), np.array([0.9]), np.array([0.9]))


def test_heads_anywhere_in_the_image_get_the_pose_that_the_networks_meant():
    poses = [head_pose(-0.5, 0.1, 1.2, yaw=0.6), head_pose(0.0, -0.1, 0.8), head_pose(0.4, 0.05, 1.5, yaw=-0.9)]
    estimator, depth = estimator_of(poses)
    faces = estimator(depth, CAMERA)
    np.testing.assert_allclose(sorted_poses(faces), poses, atol=2e-5)
    for face in faces:
        np.testing.assert_allclose((face.rotation_std, face.position_std), UNALIGNED.std(0.05, 0.004), rtol=1e-5)
        assert 0.5 < face.confidence < 0.9 and face.expression.shape == (52,)


def test_vertices_are_the_template_with_its_offsets_in_the_camera_frame():
    pose = head_pose(0.1, 0.05, 0.9, yaw=0.4)
    estimator, depth = estimator_of([pose])
    face, = estimator.follow(depth, CAMERA, predicted(pose))
    expected = (estimator.face_model.template + 0.001) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(face.vertices, expected, atol=2e-5)
    np.testing.assert_allclose(face.head_centre, head_centre(pose), atol=2e-5)


def test_the_shape_networks_correction_follows_the_predicted_pose():
    pose = head_pose(0.0, 0.0, 0.9)
    angle, shift = 0.1, np.array([0.003, -0.002, 0.001])
    estimator, depth = estimator_of([pose], residual=np.array([0, 0, angle, *shift]))
    face, = estimator.follow(depth, CAMERA, predicted(pose))
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(face.camera_from_face[:3, :3], pose[:3, :3] @ about_z, atol=1e-5)
    np.testing.assert_allclose(face.camera_from_face[:3, 3], pose[:3, 3] + pose[:3, :3] @ shift, atol=2e-5)


def test_the_second_pass_starts_from_the_pose_corrected_by_the_first_and_is_mirrored():
    pose, shift = head_pose(0.0, 0.0, 0.9), np.array([0.003, -0.002, 0.001])
    estimator, depth = estimator_of([pose], residual=np.array([0, 0, 0, *shift]))
    face, = estimator(depth, CAMERA)
    np.testing.assert_allclose(face.camera_from_face[:3, 3], pose[:3, 3] + pose[:3, :3] @ (shift * [2, 0, 2]),
                               atol=2e-5)
    # The network answers 1 mm along each axis in both passes, so y is -1 mm in the second.
    offset = in_frame(face.vertices, face.camera_from_face) - estimator.face_model.template
    np.testing.assert_allclose(offset, np.tile([0.001, 0, 0.001], (len(offset), 1)), atol=1e-6)


def test_millimetres_and_metres_mean_the_same():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    millimetres = np.round(1000 * depth).astype(np.uint16)
    of_metres, = estimator(millimetres.astype(np.float32) / 1000, CAMERA)
    of_millimetres, = estimator(millimetres, CAMERA)
    np.testing.assert_allclose(of_millimetres.vertices, of_metres.vertices, atol=1e-4)


def test_intrinsics_may_be_numbers_of_numpy():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    face, = estimator(depth, Intrinsics(*np.array([525.0, 525.0, 319.5, 239.5])))
    assert face.vertices.dtype == face.camera_from_face.dtype == np.float32


def test_given_heads_need_no_detector():
    poses = [head_pose(-0.3, 0, 1), head_pose(0.3, 0, 1)]
    estimator, depth = estimator_of(poses)
    face, = estimator(depth, CAMERA, HeadCandidates(head_centre(poses[1])[None]))
    np.testing.assert_allclose(face.camera_from_face, poses[1], atol=2e-5)
    assert 'head_finder' not in estimator.engine.ran
    assert estimator(depth, CAMERA, HeadCandidates(np.zeros((0, 3)))) == []


def test_a_pose_with_a_large_sigma_is_no_face():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    config = EstimatorConfig(max_rotation_std=0.9 * UNALIGNED.std(0.05, 0.004)[0], refine=False)
    assert FaceEstimator(estimator.engine, config)(depth, CAMERA) == []


def test_a_head_that_is_followed_may_be_doubted_more():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose], confidence=0.95)
    heads, (std, _) = HeadCandidates(head_centre(pose)[None]), UNALIGNED.std(0.05, 0.004)
    for once, followed, counts in ((0.8, 1.1, (0, 1)), (0.8, 0.9, (0, 0)), (1.1, 0.9, (1, 1))):
        config = EstimatorConfig(max_rotation_std=once * std, track_init_max_rotation_std=followed * std, refine=False)
        lenient = FaceEstimator(estimator.engine, config)
        assert (len(lenient(depth, CAMERA)), len(lenient(depth, CAMERA, heads))) == counts
        assert len(lenient(depth, CAMERA, HeadCandidates(heads.centres, tracked=True))) == 1


def test_two_heads_that_turn_out_to_be_the_same_face_are_one():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose])
    hints = head_centre(pose) + np.array([[0, 0, 0], [1e-4, 0, 0]], np.float32)
    assert len(estimator(depth, CAMERA, HeadCandidates(hints))) == 1


def test_a_low_confidence_of_the_pose_network_is_no_face():
    estimator, depth = estimator_of([head_pose(0, 0, 1)], confidence=0.4)
    assert estimator(depth, CAMERA) == []
    lenient = EstimatorConfig(min_confidence=0.3, refine=False)
    assert len(FaceEstimator(estimator.engine, lenient)(depth, CAMERA)) == 1


def test_a_tracked_head_stays_a_face_where_a_new_one_would_not_become_one():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose], confidence=0.3)
    estimator.calibration = Calibration(detector_weight=2.0, confidence_weight=0.7)
    centres = head_centre(pose)[None]
    assert estimator(depth, CAMERA, HeadCandidates(centres)) == []
    face, = estimator(depth, CAMERA, HeadCandidates(centres, detector_score=0.6, tracked=True))
    assert face.detector_score == pytest.approx(0.6) and face.confidence > 0.3
    assert estimator(depth, CAMERA, HeadCandidates(centres, detector_score=0.2, tracked=True)) == []


def test_a_head_without_measurements_is_no_face():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose])
    assert estimator(np.where(depth < 2, np.float32(0), depth), CAMERA, HeadCandidates(head_centre(pose)[None])) == []


def test_each_stage_reports_its_end():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    stages = []
    estimator(depth, CAMERA, stage_done=stages.append)
    assert stages == ['find heads', 'pose crop', 'pose network', *2 * ['shape crop', 'shape network'],
                      'alignment']
    stages.clear()
    estimator.follow(depth, CAMERA, predicted(head_pose(0, 0, 1)), stages.append)
    assert stages == ['shape crop', 'shape network', 'alignment']


@pytest.mark.parametrize(('tracked', 'passes'), [((True, True), 1), ((True, False), 2)])
def test_the_shape_network_runs_once_where_all_faces_are_tracked(tracked, passes):
    poses = [head_pose(-0.3, 0, 1), head_pose(0.3, 0, 1)]
    estimator, depth = estimator_of(poses)
    stages = []
    heads = HeadCandidates(np.concatenate([head_centre(pose)[None] for pose in poses]), tracked=np.array(tracked))
    assert len(estimator(depth, CAMERA, heads, stages.append)) == 2
    assert stages.count('shape network') == passes
