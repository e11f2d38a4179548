# SPDX-License-Identifier: Apache-2.0
"""All results of an evaluation as one tree of figures, which later evaluations are compared with."""
from __future__ import annotations

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.evaluation.errors import AXIS_ERRORS, Record
from training.evaluation.groups import (
    DISTANCES,
    GROUPS,
    Figure,
    between,
    column,
    counted,
    grouped,
    percentage,
    summary,
)

WITHIN = {1: 68.27, 2: 95.45}  # percent of normally distributed errors within so many sigma
NEAR = 1.0  # m, within which expressions are reported apart
SEEN, HARDLY_SEEN = 0.5, 0.25  # least correlations for these two verdicts


def all_figures(records: list[Record], frames: int) -> dict:
    """Return all figures that the command prints and writes."""
    faces = [record for record in records if counted(record)]
    found = [record for record in faces if record['found']]
    false = [record for record in records if not record['real']]
    return {
        'frames': frames, 'faces': len(faces),
        'false_faces_per_100_frames': per_100_frames(len(false), frames),
        'distances': by_distance(faces, false, frames),
        'groups': {name: {value: summary(members)
                          for value, members in grouped(records, name).items()}
                   for name in GROUPS},
        'within_sigma': within_sigma(found),
        'expression': expression(found)}


def per_100_frames(count: int, frames: int) -> Figure:
    """Return a rate and its standard error, of a Poisson distribution."""
    return [100 * count / frames, 100 * float(np.sqrt(count + 0.25)) / frames]


def by_distance(faces: list[Record], false: list[Record], frames: int) -> dict[str, dict]:
    """Return the number of faces, the percentage missed and the rate of false faces by distance."""
    rows = {}
    for low, high in zip(DISTANCES, DISTANCES[1:]):
        name = between(low, DISTANCES, 'm')
        here = [record for record in faces if low <= record['distance_m'] < high]
        wrong = sum(low <= record['distance_m'] < high for record in false)
        if here or wrong:
            rows[name] = {'faces': len(here), 'missed_percent': percentage(
                              sum(not record['found'] for record in here), len(here)),
                          'false_per_100_frames': per_100_frames(wrong, frames)}
    return rows


def within_sigma(found: list[Record]) -> dict[str, dict[str, Figure]]:
    """Return the percentages of errors within one and two predicted sigma, by axis: see WITHIN."""
    rows = {}
    for error in AXIS_ERRORS:
        ratio = np.abs(column(found, error)) / column(found, f'{error}_std')
        rows[error.rsplit('_', 1)[0]] = {
            f'within_{k}_sigma': percentage(int((ratio <= k).sum()), len(ratio)) for k in WITHIN}
    return rows


def expression(found: list[Record]) -> dict[str, dict[str, Figure]]:
    """Return correlation, errors and explained variance of each expression coefficient.

    guess_error is the mean absolute error of a constant prediction, the median of the truth.
    explained_percent is 100 (1 - squared error / variance of the truth), for all faces and for
    those within NEAR: more than 0 means better than the prior's mean.
    """
    rows = {}
    if len(found) < 3:
        return rows
    near = column(found, 'distance_m') < NEAR
    for name in EXPRESSION_NAMES:
        estimate, truth = column(found, name), column(found, f'true_{name}')
        moves = min(estimate.std(), truth.std()) > 1e-6
        r = float(np.corrcoef(estimate, truth)[0, 1]) if moves else 0.
        errors, guess = np.abs(estimate - truth), np.abs(truth - np.median(truth))
        rows[name] = {'correlation': [r, float((1 - r * r) / np.sqrt(len(found) - 1))],
                      'error': _mean(errors), 'guess_error': _mean(guess),
                      'explained_percent': explained(estimate, truth),
                      'explained_percent_near': explained(estimate[near], truth[near])}
    return rows


def explained(estimate: np.ndarray, truth: np.ndarray) -> Figure:
    """Return the explained variance of estimates (N,) in percent, and its standard error.

    The error is of the ratio of two means, to first order.
    """
    if len(truth) < 3 or truth.std() < 1e-6:
        return [float('nan'), float('nan')]
    squared, spread = np.square(estimate - truth), np.square(truth - truth.mean())
    ratio = squared.mean() / spread.mean()
    error = (squared - ratio * spread).std() / spread.mean() / np.sqrt(len(truth))
    return [100 * float(1 - ratio), 100 * float(error)]


def better_than_mean(rows: dict[str, dict[str, Figure]]) -> list[str]:
    """Return the coefficients whose explained variance near the camera exceeds two of its errors."""
    return [name for name, row in rows.items()
            if row['explained_percent_near'][0] > 2 * row['explained_percent_near'][1]]


def verdict(correlation: float) -> str:
    """Return in words whether depth shows an expression."""
    return 'seen' if correlation >= SEEN else 'hardly' if correlation >= HARDLY_SEEN else 'not'


def _mean(values: np.ndarray) -> Figure:
    return [float(values.mean()), float(values.std() / np.sqrt(len(values)))]
