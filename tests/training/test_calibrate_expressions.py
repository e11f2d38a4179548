# SPDX-License-Identifier: Apache-2.0
"""Fit of the calibration of expressions, on records with drawn coefficients."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('torch')

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.calibrate.expressions import fit_expressions

JAW, SMILE, OTHER_SMILE, BROW = (EXPRESSION_NAMES.index(name) for name in (
    'jawOpen', 'mouthSmileLeft', 'mouthSmileRight', 'browInnerUp'))
SMILES = [SMILE, OTHER_SMILE]


def draw_records(count, noise_per_metre=0.1, seed=0):
    """Draw faces whose jaw is over-estimated by 2, with noise; whose brow is noise alone."""
    rng = np.random.default_rng(seed)
    records = []
    for _ in range(count):
        distance, truth = rng.uniform(0.4, 3), np.zeros(52)
        truth[[JAW, SMILE, OTHER_SMILE, BROW]] = rng.uniform(0, 0.5, 4)
        estimate = truth.copy()
        estimate[JAW] = 2 * truth[JAW] + noise_per_metre * distance * rng.normal()
        estimate[SMILES] = 0.1 + truth[SMILES] + 0.01 * rng.normal(size=2)
        estimate[BROW] = rng.uniform(0, 1)
        records.append({'expression': estimate.clip(0, 1), 'true_expression': truth,
                        'expression_measured': np.ones(52), 'face_distance_m': distance})
    return records


def test_the_line_that_drew_the_coefficients_is_found():
    found = fit_expressions(draw_records(4000, noise_per_metre=0.01))
    np.testing.assert_allclose(found.slope[:, JAW], 0.5, atol=0.02)
    np.testing.assert_allclose(found.offset[:, SMILE] + found.slope[:, SMILE] * 0.3, 0.2,
                               atol=0.02)
    assert (found.reliability[:, JAW] > 0.95).all()


def test_calibrated_coefficients_never_err_more_than_the_mean_of_the_truth():
    fitted, fresh = fit_expressions(draw_records(4000)), draw_records(2000, seed=1)
    truth, estimate = (np.array([record[name][[JAW, BROW]] for record in fresh])
                       for name in ('true_expression', 'expression'))
    distance = np.array([record['face_distance_m'] for record in fresh])
    nearest = np.abs(distance[:, None] - fitted.distances).argmin(axis=1)
    slope, offset = (table[:, [JAW, BROW]][nearest] for table in (fitted.slope, fitted.offset))
    error = np.square(offset + slope * estimate - truth).mean(axis=0)
    assert error[0] < 0.7 * truth[:, 0].var()
    assert fitted.slope[:, BROW] == pytest.approx(0)


def test_reliabilities_fall_with_the_distance_and_noise_is_at_rest():
    found = fit_expressions(draw_records(4000))
    assert (np.diff(found.distances) > 0).all()
    assert (np.diff(found.reliability, axis=0) <= 0).all()
    assert found.reliability[0, JAW] > found.reliability[-1, JAW] + 0.1
    assert 'browInnerUp' in found.never_shown()
    assert (found.offset[:, BROW] == 0).all()


def test_a_face_and_its_mirror_image_are_calibrated_alike():
    found = fit_expressions(draw_records(400))
    for table in (found.slope, found.offset, found.reliability):
        np.testing.assert_allclose(table[:, SMILE], table[:, OTHER_SMILE], atol=1e-6)


def test_faces_whose_region_is_not_measured_do_not_count():
    records = draw_records(1000, noise_per_metre=0.01)
    for record in records[::2]:
        record['expression'][JAW] = record['expression_measured'][JAW] = 0
    np.testing.assert_allclose(fit_expressions(records).slope[:, JAW], 0.5, atol=0.03)


def test_too_few_faces_say_what_to_do():
    with pytest.raises(ValueError, match='--frames'):
        fit_expressions(draw_records(30))
