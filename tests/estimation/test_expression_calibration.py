# SPDX-License-Identifier: Apache-2.0
"""Calibrated expressions: files, interpolation over distance, mirror images, reliabilities."""
from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.expression_calibration import (
    EXPRESSION_CALIBRATION_FILE,
    CalibratedExpressions,
    ExpressionCalibration,
)
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel

SHIPPED = ExpressionCalibration.load(MODELS_FOLDER)
JAW = EXPRESSION_NAMES.index('jawOpen')


def a_calibration():
    rng = np.random.default_rng(0)
    slope, offset, reliability = rng.uniform(0, 0.9, (3, 2, 52)).astype(np.float32)
    return ExpressionCalibration(np.array([0.5, 2], np.float32), slope, 0.1 * offset, reliability)


def test_what_is_saved_is_loaded(tmp_path):
    saved = a_calibration()
    saved.save(tmp_path, frames=7)
    loaded = ExpressionCalibration.load(tmp_path)
    for name in ('distances', 'slope', 'offset', 'reliability'):
        np.testing.assert_allclose(getattr(loaded, name), getattr(saved, name), atol=1e-4)
    assert json.loads((tmp_path / EXPRESSION_CALIBRATION_FILE).read_text())['frames'] == 7


def test_networks_without_a_calibration_keep_their_expressions(tmp_path):
    expression = np.random.default_rng(1).uniform(0, 1, (3, 52)).astype(np.float32)
    found, _ = CalibratedExpressions(ExpressionCalibration.load(tmp_path))(
        expression, np.array([0.3, 1, 4], np.float32))
    np.testing.assert_allclose(found, expression)


@pytest.mark.parametrize('damage', [
    lambda tree: tree.pop('distances_m'), lambda tree: tree['coefficients'].pop('jawOpen'),
    lambda tree: tree['distances_m'].reverse(), lambda tree: tree['distances_m'].append(9.),
    lambda tree: tree['coefficients']['jawOpen'].update(slope=[-0.1, 0.2]),
    lambda tree: tree['coefficients']['jawOpen'].update(reliability=[1.2, 0.2]),
    lambda tree: tree['coefficients']['jawOpen'].update(offset=[float('nan'), 0.]),
    lambda tree: tree['coefficients']['jawOpen'].update(slope='all')])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, damage):
    a_calibration().save(tmp_path)
    file = tmp_path / EXPRESSION_CALIBRATION_FILE
    tree = json.loads(file.read_text())
    damage(tree)
    file.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=f'{EXPRESSION_CALIBRATION_FILE}.*training calibrate'):
        ExpressionCalibration.load(tmp_path)


@given(st.floats(0.05, 20))
def test_expressions_and_reliabilities_stay_between_0_and_1(distance):
    expression = np.random.default_rng(2).uniform(0, 1, (1, 52)).astype(np.float32)
    for calibration in (a_calibration(), SHIPPED):
        for part in CalibratedExpressions(calibration)(expression, np.float32([distance])):
            assert ((part >= 0) & (part <= 1)).all()


def test_between_two_distances_both_count():
    calibration, apply = a_calibration(), CalibratedExpressions(a_calibration())
    still = np.zeros((3, 52), np.float32)
    near, middle, far = apply(still, np.float32([0.2, 1.25, 8]))[0]
    np.testing.assert_allclose(middle, (near + far) / 2, atol=1e-6)
    assert near[JAW] == pytest.approx(calibration.offset[0, JAW])


def test_the_mirrored_face_has_the_mirrored_expression():
    expression = np.random.default_rng(3).uniform(0, 1, (1, 52)).astype(np.float32)
    mirror, apply = FaceModel.load().expression_mirror, CalibratedExpressions(a_calibration())
    distance = np.float32([0.9])
    for part, mirrored in zip(apply(expression, distance), apply(expression[:, mirror], distance)):
        np.testing.assert_array_equal(part[:, mirror], mirrored)


def test_coefficients_that_are_never_shown_stay_at_rest():
    calibration = a_calibration()
    for table in (calibration.slope, calibration.offset, calibration.reliability):
        table[:, JAW] = 0
    assert calibration.never_shown() == ('jawOpen',)
    found, reliability = CalibratedExpressions(calibration)(
        np.ones((1, 52), np.float32), np.float32([1]))
    assert found[0, JAW] == reliability[0, JAW] == 0


def test_torch_and_numpy_agree():
    torch = pytest.importorskip('torch')
    expression = np.random.default_rng(4).uniform(0, 1, (4, 52)).astype(np.float32)
    distance = np.float32([0.3, 1, 1.9, 7])
    expected = CalibratedExpressions(a_calibration())(expression, distance)
    found = CalibratedExpressions(a_calibration(), torch.as_tensor)(
        torch.as_tensor(expression), torch.as_tensor(distance))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-6)
