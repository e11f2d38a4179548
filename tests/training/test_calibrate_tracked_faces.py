# SPDX-License-Identifier: Apache-2.0
"""Factors of tracked faces, from errors in drawn and in rendered streams."""
from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('torch')

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.calibration import Calibration
from training.calibrate import tracked_faces
from training.calibrate.calibrate import fit_scale
from training.calibrate.tracked_faces import TrackedFaces, fit_tracked_factors, training_stream
from training.synthesis.people.person import PeopleFactory
from training.synthesis.scene.cameras import VALIDATION_CAMERAS

AXES = ('lateral', 'down', 'radial', 'roll', 'pitch', 'yaw')


def test_the_factors_that_drew_the_errors_are_found():
    true = np.array([0.5, 1.3, 0.7, 1.0, 2.0, 0.9])
    rng = np.random.default_rng(0)
    sigmas = [rng.normal(0, true, (200, 6)) for _ in range(20)] + [np.zeros((0, 6))]
    found = fit_tracked_factors(sigmas, fit_scale)
    assert list(found) == [f'tracked_{axis}_factor' for axis in AXES]
    np.testing.assert_allclose(list(found.values()), true, rtol=0.08)
    single = Calibration(lateral_factor=0.6, down_factor=1.2)
    np.testing.assert_allclose(replace(single, **found).axis_std(0.02, 0.004, True),
                               single.axis_std(0.02, 0.004) * list(found.values()))


def test_too_few_streams_are_refused():
    with pytest.raises(ValueError, match='3 streams show a tracked face: expected 12'):
        fit_tracked_factors([np.ones((30, 6))] * 3 + [np.zeros((0, 6))] * 20, fit_scale)


def test_a_stream_of_training_has_cameras_that_evaluations_never_use(monkeypatch):
    monkeypatch.setattr(tracked_faces, 'SECONDS', 0.2)
    people = PeopleFactory('train')
    streams = [training_stream(number, people, seed=0) for number in range(3)]
    assert len({stream.camera for stream in streams}) > 1 or len(
        {stream.intrinsics for stream in streams}) == 3
    evaluated = {(camera.fx, camera.fy) for camera in VALIDATION_CAMERAS}
    for stream in streams:
        assert len(stream) == 3 and (stream.intrinsics.fx, stream.intrinsics.fy) not in evaluated
        assert 0.3 < stream.poses[0, 0, 2, 3] < 3.2
    again = training_stream(1, people, seed=0)
    np.testing.assert_array_equal(again.depth, streams[1].depth)


def test_tracked_faces_of_a_stream_are_measured_in_sigmas(monkeypatch):
    monkeypatch.setattr(tracked_faces, 'SECONDS', 0.4)
    options = Namespace(ict=None, hair=None, seed=0, models=MODELS_FOLDER)
    sigmas = TrackedFaces(options, Calibration.load(MODELS_FOLDER)).sigmas(2, workers=1)
    assert len(sigmas) == 2 and sum(map(len, sigmas)) > 3
    errors = np.abs(np.concatenate(sigmas))
    assert errors.shape[1] == 6 and 0.05 < np.median(errors) < 5
