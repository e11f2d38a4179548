# SPDX-License-Identifier: Apache-2.0
"""Figures of a tracker over many streams, as one tree: a value and its standard error each."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.evaluation.errors import AXIS_ERRORS
from training.evaluation.figures import WITHIN
from training.evaluation.groups import Figure
from training.evaluation.stream_runs import PersonRun, StreamRun
from training.evaluation.stream_scores import scores, taken_ids
from training.synthesis.people.expressions import random_expression
from training.synthesis.streams.stream import Stream

NEAR = 1.0  # m, up to which coefficients are held against the prior's mean
PRIOR_DRAWS = 2000
EXPRESSIVE = ('grimace', 'smile')  # scripts whose people move their faces
AT_REST = ('rest', 'turn', 'talk', 'smile')  # scripts whose people keep still for a second


def stream_figures(runs: Sequence[StreamRun]) -> dict:
    """Return all figures of the runs of one tracker."""
    scored = [(run, _mean_scores(run)) for run in runs]
    near = [run for run in runs
            if run.stream.script in EXPRESSIVE and run.stream.distance <= NEAR]
    prior, cameras = prior_mean(), dict.fromkeys(run.stream.camera for run in near)
    return {'groups': {kind: {name: _row([score for run, score in scored
                                          if name in names(run)])
                              for name in _in_order(runs, names)}
                       for kind, names in GROUPS.items()},
            'coverage': coverage(_people(runs)),
            'expressive_people': len(_people(near)),
            'explained_variance': explained_variance(_people(near), prior),
            'explained_variance_of_cameras': {camera: explained_variance(_people(
                run for run in near if run.stream.camera == camera), prior) for camera in cameras}}


def _people(runs: Iterable[StreamRun]) -> list[PersonRun]:
    return [person for run in runs for person in run.people]


def _mean_scores(run: StreamRun) -> dict[str, float]:
    """Return the scores of a stream: means over its people, and the counts of its images."""
    people = [scores(person) for person in run.people]
    values = {name: _mean([score[name] for score in people]) for name in people[0]}
    if run.stream.script not in AT_REST:
        values |= dict.fromkeys(('jitter_deg', 'jitter_mm', 'step_deg', 'step_mm'), np.nan)
    return values | {'taken_ids': float(taken_ids(run.people)),
                     'false_faces_per_100_images': 100 * run.false_faces / len(run.stream)}


def _scripts(run: StreamRun) -> list[str]:
    return [run.stream.script]


def distance_bands(stream: Stream) -> list[str]:
    """Return the bands of distance of a stream whose people keep theirs."""
    if stream.script in ('walk', 'cross'):
        return []
    distance = stream.distance
    return ['up to 0.8 m' if distance <= 0.8 else '0.8-1.6 m' if distance <= 1.6 else '2-3 m']


def _distances(run: StreamRun) -> list[str]:
    return distance_bands(run.stream)


def _talking(run: StreamRun) -> list[str]:
    return [f'talk, {run.stream.distance:g} m'] if run.stream.script == 'talk' else []


# kind of group -> the groups that a stream belongs to
GROUPS = {'all': lambda run: ['all'], 'script': _scripts, 'distance': _distances,
          'talk': _talking, 'camera': lambda run: [run.stream.camera],
          'rate': lambda run: [f'{run.stream.rate:g} Hz']}


def _in_order(runs: Iterable[StreamRun], names) -> list[str]:
    if names in (_distances, _talking):
        runs = sorted(runs, key=lambda run: run.stream.distance)
    return list(dict.fromkeys(name for run in runs for name in names(run)))


def _row(rows: list[dict[str, float]]) -> dict[str, Figure | int]:
    """Return means over streams and their standard errors; scores without a value are left out."""
    figures: dict[str, Figure | int] = {'streams': len(rows)}
    for name in rows[0]:
        values = np.array([row[name] for row in rows if np.isfinite(row[name])])
        if len(values):
            figures[name] = mean_and_error(values)
    return figures


def coverage(people: Sequence[PersonRun]) -> dict[str, dict[str, Figure]]:
    """Return per axis the percentages of errors within one and two predicted sigmas.

    The images of a stream are not independent: standard errors are those over streams.
    """
    tracked = [np.abs(person.sigmas[person.found]) for person in people if person.found.any()]
    rows = {}
    for k, name in enumerate(AXIS_ERRORS):
        rows[name.rsplit('_', 1)[0]] = {}
        for level in WITHIN:
            shares = np.array([100 * (sigmas[:, k] < level).mean() for sigmas in tracked])
            counts = np.array([len(sigmas) for sigmas in tracked])
            mean = float(np.average(shares, weights=counts)) if len(shares) else np.nan
            rows[name.rsplit('_', 1)[0]][f'within_{level}_sigma'] = [mean, _standard_error(shares)]
    return rows


def explained_variance(people: Sequence[PersonRun], prior: np.ndarray) -> dict[str, float]:
    """Return 1 - squared errors / squared deviations from the prior's mean (52,), per coefficient.

    Above zero, a coefficient is better than a constant. Coefficients that never moved are left
    out.
    """
    if not any(person.found.any() for person in people):
        return {}
    truth = np.concatenate([person.true_expression[person.found] for person in people])
    value = np.concatenate([person.expression[person.found] for person in people])
    residual, total = ((value - truth) ** 2).sum(0), ((truth - prior) ** 2).sum(0)
    return {name: float(1 - residual[k] / total[k]) for k, name in enumerate(EXPRESSION_NAMES)
            if truth[:, k].std() > 0.01}


def prior_mean() -> np.ndarray:
    """Return the mean (52,) of the coefficients that the generator of people draws."""
    rng = np.random.default_rng(0)
    return np.mean([random_expression(rng) for _ in range(PRIOR_DRAWS)], axis=0)


def mean_and_error(values: np.ndarray) -> Figure:
    """Return the mean of some values and its standard error, NaN of one value."""
    return [float(values.mean()), _standard_error(values)]


def _standard_error(values: np.ndarray) -> float:
    """Return the standard error of a mean; NaN of a single value."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else np.nan


def _mean(values: list[float]) -> float:
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else np.nan
