# SPDX-License-Identifier: Apache-2.0
"""Set right what the networks say of their own errors, and agree on what is a face.

New frames of the people and cameras of training are looked at, so that an evaluation stays one of
strangers. First for what is a face, and for what the alignment has to expect of the networks; then,
with both, for how much the whole pipeline errs where the refiner says that it does.
"""
from __future__ import annotations

import argparse
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import t as student_t

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.calibration import Calibration, log_odds
from depthface_ros.estimation.error_prior import ERROR_PRIOR_FILE
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import Face
from training.calibrate.measure_errors import fit_error_prior, networks_alone
from training.data.rendered_dataset import VISIBLE_FACE, add_people_arguments
from training.evaluation.errors import AXES, Record, pose_errors, reported_uncertainty
from training.evaluation.figures import within_sigma
from training.evaluation.frames import SyntheticFrames, Trial
from training.evaluation.groups import column
from training.synthesis.scene.random_scene import Head

DOUBTFUL_TOO = EstimatorConfig(max_rotation_std=np.inf)
EVERYWHERE_UNALIGNED = replace(DOUBTFUL_TOO, min_confidence=0.0, sure_confidence=1.0,
                               alignment=AlignmentConfig(steps=0))
LEAST = EstimatorConfig().min_confidence  # of what the pipeline takes for a face
HIDDEN = 0.1  # share of a face in view up to which it is none; up to VISIBLE_FACE nobody can say
FEWEST_FACES, FEWEST_OTHERS = 40, 5  # to fit to; good networks take little else for a face
# Errors of faces of one sigma are no normal distribution: the tails of this one are as heavy.
DEGREES_OF_FREEDOM = 4
NORMAL = {1: 0.6827, 2: 0.9545}  # share of normal errors within so many sigma
SLOPES = (0.5, 2.0)  # of the log of true sigmas over the log of those that are told


def fit_confidence(places: list[Record]) -> Calibration:
    """Fit to all places that were found, of which networks spoke for themselves.

    :raises ValueError: there are too few faces, or places without one.
    """
    faces, others = (list(filter(kind, places)) for kind in (is_face, is_none))
    if len(faces) < FEWEST_FACES or len(others) < FEWEST_OTHERS:
        raise ValueError(f'{len(faces)} faces and {len(others)} other places were found: expected '
                         f'{FEWEST_FACES} and {FEWEST_OTHERS}; take more --frames, or train the networks')
    return fit_agreement(*said(faces + others), np.arange(len(faces + others)) < len(faces))


def fit_stds(faces: list[Record], calibration: Calibration) -> Calibration:
    """The same calibration with sigmas fitted to faces of the whole pipeline, as the refiner told them.

    :raises ValueError: there are too few.
    """
    if len(faces) < FEWEST_FACES:
        raise ValueError(f'the whole pipeline took {len(faces)} faces for some: expected {FEWEST_FACES}; '
                         'take more --frames, or train the networks')
    rotation = fit_std(np.radians(column(faces, 'rotation_std_deg')),
                       np.radians([column(faces, f'turn_{axis}_deg') for axis in AXES]).T)
    position = fit_std(column(faces, 'position_std_mm') / 1000,
                       np.array([column(faces, f'shift_{axis}_mm') for axis in AXES]).T / 1000)
    return replace(calibration, rotation_scale=rotation[0], rotation_power=rotation[1],
                   position_scale=position[0], position_power=position[1])


def accepted(places: list[Record], calibration: Calibration) -> list[Record]:
    """The places that the pipeline takes for faces."""
    sure = calibration.confidence(*said(places)) >= LEAST
    return [place for place, good in zip(places, sure) if good]


def said(records: list[Record]) -> tuple[np.ndarray, ...]:
    """What the networks said of places: heat, confidence, and sigma of rotation in rad, (N,) each."""
    return (column(records, 'detector_score'), column(records, 'confidence'),
            np.radians(column(records, 'rotation_std_deg')))


def is_face(record: Record) -> bool:
    return record['real'] and record['in_view'] >= VISIBLE_FACE


def is_none(record: Record) -> bool:
    return not record['real'] or record['in_view'] < HIDDEN


def fit_agreement(heat: np.ndarray, confidence: np.ndarray, rotation_std: np.ndarray,
                  is_face: np.ndarray) -> Calibration:
    """Logistic regression of whether places (N,) are faces: bias, and weights >= 0."""
    inputs = np.stack([np.ones(len(heat)), log_odds(heat), log_odds(confidence),
                       -np.log(rotation_std)], axis=1)
    sign = np.where(is_face, -1, 1)
    # a little weight decay, so that what is perfectly told apart gets finite weights
    fitted = minimize(lambda weights: np.logaddexp(0, sign * (inputs @ weights)).sum()
                      + 0.05 * (weights ** 2).sum(),
                      np.array([0, 0.5, 0.5, 0]), bounds=[(None, None)] + 3 * [(0, None)])
    names = ('bias', 'detector_weight', 'confidence_weight', 'doubt_weight')
    return Calibration(**dict(zip(names, fitted.x.tolist())))


def fit_std(told: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Scale and power that make sigmas (N,) those of errors (N, 3): scale * told ** power.

    The power is the likeliest. The scale lies in the middle, by ratio, of the two that let one and
    two sigma hold as many errors as they do of a normal distribution: with heavy tails no scale
    does both.
    """
    log_told = np.log(told)[:, None]

    def surprise(line: np.ndarray) -> float:
        log_sigma = line[0] + line[1] * log_told
        likelihood = student_t.logpdf(errors * np.exp(-log_sigma), DEGREES_OF_FREEDOM) - log_sigma
        return -likelihood.mean()

    power = float(minimize(surprise, np.array([0.0, 1.0]), bounds=[(None, None), SLOPES]).x[1])
    ratio = np.abs(errors) / told[:, None] ** power
    scales = [np.quantile(ratio, share) / k for k, share in NORMAL.items()]
    return float(np.sqrt(np.prod(scales))), power


def told_anew(record: Record, calibration: Calibration) -> Record:
    """The record of a face with calibrated sigmas."""
    rotation, position = calibration.std(np.radians(record['rotation_std_deg']),
                                         record['position_std_mm'] / 1000)
    return record | {'rotation_std_deg': np.degrees(rotation), 'position_std_mm': 1000 * position}


def pose_only(face: Face, head: Head, *image) -> Record:
    return pose_errors(face.camera_from_face, head.camera_from_face) | reported_uncertainty(face)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, default=1000)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='folder of networks; calibration.json and error_prior.npz are '
                        'written there')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())


def run(options: argparse.Namespace) -> None:
    frames = SyntheticFrames('train', options.seed, options.ict, options.hair)
    (options.models / ERROR_PRIOR_FILE).unlink(missing_ok=True)  # of earlier networks
    trial = Trial(frames, options.models, EVERYWHERE_UNALIGNED, Calibration(), networks_alone)
    places = [place for place in trial.records(options.frames, options.workers) if place['found']]
    confidence = fit_confidence(places)
    fit_error_prior(accepted(list(filter(is_face, places)), confidence)).save(options.models)

    trial = Trial(frames, options.models, DOUBTFUL_TOO, confidence, pose_only)
    faces = [record for record in trial.records(options.frames, options.workers)
             if record['found'] and is_face(record)]
    calibration = fit_stds(faces, confidence)
    networks = {name: hashlib.sha256((options.models / f'{name}.onnx').read_bytes()).hexdigest()
                for name in NETWORKS}
    calibration.save(options.models, frames=options.frames, networks=networks)
    print_gain(places, faces, calibration)


def print_gain(places: list[Record], faces: list[Record], calibration: Calibration) -> None:
    """What was fitted, and what it changes in the frames it was fitted to."""
    print(calibration)
    for title, confidence in (('before', Calibration()), ('after', calibration)):
        taken = accepted(places, confidence)
        print(f'{title}: {sum(map(is_face, taken))} of {sum(map(is_face, places))} faces and '
              f'{sum(map(is_none, taken))} of {sum(map(is_none, places))} other places have a '
              f'confidence of {LEAST:.2g} or more')
    for title, told in (('before', faces), ('after', [told_anew(face, calibration) for face in faces])):
        shares = np.array([[share[0] for share in row.values()]
                           for row in within_sigma(told).values()])
        print(f'{title}: of {len(faces)} faces, errors within one sigma {shares[:, 0].mean():.1f} %, '
              f'within two {shares[:, 1].mean():.1f} %')
