# SPDX-License-Identifier: Apache-2.0
"""Measure the calibration of expression coefficients, and how much of their variance it explains."""
from __future__ import annotations

import numpy as np

from depthface_ros.estimation.expression_calibration import ExpressionCalibration
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from training.evaluation.errors import Record
from training.evaluation.groups import column
from training.synthesis.scene.random_scene import Head

EDGES = (0.0, 0.8, 1.4, 2.2, np.inf)  # m; bins of distance
MIN_FACES = 40  # of a bin, without mirror images
# Explained variance below which a coefficient stays at rest, as chance alone explains so much.
MIN_RELIABILITY = 0.01
PRIOR_FACES = 200  # weight of the slope over all distances in the slope of a bin
FOLDS = 4


def expression_record(face: Face, head: Head) -> Record:
    """Return uncalibrated and true coefficients of a found face, and which are measured."""
    return {'expression': face.expression, 'true_expression': head.person.expression,
            'expression_measured': face.expression_measured,
            'face_distance_m': float(np.linalg.norm(face.camera_from_face[:3, 3]))}


def fit_expressions(records: list[Record]) -> ExpressionCalibration:
    """Fit slopes and offsets by distance, alike for faces and their mirror images.

    With c the coefficient and t its truth, over the faces of a bin with a measured region:

        slope = cov(t, c) / var(c) in 0..1,   offset = mean(t) - slope * mean(c)

    The reliability is the explained variance of faces that were left out of the fit. It does not
    increase with distance.

    :raises ValueError: there are too few faces.
    """
    estimate, truth, measured = (with_mirrored_expressions(np.array(
        [record[name] for record in records])) for name in (
            'expression', 'true_expression', 'expression_measured'))
    distance, fold = column(records, 'face_distance_m'), np.arange(len(records)) % FOLDS
    bins = [np.flatnonzero((distance >= low) & (distance < high))
            for low, high in zip(EDGES, EDGES[1:])]
    bins = [faces for faces in bins if len(faces) >= MIN_FACES]
    if not bins:
        raise ValueError(f'{len(records)} faces at all distances: expected {MIN_FACES} within one '
                         'of the ranges; take more --frames')
    weights = (measured >= 1).astype(float)

    def fitted(faces: np.ndarray, of_fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = np.concatenate([faces, faces + len(records)])
        every = np.concatenate([of_fold, of_fold + len(records)])
        return _line(*_moments(estimate, truth, weights, both),
                     *_moments(estimate, truth, weights, every)[2:])

    everyone = np.arange(len(records))
    slopes, offsets, reliabilities = [], [], []
    predicted = np.zeros((2 * len(records), estimate.shape[1]))
    for faces in bins:
        for k in range(FOLDS):
            slope, offset = fitted(faces[fold[faces] != k], everyone[fold != k])
            held_out = faces[fold[faces] == k]
            held_out = np.concatenate([held_out, held_out + len(records)])
            predicted[held_out] = (offset + slope * estimate[held_out]).clip(0, 1)
        both = np.concatenate([faces, faces + len(records)])
        reliabilities.append(_explained(predicted[both], truth[both], weights[both]))
        for rows, row in zip((slopes, offsets), fitted(faces, everyone)):
            rows.append(row)
    # Few faces of a bin explain more or less by chance. Those of all bins together decide what
    # depth shows, and count as PRIOR_FACES faces of each bin.
    used = np.concatenate([*bins, *(faces + len(records) for faces in bins)])
    overall = _explained(predicted[used], truth[used], weights[used])
    counts = np.array([[len(faces)] for faces in bins])
    reliability = np.minimum.accumulate(
        (counts * reliabilities + PRIOR_FACES * overall) / (counts + PRIOR_FACES))
    shown = np.broadcast_to(overall >= MIN_RELIABILITY, reliability.shape)
    middles = [float(np.median(distance[faces])) for faces in bins]
    return ExpressionCalibration(np.array(middles, np.float32), *(
        np.where(shown, table, 0).astype(np.float32) for table in (slopes, offsets, reliability)))


def with_mirrored_expressions(values: np.ndarray) -> np.ndarray:
    """Return values (N, 52) of faces, followed by those of their mirror images."""
    return np.concatenate([values, values[:, FaceModel.load().expression_mirror]])


def _moments(estimate: np.ndarray, truth: np.ndarray, weights: np.ndarray,
             faces: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return weighted means of both, sums of products and of squares about them, and the weight."""
    c, t, w = estimate[faces], truth[faces], weights[faces]
    total = w.sum(axis=0).clip(1)
    mean_c, mean_t = (w * c).sum(axis=0) / total, (w * t).sum(axis=0) / total
    return (mean_c, mean_t, (w * (c - mean_c) * (t - mean_t)).sum(axis=0),
            (w * np.square(c - mean_c)).sum(axis=0), total)


def _line(mean_c, mean_t, products, squares, total, prior_products, prior_squares,
          prior_total) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and offsets (52,), with the slope of all faces as prior."""
    prior = PRIOR_FACES / prior_total
    slope = ((products + prior * prior_products)
             / (squares + prior * prior_squares).clip(1e-9)).clip(0, 1)
    return slope, mean_t - slope * mean_c


def _explained(predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the explained variance (52,) in 0..1."""
    total = weights.sum(axis=0).clip(1)
    mean = (weights * truth).sum(axis=0) / total
    variance = (weights * np.square(truth - mean)).sum(axis=0)
    error = (weights * np.square(truth - predicted)).sum(axis=0)
    return np.where(variance > 1e-9, 1 - error / variance.clip(1e-9), 0).clip(0, 1)
