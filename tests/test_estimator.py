# SPDX-License-Identifier: Apache-2.0
"""The pipeline's geometry, with networks that know the answer; and that no input breaks it."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.alignment import AlignmentConfig
from depthface_ros.calibration import Calibration
from depthface_ros.crop import HEAD_CENTRE_FACE, POSE_CROP_SIZE, pose_crop, pose_frame, tilt
from depthface_ros.estimator import CENTRE_STEP, EstimatorConfig, Heads, rounded
from depthface_ros.rotations import rotation_from_vector, yaw_pitch_roll

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5)
FRONTAL = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], np.float32)  # a face that looks into the camera


def rotation_about_y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)


def head_pose(x, y, z, yaw=0.0):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation_about_y(yaw) @ FRONTAL, (x, y, z)
    return pose


def head_centre(pose):
    return (pose @ np.array([*HEAD_CENTRE_FACE, 1], np.float32))[:3]


def draw_heads(poses, height=480, width=640):
    """A depth image (metres) of spheres of head size around the head centres."""
    v, u = np.mgrid[:height, :width]
    rays = np.stack([*CAMERA.unproject(u, v), np.ones(u.shape)], axis=-1)
    depth = np.full(u.shape, 3.0)
    for centre in map(head_centre, poses):
        a, b, c = (rays ** 2).sum(-1), rays @ centre, centre @ centre - 0.1 ** 2
        root = b * b - a * c
        depth = np.where(root > 0, np.minimum(depth, (b - np.sqrt(np.maximum(root, 0))) / a), depth)
    return depth.astype(np.float32)


class Oracle:
    """Networks that know the true poses: they answer in the frames and units of the contract."""

    name = 'oracle'

    def __init__(self, poses, residual=np.zeros(6), confidence=0.9):
        self.poses, self.residual, self.confidence, self.ran = poses, residual, confidence, []

    def run(self, network, array):
        self.ran.append(network)
        return getattr(self, network)(array.astype(np.float64))

    def head_finder(self, point_map):
        """Each head is found at the cell that its centre projects to."""
        heat, offset = np.zeros((1, 30, 40), np.float32), np.zeros((1, 3, 30, 40), np.float32)
        for centre in map(head_centre, self.poses):
            u, v = CAMERA.project(*(centre[:2] / centre[2]))
            row, column = int(v // 16), int(u // 16)
            block = point_map[0, :, 4 * row:4 * row + 4, 4 * column:4 * column + 4].reshape(4, -1)
            heat[0, row, column] = 0.5  # neither here nor there: the pose network decides
            offset[0, :, row, column] = centre - block[:3, np.argmin(block[2])]
        return {'heatmap': heat, 'offset': offset}

    def head_pose(self, crops):
        poses = np.array([self._nearest(crop) for crop in crops])
        count = len(crops)
        columns = 2.5 * poses[:, :3, :2].transpose(0, 2, 1).reshape(count, 6)  # networks do not normalise
        return {'rotation': columns.astype(np.float32),
                'sellion': (poses[:, :3, 3] / (POSE_CROP_SIZE / 2)).astype(np.float32),
                'log_variance': np.full((count, 2), (2 * np.log(0.05), 2 * np.log(0.004)), np.float32),
                'confidence': np.full((count, 1), self.confidence, np.float32)}

    def face_shape(self, crops):
        count = len(crops)
        return {'offsets': np.zeros((count, *self.template.shape), np.float32) + np.float32(0.001),
                'expression': np.full((count, 52), 0.25, np.float32),
                'residual': np.tile(self.residual, (count, 1)).astype(np.float32)}

    def _nearest(self, crop):
        """crop_from_face of the head that this crop shows: the crop that fits best is its own."""
        own = [pose_crop(self.depth, CAMERA, rounded(head_centre(pose)[None], CENTRE_STEP)) for pose in self.poses]
        best = min(range(len(own)), key=lambda i: np.abs(own[i][0][0] - crop).sum())
        return np.linalg.inv(own[best][1][0].astype(np.float64)) @ self.poses[best]


def estimator_of(poses, **answers):
    oracle = Oracle(poses, **answers)
    # the heads here are spheres, so there is nothing to lay a face's mesh on
    estimator = FaceEstimator(oracle, EstimatorConfig(alignment=AlignmentConfig(steps=0)))
    oracle.template, oracle.depth = estimator.face_model.template, draw_heads(poses)
    return estimator, oracle.depth


def sorted_poses(faces):
    return sorted((face.camera_from_face.tolist() for face in faces), key=lambda pose: pose[0][3])


def test_heads_anywhere_in_the_image_get_the_pose_that_the_networks_meant():
    poses = [head_pose(-0.5, 0.1, 1.2, yaw=0.6), head_pose(0.0, -0.1, 0.8), head_pose(0.4, 0.05, 1.5, yaw=-0.9)]
    estimator, depth = estimator_of(poses)
    faces = estimator(depth, CAMERA)
    np.testing.assert_allclose(sorted_poses(faces), poses, atol=2e-5)
    for face in faces:
        np.testing.assert_allclose(face.rotation_std, 0.05, rtol=1e-5)
        np.testing.assert_allclose(face.position_std, 0.004, rtol=1e-5)
        assert 0.5 < face.confidence < 0.9 and face.expression.shape == (52,)


def test_vertices_are_the_template_with_its_offsets_in_the_camera_frame():
    pose = head_pose(0.1, 0.05, 0.9, yaw=0.4)
    estimator, depth = estimator_of([pose])
    face, = estimator(depth, CAMERA)
    expected = (estimator.face_model.template + 0.001) @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(face.vertices, expected, atol=2e-5)
    np.testing.assert_allclose(face.head_centre, head_centre(pose), atol=2e-5)


def test_the_shape_networks_correction_follows_the_predicted_pose():
    pose = head_pose(0.0, 0.0, 0.9)
    angle, shift = 0.1, np.array([0.003, -0.002, 0.001])
    estimator, depth = estimator_of([pose], residual=np.array([0, 0, angle, *shift]))
    face, = estimator(depth, CAMERA)
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(face.camera_from_face[:3, :3], pose[:3, :3] @ about_z, atol=1e-5)
    np.testing.assert_allclose(face.camera_from_face[:3, 3], pose[:3, 3] + pose[:3, :3] @ shift, atol=2e-5)


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


def test_heads_that_are_known_need_no_finder():
    poses = [head_pose(-0.3, 0, 1), head_pose(0.3, 0, 1)]
    estimator, depth = estimator_of(poses)
    face, = estimator(depth, CAMERA, Heads(head_centre(poses[1])[None]))
    np.testing.assert_allclose(face.camera_from_face, poses[1], atol=2e-5)
    assert 'head_finder' not in estimator.engine.ran
    assert estimator(depth, CAMERA, Heads(np.zeros((0, 3)))) == []


def test_a_head_that_is_off_the_middle_of_its_crop_is_looked_at_again():
    """A network that sees where the head is, but how it is turned only when it is in the middle."""
    pose = head_pose(0.05, 0, 1, yaw=0.5)
    estimator, depth = estimator_of([pose])
    off = (head_centre(pose) + np.array([0.0, 0.03, 0.01], np.float32))[None]
    _, camera_from_crop = pose_crop(depth, CAMERA, rounded(off, CENTRE_STEP))
    centre_crop = np.linalg.inv(camera_from_crop[0]) @ [*head_centre(pose), 1]
    answer_in_the_middle = estimator.engine.head_pose

    def head_pose_network(crops):
        answer = answer_in_the_middle(crops)
        if estimator.engine.ran.count('head_pose') == 1:
            answer['rotation'] = FRONTAL[:, :2].T.reshape(1, 6)
            answer['sellion'] = (centre_crop[:3] - FRONTAL @ HEAD_CENTRE_FACE)[None] / 0.15
            answer['log_variance'] += 1
        return answer

    estimator.engine.head_pose = head_pose_network
    face, = estimator(depth, CAMERA, Heads(off))
    np.testing.assert_allclose(face.camera_from_face, pose, atol=1e-4)
    assert estimator.engine.ran.count('head_pose') == 2


@pytest.mark.parametrize('confidence, found', [(0.3, True), (0.95, False)])
def test_a_head_in_doubt_is_followed_for_some_looks(monkeypatch, confidence, found):
    """A network that sees a head, ten centimetres off, only 35 mm nearer than it is.

    Where it is sure that what it sees is a face, two looks are all.
    """
    pose, frames = head_pose(0.05, 0, 1, yaw=0.5), []
    estimator, depth = estimator_of([pose])
    monkeypatch.setattr('depthface_ros.estimator.pose_frame',
                        lambda *arguments: frames.append(pose_frame(*arguments)) or frames[-1])

    def head_pose_network(crops):
        camera_from_crop = frames[-1][0].astype(np.float64)
        way = head_centre(pose) - camera_from_crop[:3, 3]
        left = max(0.0, np.linalg.norm(way) - 0.035)
        seen = pose.astype(np.float64)
        seen[:3, 3] -= way * left / max(np.linalg.norm(way), 1e-9)
        crop_from_face = np.linalg.inv(camera_from_crop) @ seen
        return {'rotation': crop_from_face[:3, :2].T.reshape(1, 6).astype(np.float32),
                'sellion': (crop_from_face[None, :3, 3] / (POSE_CROP_SIZE / 2)).astype(np.float32),
                'log_variance': np.full((1, 2), 2 * np.log(0.02 + left), np.float32),
                'confidence': np.array([[confidence if left > 0.01 else 0.99]], np.float32)}

    estimator.engine.head_pose = head_pose_network
    off = head_centre(pose) + np.array([0.0, 0.10, 0.0], np.float32)
    face, = estimator(depth, CAMERA, Heads(off[None], tracked=True))
    assert (np.linalg.norm(face.camera_from_face[:3, 3] - pose[:3, 3]) < 0.005) == found
    assert len(frames) == (3 if found else 2)


def test_a_head_of_which_the_network_knows_nothing_is_not_looked_at_again():
    pose = head_pose(0.05, 0, 1)
    estimator, depth = estimator_of([pose])
    in_the_middle = estimator.engine.head_pose

    def head_pose_network(crops):
        answer = in_the_middle(crops)
        return answer | {'sellion': answer['sellion'] + np.float32(0.2),
                         'log_variance': np.full((len(crops), 2), 2 * np.log(std), np.float32)}

    estimator.engine.head_pose = head_pose_network
    for std, looks in ((1.0, 1), (0.3, 2)):
        estimator.engine.ran.clear()
        assert estimator(depth, CAMERA, Heads(head_centre(pose)[None])) == []
        assert estimator.engine.ran.count('head_pose') == looks


def test_heads_that_differ_in_the_last_digits_give_the_same_faces():
    """So engines do whose networks differ in them."""
    rng = np.random.default_rng(0)
    estimator, depth = estimator_of([head_pose(0.05, 0, 1, yaw=0.5)])
    depth = (depth * rng.uniform(0.98, 1.02, depth.shape)).astype(np.float32)  # no pixel is as its neighbour
    estimator.engine.head_finder = None
    crops = []
    answer, estimator.engine.head_pose = estimator.engine.head_pose, lambda crop: crops.append(crop) or answer(crop)
    for step in (0, 1e-6, -1e-6):
        estimator(depth, CAMERA, Heads(np.array([[0.05, 0.001, 1.001]]) + step))
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


def test_a_pose_that_is_a_guess_is_no_face():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    config = EstimatorConfig(max_rotation_std=0.04)
    assert FaceEstimator(estimator.engine, config)(depth, CAMERA) == []


def test_two_heads_that_turn_out_to_be_the_same_face_are_one():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose])
    hints = head_centre(pose) + np.array([[0, 0, 0], [1e-4, 0, 0]], np.float32)
    assert len(estimator(depth, CAMERA, Heads(hints))) == 1


def test_what_the_pose_network_doubts_is_no_face():
    estimator, depth = estimator_of([head_pose(0, 0, 1)], confidence=0.4)
    assert estimator(depth, CAMERA) == []
    assert len(FaceEstimator(estimator.engine, EstimatorConfig(min_confidence=0.3))(depth, CAMERA)) == 1


def test_a_tracked_head_stays_a_face_where_a_new_one_would_not_become_one():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose], confidence=0.3)
    estimator.calibration = Calibration(heat_weight=2.0, confidence_weight=0.7)
    centres = head_centre(pose)[None]
    assert estimator(depth, CAMERA, Heads(centres)) == []
    face, = estimator(depth, CAMERA, Heads(centres, heat=0.6, tracked=True))
    assert face.heat == pytest.approx(0.6) and 0.3 < face.confidence
    assert estimator(depth, CAMERA, Heads(centres, heat=0.2, tracked=True)) == []


def test_a_head_without_measurements_is_no_face():
    pose = head_pose(0, 0, 1)
    estimator, depth = estimator_of([pose])
    assert estimator(np.where(depth < 2, np.float32(0), depth), CAMERA, Heads(head_centre(pose)[None])) == []


def test_each_stage_reports_its_end():
    estimator, depth = estimator_of([head_pose(0, 0, 1)])
    stages = []
    estimator(depth, CAMERA, lap=stages.append)
    assert stages == ['find heads', 'pose crop', 'pose network', 'shape crop', 'shape network',
                      'alignment']


@pytest.mark.parametrize('depth, message', [
    (np.zeros((0, 640), np.uint16), r'\(0, 640\)'),
    (np.zeros((480, 640, 1), np.uint16), r'\(480, 640, 1\)'),
    (np.zeros(5, np.float32), r'\(5,\)'),
    (np.zeros((480, 640), np.uint8), 'uint8'),
    (np.zeros((480, 640), np.float64), 'float64'),
    (np.zeros((480, 640), np.int16), 'int16')])
def test_what_is_no_depth_image_is_refused_with_what_it_is(depth, message):
    with pytest.raises(ValueError, match=message):
        estimator_of([])[0](depth, CAMERA)


@pytest.mark.parametrize('values', [(0, 0, 0, 0), (525, -525, 320, 240), (np.nan, 525, 320, 240),
                                    (525, 525, np.inf, 240), (0.5, 0.5, 0.3, 0.3), (525, 525, 1e6, 240)])
def test_numbers_that_are_no_cameras_are_refused(values):
    with pytest.raises(ValueError, match='intrinsics'):
        estimator_of([])[0](np.ones((480, 640), np.float32), Intrinsics(*map(float, values)))


@pytest.mark.parametrize('centres', [np.zeros(3), np.zeros((2, 2)), [[np.nan, 0, 1]]])
def test_hints_that_are_no_positions_are_refused(centres):
    with pytest.raises(ValueError, match='head centres'):
        estimator_of([])[0](np.ones((480, 640), np.float32), CAMERA, Heads(centres))


# with the networks that ship -------------------------------------------------------------------


@pytest.fixture(scope='module')
def shipped():
    pytest.importorskip('onnxruntime')
    return FaceEstimator('cpu')


@pytest.mark.parametrize('value', [0, np.nan, np.inf, -np.inf, -1])
def test_frames_without_a_measurement_have_no_faces(shipped, value):
    assert shipped(np.full((480, 640), value, np.float32), CAMERA) == []


SIZES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=300)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_depth_of_any_size_and_content_gives_a_list_of_sound_faces(shipped, data):
    height, width = data.draw(SIZES)
    rng = np.random.default_rng(data.draw(st.integers(0, 2 ** 32)))
    if data.draw(st.booleans()):
        depth = rng.integers(0, data.draw(st.sampled_from([2, 1200, 65536])), (height, width), dtype=np.uint16)
    else:
        kinds = np.array([0.0, -1.0, np.nan, np.inf, -np.inf, 1e-45, 1e-6, 0.5, 0.8, 1.0, 30.0, 3e38], np.float32)
        depth = rng.choice(kinds, (height, width)) * np.float32(data.draw(st.sampled_from([1.0, 0.9])))
    focal = data.draw(st.floats(max(height, width) / 19, 1e5))
    camera = Intrinsics(focal, focal, data.draw(st.floats(0, width)), data.draw(st.floats(0, height)))
    hints = None
    if data.draw(st.booleans()):
        hints = Heads(data.draw(hnp.arrays(np.float32, (3, 3), elements=st.floats(-5, 25, width=32))))
    faces = shipped(depth, camera, hints)
    assert isinstance(faces, list)
    for face in faces:
        assert np.isfinite(face.vertices).all() and np.isfinite(face.camera_from_face).all()
        rotation = face.camera_from_face[:3, :3].astype(np.float64)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)
        assert 0 <= face.expression.min() and face.expression.max() <= 1


def real_frames():
    folder = Path(os.environ.get('DEPTHFACE_DATA', Path(__file__).parents[2] / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real depth frames at {folder}; set DEPTHFACE_DATA')
    return folder


def test_the_person_of_a_real_kinect_frame_is_found_where_it_is(shipped):
    """The sellion is about 0.75 m away, seen in profile (looked up in the depth image)."""
    with np.load(real_frames() / 'kinect1_person' / 'frame.npz') as file:
        depth, k = file['depth_m'], file['K']
    face = shipped(depth, Intrinsics(*k.tolist()))[0]  # the most confident one
    assert 0.6 < face.camera_from_face[2, 3] < 0.95
    yaw, _, _ = np.degrees(yaw_pitch_roll(face.camera_from_face))
    assert 40 < yaw < 95


def test_faces_are_found_in_real_kinect_crops(shipped):
    with np.load(real_frames() / 'kinect2_unlabelled' / 'frames.npz') as file:
        depth, sizes = file['depth_mm'][::9], file['size_hw'][::9]
    found = 0
    for image, (height, width) in zip(depth, sizes):
        camera = Intrinsics(365.0, 365.0, (width - 1) / 2, (height - 1) / 2)
        found += len(shipped(image[:height, :width], camera)) == 1
    assert found >= 0.8 * len(depth)
