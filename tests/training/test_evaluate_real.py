# SPDX-License-Identifier: Apache-2.0
"""Evaluation on labelled recordings: the effects of a data set's own head frame."""
import argparse
import json

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')

from scipy.spatial.transform import Rotation

from depthface_ros import Intrinsics
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE
from depthface_ros.io.frame import Frame
from training.adapt.datasets import Labelled
from training.evaluation import evaluate
from training.evaluation.real import nearest, real_figures, real_records, real_table

MODEL = FaceModel.load()
CAMERA = Intrinsics(365.0, 365.0, 127.5, 127.5)
# In BIWI a head that faces the camera has the axes of the camera.
FACING = np.array([[0., 1, 0], [0, 0, -1], [-1, 0, 0]])


def biwi_pose(pitch, yaw, roll, centre):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('XYZ', (pitch, yaw, roll), degrees=True).as_matrix()
    pose[:3, 3] = centre
    return pose


def face_of(camera_from_head, turn=np.eye(3), shift=np.zeros(3)):
    """Return an estimate that is off by a turn about the head centre and a shift, both in the face frame."""
    pose = np.eye(4)
    pose[:3, :3] = camera_from_head[:3, :3] @ FACING @ turn
    pose[:3, 3] = camera_from_head[:3, 3] + pose[:3, :3] @ (shift - HEAD_CENTRE_FACE)
    vertices = MODEL.template @ pose[:3, :3].T + pose[:3, 3]
    return Face(pose.astype(np.float32), vertices.astype(np.float32), np.zeros(52, np.float32), 0.9, 0.02, 0.004)


class Recording:
    """Random heads, and an estimator that returns the result of `estimate` for each frame."""

    face_model = MODEL

    def __init__(self, estimate, count=12):
        rng = np.random.default_rng(0)
        depth = np.full((256, 256), 900, np.uint16)
        self.labelled = [Labelled(Frame(i, depth + np.uint16(i), CAMERA, f'{i:02d}'), 'FM'[i % 2] + '01', biwi_pose(
            *rng.uniform(-40, 40, 3), (*rng.uniform(-0.1, 0.1, 2), 0.95))) for i in range(count)]
        self._faces = [estimate(i, each.camera_from_head) for i, each in enumerate(self.labelled)]

    def __call__(self, depth, intrinsics):
        return self._faces[int(depth[0, 0]) - 900]


def test_a_perfect_estimate_has_no_error_in_the_data_sets_own_angles():
    recording = Recording(lambda i, pose: [face_of(pose)])
    for record in real_records(recording.labelled, recording):
        assert record['found'] and record['mesh_to_points_mm'] >= 0
        for name in ('geodesic_deg', 'mae_pyr_deg', 'mae_ypr_deg', 'head_mm', 'aligned_head_mm'):
            assert record[name] == pytest.approx(0, abs=0.02)


def test_one_offset_of_the_head_frame_counts_raw_and_is_removed_when_aligned():
    turn, shift = Rotation.from_rotvec([0.05, -0.1, 0.02]), np.array([0.01, 0.002, -0.006])
    recording = Recording(lambda i, pose: [face_of(pose, turn.as_matrix(), shift)])
    for record in real_records(recording.labelled, recording):
        assert record['geodesic_deg'] == pytest.approx(np.degrees(turn.magnitude()), abs=0.02)
        assert record['head_mm'] == pytest.approx(1000 * np.linalg.norm(shift), abs=0.05)
        assert record['aligned_geodesic_deg'] == pytest.approx(0, abs=0.02)
        assert record['aligned_head_mm'] == pytest.approx(0, abs=0.05)


def test_errors_that_differ_are_not_aligned_away():
    rng = np.random.default_rng(1)
    recording = Recording(lambda i, pose: [face_of(
        pose, Rotation.from_rotvec(rng.normal(0, 0.05, 3)).as_matrix())], count=40)
    records = real_records(recording.labelled, recording)
    raw, aligned = (np.mean([record[name] for record in records]) for name in ('geodesic_deg', 'aligned_geodesic_deg'))
    assert 0.85 * raw < aligned < 1.02 * raw


def test_misses_count_and_strangers_are_not_taken_for_the_labelled_head():
    def estimate(i, pose):
        elsewhere = pose.copy()
        elsewhere[0, 3] += 0.4
        return [[], [face_of(elsewhere)], [face_of(elsewhere), face_of(pose)], [face_of(pose)]][i % 4]

    recording = Recording(estimate)
    records = real_records(recording.labelled, recording)
    assert [record['found'] for record in records] == [False, False, True, True] * 3
    figures = real_figures(records, 'biwi')
    assert figures['groups']['range']['all']['missed_percent'][0] == 50
    assert set(figures['groups']['person']) == {'F01', 'M01'}
    assert figures['groups']['range']['all']['geodesic_deg_p95'][0] < 0.02
    assert real_table(figures).row_count > 3


def test_without_a_position_the_surest_face_is_meant():
    first, second = (face_of(biwi_pose(0, 0, 0, (x, 0, 1))) for x in (0, 0.5))
    assert nearest([first, second], np.full(3, np.nan)) is first
    assert nearest([first, second], np.array([0.5, 0, 1])) is second
    assert nearest([], np.full(3, np.nan)) is None


def options(**changes):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return argparse.Namespace(**vars(parser.parse_args([])) | changes)


def test_a_folder_of_depth_images_is_looked_at_without_labels(tmp_path):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((240, 320), 1500, np.uint16))
    (tmp_path / 'camera.json').write_text(json.dumps({'fx': 300, 'fy': 300, 'cx': 159.5, 'cy': 119.5}))
    out = tmp_path / 'figures.json'
    assert evaluate.run(options(dataset='frames', folder=tmp_path, out=out)) == 0
    assert json.loads(out.read_text())['groups']['range']['all'].items() >= {'frames': 2, 'faces': 0}.items()


@pytest.mark.parametrize('changes, message', [
    ({'dataset': 'biwi'}, '--folder'), ({'dataset': 'biwi', 'folder': 'nowhere'}, 'does not exist'),
    ({'dataset': 'faces', 'folder': '.'}, 'expected one of'),
    ({'dataset': 'biwi', 'folder': '.', 'perfect_camera': True}, 'leave out --perfect-camera')])
def test_invalid_combinations_of_options_are_reported(changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        evaluate.run(options(**changes))
