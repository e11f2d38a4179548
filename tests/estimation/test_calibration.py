# SPDX-License-Identifier: Apache-2.0
"""Confidence and predicted sigmas, from the file beside the networks."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_frames import sample_frames

from depthface_ros import FaceEstimator
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.calibration import CALIBRATION_FILE, Calibration
from depthface_ros.estimation.covariance import axis_std, error_axes
from depthface_ros.estimation.types import HeadCandidates, PredictedFaces

SHIPPED = Calibration.load(MODELS_FOLDER)


def test_detector_and_pose_network_have_to_agree():
    sure, doubtful = 0.99, 0.2
    heat, confidence = np.array([sure, sure, doubtful, doubtful]), np.array([sure, doubtful] * 2)
    # sigma is large where the pose network finds no face
    agreed = SHIPPED.confidence(heat, confidence, np.array([0.05, 0.2] * 2))
    assert agreed[0] > 0.95 and agreed[0] > agreed[1] > agreed[3] and agreed[0] > agreed[2] > agreed[3]
    assert agreed[3] < 0.1
    assert np.isnan(SHIPPED.confidence(0.9, np.nan, 0.05))
    assert np.isfinite(SHIPPED.confidence(np.array([0, 1.0]), np.array([1.0, 0]), 0.05)).all()


def test_a_large_rotation_sigma_lowers_the_confidence():
    surer, doubtful = Calibration(doubt_weight=0.9).confidence(0.7, 0.7, np.array([0.05, 0.2]))
    assert surer > doubtful


def test_smaller_predicted_sigmas_give_smaller_calibrated_ones():
    rotation, position = SHIPPED.std(np.array([0.02, 0.04]), np.array([0.003, 0.006]))
    assert 0.005 < rotation[0] < rotation[1] < 0.2
    assert 0.0005 < position[0] < position[1] < 0.03


def test_saving_and_loading_are_inverse(tmp_path):
    calibration = Calibration(1.2, 1.1, 0.8, 0.9, 1.5, 0.7, 0.4, -0.3)
    calibration.save(tmp_path, frames=250)
    assert Calibration.load(tmp_path) == calibration
    assert json.loads((tmp_path / CALIBRATION_FILE).read_text())['frames'] == 250


def test_a_file_of_before_the_factors_means_one_sigma_for_all_axes(tmp_path):
    Calibration(1.2, 1.1, lateral_factor=0.5, yaw_factor=2).save(tmp_path)
    file = tmp_path / CALIBRATION_FILE
    values = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in values.items()
                                if not name.endswith('_factor')}))
    assert Calibration.load(tmp_path) == Calibration(1.2, 1.1)


def test_tracked_faces_have_further_factors():
    calibration = Calibration(lateral_factor=0.5, down_factor=1.5, tracked_lateral_factor=0.8,
                              tracked_down_factor=1.2, tracked_yaw_factor=2)
    single, tracked = calibration.axis_std([0.02, 0.02], [0.004, 0.004], [False, True])
    np.testing.assert_allclose(single, [0.002, 0.003, 0.004, 0.02, 0.02, 0.02])
    np.testing.assert_allclose(tracked, [0.0016, 0.0036, 0.004, 0.02, 0.02, 0.04])


def test_followed_faces_get_the_factors_of_tracked_ones(tmp_path):
    depth, camera = sample_frames(every=30)[0]
    factors = {'tracked_radial_factor': 3.0, 'tracked_pitch_factor': 0.5}
    estimator = FaceEstimator('cpu', calibration=replace(SHIPPED, **factors))
    face = estimator(depth, camera)[0]
    heads = HeadCandidates(face.head_centre[None], face.detector_score, tracked=True)
    predicted = PredictedFaces(*(np.array([part]) for part in (
        face.camera_from_face, face.confidence, face.detector_score, face.network_std)))
    for tracked in (*estimator(depth, camera, heads), *estimator.follow(depth, camera, predicted)):
        std = axis_std(tracked.pose_covariance, error_axes(tracked.camera_from_face))
        expected = estimator.calibration.axis_std(tracked.rotation_std, tracked.position_std, True)
        np.testing.assert_allclose(std, expected, rtol=1e-4)
    std = axis_std(face.pose_covariance, error_axes(face.camera_from_face))
    np.testing.assert_allclose(std, SHIPPED.axis_std(face.rotation_std, face.position_std),
                               rtol=1e-4)


@pytest.mark.parametrize('factor', [0, -1, float('nan'), 'much', None])
def test_factors_that_scale_no_sigma_are_named(tmp_path, factor):
    values = json.loads((Path(MODELS_FOLDER) / CALIBRATION_FILE).read_text())
    (tmp_path / CALIBRATION_FILE).write_text(json.dumps(values | {'radial_factor': factor}))
    with pytest.raises(ValueError, match=r'calibration\.json.*radial_factor'):
        Calibration.load(tmp_path)


def test_without_a_calibration_file_predictions_are_unchanged(tmp_path):
    plain = Calibration.load(tmp_path)
    confidence = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(plain.confidence(0.7, confidence, 0.1), confidence)
    assert plain.std(0.02, 0.003) == (0.02, 0.003)


@pytest.mark.parametrize('content', ['', '[]', '{"rotation_scale": 1.0}', '{"rotation_scale": "much"}'])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / CALIBRATION_FILE).write_text(content)
    with pytest.raises(ValueError, match=r'calibration\.json.*python -m training calibrate'):
        Calibration.load(tmp_path)


def test_an_estimator_takes_the_calibration_of_its_networks(tmp_path):
    for file in Path(MODELS_FOLDER).iterdir():
        if file.suffix in ('.onnx', '.npz') or file.name.startswith(('head_', 'face_')):
            (tmp_path / file.name).symlink_to(file)
    calibration = Calibration(rotation_scale=2.5, confidence_weight=0.5)
    calibration.save(tmp_path)
    assert FaceEstimator('cpu', models_folder=tmp_path).calibration == calibration
    assert FaceEstimator('cpu').calibration == SHIPPED
