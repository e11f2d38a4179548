# SPDX-License-Identifier: Apache-2.0
"""Fits of confidence and sigmas, on records with drawn errors."""
import numpy as np
import pytest

pytest.importorskip('torch')

from depthface_ros.estimation.calibration import Calibration
from training.calibrate.calibrate import (
    calibrated,
    fit_confidence,
    fit_logistic,
    fit_std,
    fit_stds,
    predicted,
    predicted_std,
)
from training.evaluation.errors import AXIS_ERRORS
from training.evaluation.figures import within_sigma


def sigmoid(odds):
    return 1 / (1 + np.exp(-odds))


def weights(calibration):
    return (calibration.bias, calibration.detector_weight, calibration.confidence_weight,
            calibration.doubt_weight)


def draw_records(rng, count, rotation_error=1.0, position_error=1.0, axis_errors=np.ones(6)):
    """Draw faces whose errors are multiples of the predicted sigmas, and as many false faces.

    :param axis_errors: (6,) further multiples for the axes of AXIS_ERRORS.
    """
    records = []
    for _ in range(count):
        degrees, mm = np.exp(rng.normal(np.log([3, 5]), 0.5))
        shift = position_error * mm * rng.normal(0, axis_errors[:3])
        turn = rotation_error * degrees * rng.normal(0, axis_errors[3:])
        records.append({'real': True, 'found': True, 'in_view': 0.9, 'detector_score': sigmoid(rng.normal(2, 1)),
                        'confidence': sigmoid(rng.normal(3, 1)),
                        'rotation_std_deg': degrees, 'position_std_mm': mm}
                       | dict(zip(AXIS_ERRORS, (*shift, *turn))))
        records.append({'real': False, 'found': True, 'detector_score': sigmoid(rng.normal(-1, 1)),
                        'confidence': sigmoid(rng.normal(-2, 1)), 'position_std_mm': 9.,
                        'rotation_std_deg': np.exp(rng.normal(np.log(6), 0.5))})
    return records


def test_the_law_that_drew_the_places_is_found():
    rng = np.random.default_rng(0)
    heat, confidence = sigmoid(rng.normal(0, 1.5, (2, 20_000)))
    doubt = np.exp(rng.normal(0, 1, 20_000))
    odds = (-0.7 + 1.5 * np.log(heat / (1 - heat)) + 0.6 * np.log(confidence / (1 - confidence))
            - 0.4 * np.log(doubt))
    fitted = fit_logistic(heat, confidence, doubt, rng.random(20_000) < sigmoid(odds))
    np.testing.assert_allclose(weights(fitted), (-0.7, 1.5, 0.6, 0.4), atol=0.08)


def test_separable_candidates_get_finite_weights():
    value = np.array([0.1] * 50 + [0.9] * 50)
    fitted = weights(fit_logistic(value, value, 1 - value, value > 0.5))
    assert np.isfinite(fitted).all() and min(fitted[1:]) >= 0


@pytest.mark.parametrize('scale, power', [(1.0, 1.0), (3.0, 1.0), (2.0, 1.4)])
def test_the_sigma_of_normal_errors_is_found(scale, power):
    rng = np.random.default_rng(1)
    std = np.exp(rng.uniform(np.log(0.01), np.log(0.2), 4000))
    errors = rng.normal(0, scale * std ** power, (3, 4000)).T
    fitted = fit_std(std, errors)
    np.testing.assert_allclose(fitted[0] * std ** fitted[1], scale * std ** power, rtol=0.1)


def test_too_small_and_too_large_sigmas_are_corrected():
    rng = np.random.default_rng(2)
    records = draw_records(rng, 400, rotation_error=2.0, position_error=0.4)
    faces = [record for record in records if record['real']]
    calibration = fit_stds(faces, Calibration(bias=0.3))
    assert calibration.bias == 0.3
    std = [calibrated(record, calibration) for record in faces]
    for shares in within_sigma(std).values():
        for aim, (value, _) in zip((68.27, 95.45), shares.values()):
            assert abs(value - aim) < 6


def test_axes_that_err_more_than_others_get_larger_sigmas():
    rng = np.random.default_rng(6)
    axis_errors = np.array([0.5, 0.5, 2.0, 0.7, 1.0, 1.5])
    records = draw_records(rng, 1000, axis_errors=axis_errors)
    faces = [record for record in records if record['real']]
    calibration = fit_stds(faces, Calibration())
    fitted = calibration.axis_std(*calibration.std(*predicted_std(faces)))
    rotation, position = predicted_std(faces)
    true = axis_errors * np.repeat([position, rotation], 3, axis=0).T
    np.testing.assert_allclose(np.median(fitted / true, axis=0), 1, atol=0.1)
    for row in within_sigma([calibrated(record, calibration) for record in faces]).values():
        assert abs(row['within_1_sigma'][0] - 68.27) < 4 and abs(row['within_2_sigma'][0] - 95.45) < 2


def test_errors_with_heavy_tails_are_met_in_the_middle():
    rng = np.random.default_rng(3)
    std = np.full(3000, 0.05)
    scale, power = fit_std(std, 0.05 * rng.standard_t(3, (3000, 3)))
    ratio = np.abs(0.05 * rng.standard_t(3, (3000, 3))) / (scale * std[:, None] ** power)
    assert 0.68 < (ratio < 1).mean() < 0.78 and 0.89 < (ratio < 2).mean() < 0.955


def test_too_few_places_are_refused():
    with pytest.raises(ValueError, match='10 faces and 10 other places'):
        fit_confidence(draw_records(np.random.default_rng(4), 10))


def test_the_confidence_is_the_fraction_of_true_faces():
    rng = np.random.default_rng(5)
    records = draw_records(rng, 1500)
    calibration = fit_confidence(records)
    confidence = calibration.confidence(*predicted(records))
    real = np.array([record['real'] for record in records])
    assert isinstance(calibration, Calibration)
    for low, high in ((0.1, 0.5), (0.5, 0.9)):
        bin_ = (confidence > low) & (confidence < high)
        assert abs(real[bin_].mean() - confidence[bin_].mean()) < 0.1
