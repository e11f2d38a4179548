# SPDX-License-Identifier: Apache-2.0
"""Calibrate confidences, the error prior of the alignment, sigmas of poses, and expressions.

The frames are new ones of the people and cameras of training, so that those of an evaluation stay
unseen. The first pass fits the confidence and the error prior to the networks alone. The second
pass, with both, fits the sigmas and the expressions to the errors of the whole pipeline.
"""
from __future__ import annotations

import argparse
import hashlib
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import t as student_t

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.calibration import (
    CALIBRATION_FILE,
    TRACKED,
    Calibration,
    log_odds,
)
from depthface_ros.estimation.error_prior import ERROR_PRIOR_FILE
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.expression_calibration import EXPRESSION_CALIBRATION_FILE
from depthface_ros.estimation.types import Face
from depthface_ros.io.text_files import read_json
from training.calibrate.expressions import expression_record, fit_expressions
from training.calibrate.measure_errors import fit_error_prior, networks_alone
from training.calibrate.tracked_faces import TrackedFaces, fit_tracked_factors, print_coverage
from training.data.render import VISIBLE_FACE, add_people_arguments
from training.evaluation.errors import (
    AXIS_ERRORS,
    AXIS_UNITS,
    Record,
    pose_errors,
    reported_uncertainty,
)
from training.evaluation.figures import within_sigma
from training.evaluation.frames import SyntheticFrames, Trial
from training.evaluation.groups import column
from training.synthesis.scene.random_scene import Head

NO_SIGMA_LIMIT = EstimatorConfig(max_rotation_std=np.inf)
ALL_CANDIDATES_UNALIGNED = replace(NO_SIGMA_LIMIT, min_confidence=0.0, tta_confidence=1.0,
                               alignment=AlignmentConfig(steps=0))
MIN_CONFIDENCE = EstimatorConfig().min_confidence
HIDDEN = 0.1  # visible fraction up to which a place is no face; up to VISIBLE_FACE it is ambiguous
MIN_FACES, MIN_OTHERS = 40, 5  # samples of a fit; good networks have few false candidates
# Errors of one predicted sigma have heavy tails, as Student's t of so many degrees of freedom.
DEGREES_OF_FREEDOM = 4
NORMAL = {1: 0.6827, 2: 0.9545}  # fraction of normal errors within so many sigma
OTHER_FRAMES = 1000  # added to the seed of frames that expressions are calibrated on
WEIGHTS = 'bias', 'detector_weight', 'confidence_weight', 'doubt_weight'  # of the confidence
POWERS = (0.5, 2.0)  # bounds of the power of a predicted sigma


def fit_confidence(places: list[Record]) -> Calibration:
    """Fit the confidence to all candidates of the networks alone.

    :raises ValueError: there are too few faces, or places without one.
    """
    faces, others = (list(filter(kind, places)) for kind in (is_face, is_none))
    if len(faces) < MIN_FACES or len(others) < MIN_OTHERS:
        raise ValueError(f'{len(faces)} faces and {len(others)} other places were found: expected '
                         f'{MIN_FACES} and {MIN_OTHERS}; take more --frames, or train the networks')
    return fit_logistic(*predicted(faces + others), np.arange(len(faces + others)) < len(faces))


def fit_stds(faces: list[Record], calibration: Calibration) -> Calibration:
    """Return the calibration with sigmas fitted to faces of the whole pipeline.

    :raises ValueError: there are too few.
    """
    if len(faces) < MIN_FACES:
        raise ValueError(f'the whole pipeline found {len(faces)} faces: expected {MIN_FACES}; '
                         'take more --frames, or train the networks')
    errors = np.array([column(faces, name) for name in AXIS_ERRORS]).T / AXIS_UNITS
    rotation_std, position_std = predicted_std(faces)
    rotation = fit_std(rotation_std, errors[:, 3:])
    position = fit_std(position_std, errors[:, :3])
    calibration = replace(calibration, rotation_scale=rotation[0], rotation_power=rotation[1],
                          position_scale=position[0], position_power=position[1])
    return replace(calibration, **fit_factors(
        errors, *calibration.std(rotation_std, position_std)))


def fit_factors(errors: np.ndarray, rotation_std: np.ndarray, position_std: np.ndarray
                ) -> dict[str, float]:
    """Return the factors of a calibration by name, fitted to errors (N, 6) of its sigmas (N,)."""
    rotation, position = rotation_std[:, None], position_std[:, None]
    lateral, down = (fit_scale(errors[:, k:k + 1] / position) for k in (0, 1))
    return {'lateral_factor': lateral, 'down_factor': down / lateral,
            'radial_factor': fit_scale(errors[:, 2:3] / position),
            'roll_factor': fit_scale(errors[:, 3:4] / rotation),
            'pitch_factor': fit_scale(errors[:, 4:5] / rotation),
            'yaw_factor': fit_scale(errors[:, 5:] / rotation)}


def predicted_std(faces: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Return sigmas of rotation in rad and position in m, of all axes together, (N,) each."""
    return np.radians(column(faces, 'rotation_std_deg')), column(faces, 'position_std_mm') / 1000


def accepted(places: list[Record], calibration: Calibration) -> list[Record]:
    """Return the candidates that the pipeline accepts as faces."""
    confident = calibration.confidence(*predicted(places)) >= MIN_CONFIDENCE
    return [place for place, good in zip(places, confident) if good]


def predicted(records: list[Record]) -> tuple[np.ndarray, ...]:
    """Return detector score, confidence, and rotation sigma in rad of candidates, (N,) each."""
    return (column(records, 'detector_score'), column(records, 'confidence'),
            np.radians(column(records, 'rotation_std_deg')))


def is_face(record: Record) -> bool:
    return record['real'] and record['in_view'] >= VISIBLE_FACE


def is_none(record: Record) -> bool:
    return not record['real'] or record['in_view'] < HIDDEN


def fit_logistic(detector_score: np.ndarray, confidence: np.ndarray, rotation_std: np.ndarray,
                  is_face: np.ndarray) -> Calibration:
    """Fit a logistic regression of whether candidates (N,) are faces: bias, and weights >= 0."""
    inputs = np.stack([np.ones(len(detector_score)), log_odds(detector_score), log_odds(confidence),
                       -np.log(rotation_std)], axis=1)
    sign = np.where(is_face, -1, 1)
    # a small weight decay keeps the weights of separable data finite
    fitted = minimize(lambda weights: np.logaddexp(0, sign * (inputs @ weights)).sum()
                      + 0.05 * (weights ** 2).sum(),
                      np.array([0, 0.5, 0.5, 0]), bounds=[(None, None)] + 3 * [(0, None)])
    return Calibration(**dict(zip(WEIGHTS, fitted.x.tolist())))


def confidence_alone(calibration: Calibration) -> Calibration:
    """Return a calibration with the same confidence and with sigmas as predicted."""
    return Calibration(**{name: getattr(calibration, name) for name in WEIGHTS})


def fit_std(predicted_std: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Fit scale and power of sigmas (N,) to errors (N, 3): sigma = scale * predicted ** power.

    The power maximises the likelihood. The scale is from :func:`fit_scale`.
    """
    log_predicted = np.log(predicted_std)[:, None]

    def negative_log_likelihood(line: np.ndarray) -> float:
        log_sigma = line[0] + line[1] * log_predicted
        likelihood = student_t.logpdf(errors * np.exp(-log_sigma), DEGREES_OF_FREEDOM) - log_sigma
        return -likelihood.mean()

    power = float(minimize(negative_log_likelihood, np.array([0.0, 1.0]), bounds=[(None, None), POWERS]).x[1])
    return fit_scale(errors / predicted_std[:, None] ** power), power


def fit_scale(ratio: np.ndarray) -> float:
    """Return the scale of sigmas from the ratios of errors to them, of any shape.

    The geometric mean of two scales: one sigma, or two sigma, contain as many errors as of a normal
    distribution. With heavy tails no scale does both.
    """
    scales = [np.quantile(np.abs(ratio), fraction) / k for k, fraction in NORMAL.items()]
    return float(np.sqrt(np.prod(scales)))


def calibrated(record: Record, calibration: Calibration) -> Record:
    """Return the record of a face with calibrated sigmas."""
    rotation, position = calibration.std(np.radians(record['rotation_std_deg']),
                                         record['position_std_mm'] / 1000)
    std = calibration.axis_std(rotation, position) * AXIS_UNITS
    return record | {'rotation_std_deg': np.degrees(rotation), 'position_std_mm': 1000 * position,
                     **{f'{name}_std': float(value) for name, value in zip(AXIS_ERRORS, std)}}


def pose_and_expression(face: Face, head: Head, *image) -> Record:
    return (pose_errors(face.camera_from_face, head.camera_from_face) | reported_uncertainty(face)
            | expression_record(face, head))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, default=1000)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='folder of networks; calibration.json, error_prior.npz and '
                        f'{EXPRESSION_CALIBRATION_FILE} are written there')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--streams', type=int, default=48, help='short rendered streams, for the '
                        'sigmas of tracked faces')
    parser.add_argument('--streams-only', action='store_true', help='measure only the factors of '
                        'tracked faces, with the calibration that is there')
    parser.add_argument('--sigmas-only', action='store_true', help='measure only the sigmas, as '
                        'after a new refiner, with the confidence and the error prior that are there')
    parser.add_argument('--expressions-only', action='store_true', help='measure only '
                        f'{EXPRESSION_CALIBRATION_FILE}, with the calibration that is there')


def run(options: argparse.Namespace) -> None:
    frames = SyntheticFrames('train', options.seed, options.ict, options.hair)
    # Networks remember expressions of people they were trained on, so these people are others.
    # The frames are not those of an evaluation, which has another seed.
    others = SyntheticFrames('validation', options.seed + OTHER_FRAMES, options.ict, options.hair)
    if options.expressions_only:
        forget_expressions(options)
        save_expressions(options, whole_pipeline(options, others, None))
        return
    if options.streams_only:
        frames = read_json(options.models / CALIBRATION_FILE)['frames']
        save_with_tracked_factors(options, Calibration.load(options.models), frames)
        return
    if options.sigmas_only:
        confidence = confidence_alone(Calibration.load(options.models))
        save_with_tracked_factors(options, fit_stds(whole_pipeline(
            options, frames, confidence), confidence), options.frames)
        return
    forget_expressions(options)
    (options.models / ERROR_PRIOR_FILE).unlink(missing_ok=True)  # that of earlier networks
    trial = Trial(frames, options.models, ALL_CANDIDATES_UNALIGNED, Calibration(), networks_alone)
    places = [place for place in trial.records(options.frames, options.workers) if place['found']]
    confidence = fit_confidence(places)
    fit_error_prior(accepted(list(filter(is_face, places)), confidence)).save(options.models)

    faces = whole_pipeline(options, frames, confidence)
    calibration = fit_stds(faces, confidence)
    calibration = save_with_tracked_factors(options, calibration, options.frames)
    save_expressions(options, whole_pipeline(options, others, calibration))
    print_gain(places, faces, calibration)


def whole_pipeline(options: argparse.Namespace, frames: SyntheticFrames,
                   calibration: Calibration | None) -> list[Record]:
    """Return the records of faces that the whole pipeline finds; None: the saved calibration."""
    trial = Trial(frames, options.models, NO_SIGMA_LIMIT, calibration, pose_and_expression)
    return [record for record in trial.records(options.frames, options.workers)
            if record['found'] and is_face(record)]


def save_with_tracked_factors(options: argparse.Namespace, calibration: Calibration,
                              frames: int) -> Calibration:
    """Measure the factors of tracked faces; write and return the calibration with them."""
    plain = replace(calibration, **{field.name: 1.0 for field in fields(Calibration)
                                    if field.name.startswith(TRACKED)})
    sigmas = TrackedFaces(options, plain).sigmas(options.streams, options.workers)
    factors = fit_tracked_factors(sigmas, fit_scale)
    print_coverage(sigmas, factors)
    calibration = replace(plain, **factors)
    calibration.save(options.models, frames=frames, streams=options.streams,
                     networks=networks(options.models))
    return calibration


def save_expressions(options: argparse.Namespace, faces: list[Record]) -> None:
    """Fit and write the calibration of expressions; print what depth never shows."""
    expressions = fit_expressions(faces)
    expressions.save(options.models, frames=options.frames, faces=len(faces),
                     networks=networks(options.models))
    print(f'{len(faces)} faces; expressions that stay at rest: '
          f'{", ".join(expressions.never_shown()) or "none"}')


def networks(folder: Path) -> dict[str, str]:
    """Return the hash of each network of a folder."""
    return {name: hashlib.sha256((folder / f'{name}.onnx').read_bytes()).hexdigest()
            for name in NETWORKS}


def print_gain(places: list[Record], faces: list[Record], calibration: Calibration) -> None:
    """Print the fit and its effect on the frames it was fitted to."""
    print(calibration)
    for title, confidence in (('before', Calibration()), ('after', calibration)):
        taken = accepted(places, confidence)
        print(f'{title}: {sum(map(is_face, taken))} of {sum(map(is_face, places))} faces and '
              f'{sum(map(is_none, taken))} of {sum(map(is_none, places))} other places have a '
              f'confidence of {MIN_CONFIDENCE:.2g} or more')
    for title, records in (('before', faces), ('after', [calibrated(face, calibration) for face in faces])):
        print(f'{title}: errors of {len(faces)} faces within one and two sigma:')
        for error, row in within_sigma(records).items():
            print(f'  {error:9}', *(f'{percent:5.1f} %' for percent, _ in row.values()))


def forget_expressions(options: argparse.Namespace) -> None:
    """Remove the calibration of expressions; they are measured without it."""
    (options.models / EXPRESSION_CALIBRATION_FILE).unlink(missing_ok=True)
