# SPDX-License-Identifier: Apache-2.0
"""Scores of one person's track through a stream; see :func:`scores`."""
from __future__ import annotations

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from depthface_ros.geometry.rotations import vector_from_rotation
from training.evaluation.stream_runs import PersonRun
from training.synthesis.streams.motion import MOVING

# name -> seconds since the face came into view, over which errors are averaged
AGES = {'0.1 s': (0.05, 0.25), '1 s': (0.8, 1.2), '3 s': (2.6, 3.4)}
SETTLED_S = 0.4  # s in view until jitter at rest counts
STILL = 1e-5  # rad and m between images, below which a head is at rest
MOVED = 0.05  # least standard deviation of a true coefficient whose correlation is taken
LAST_S = 1.0  # s at the end of a stream
FIRST_S = 0.2  # s in which a face may get its id; images without it are missed after them


def scores(run: PersonRun) -> dict[str, float]:
    """Return the scores of a person in a stream; NaN where a score does not apply.

    missed_percent:          images that show the face for FIRST_S or longer, without a public track
    id_s:                    s from coming into view to the first public track, mean over arrivals
    id_switches:             changes of the id while the person stays in view
    rotation_deg, sellion_mm, surface_mm, face_surface_mm, rigid_mm: means over images; with a
                             suffix `at 1 s` those at that time in view, and `last` of the last
                             second
    jitter_deg, jitter_mm:   at rest: rms deviation from a straight line over time
    step_deg, step_mm:       at rest: rms change of the error between images
    lag_ms, lag_move_ms:     of rotation and position in motion: error = mean - lag velocity
    expression_correlation:  mean correlation over the coefficients in MOVING that moved
    """
    turn, shift = _norm(run.rotation), _norm(run.position)
    values = {'rotation_deg': np.degrees(turn), 'sellion_mm': 1000 * shift,
              'surface_mm': run.surface[:, 0], 'face_surface_mm': run.surface[:, 1],
              'rigid_mm': run.surface[:, 2]}
    seconds = run.stream.seconds
    asked = run.since >= FIRST_S
    result = {'missed_percent': 100 * _mean(~run.found[asked]),
              'id_s': _mean(id_delays(run)),
              'id_switches': float(id_switches(run.ids, run.in_view))}
    for name, value in values.items():
        result[name] = _mean(value)
        result[f'{name} last'] = _mean(value[seconds > seconds[-1] - LAST_S])
        for age, (low, high) in AGES.items():
            result[f'{name} at {age}'] = _mean(value[(run.since >= low) & (run.since <= high)])
    return result | rest_scores(run) | lags(run) | {
        'expression_correlation': expression_score(run)}


def id_delays(run: PersonRun) -> np.ndarray:
    """Return the seconds until a public track of each time that the person came into view.

    A visit without a track counts with its whole length.
    """
    starts = np.flatnonzero(run.since == 0)
    delays = []
    for start, end in zip(starts, [*starts[1:], len(run.since)]):
        shown = np.flatnonzero(run.found[start:end])
        last = np.nanmax(run.since[start:end])
        delays.append(min(run.stream.seconds[start + shown[0]] - run.stream.seconds[start], last)
                      if len(shown) else last)
    return np.array(delays)


def id_switches(ids: np.ndarray, in_view: np.ndarray) -> int:
    """Return how often the id of a person differs from the one before, without leaving between."""
    switches, before = 0, ''
    for name, visible in zip(ids, in_view):
        if not visible:
            before = ''
        elif name:
            switches += bool(before) and name != before
            before = name
    return switches


def taken_ids(people) -> int:
    """Return how many ids of a stream were given to more than one of its people."""
    owners: dict[str, set[int]] = {}
    for run in people:
        for name in set(run.ids) - {''}:
            owners.setdefault(name, set()).add(run.person)
    return sum(len(persons) > 1 for persons in owners.values())


def rest_scores(run: PersonRun) -> dict[str, float]:
    """Return the jitter of a track while the head is at rest and has been in view for SETTLED_S."""
    rest = at_rest(run.poses) & run.found & (run.since >= SETTLED_S)
    if rest.sum() < 4:
        return dict.fromkeys(('jitter_deg', 'jitter_mm', 'step_deg', 'step_mm'), np.nan)
    seconds = run.stream.seconds[rest]
    turn, shift = np.degrees(run.rotation[rest]), 1000 * run.position[rest]
    return {'jitter_deg': _rms(_detrended(seconds, turn)),
            'jitter_mm': _rms(_detrended(seconds, shift)),
            'step_deg': _rms(np.diff(turn, axis=0)), 'step_mm': _rms(np.diff(shift, axis=0))}


def at_rest(poses: np.ndarray) -> np.ndarray:
    """Return (N,) whether a head moves neither to nor from its pose in each image."""
    moved = np.abs(np.diff(poses, axis=0)).max(axis=(1, 2)) > STILL
    return ~(np.append(moved, False) | np.append(False, moved))


def lags(run: PersonRun) -> dict[str, float]:
    """Return the lags in ms, by least squares over the images in motion."""
    seconds, moving = run.stream.seconds, run.found & ~at_rest(run.poses)
    if moving.sum() < 10:
        return {'lag_ms': np.nan, 'lag_move_ms': np.nan}
    rotation, position = run.poses[:, :3, :3].astype(float), run.poses[:, :3, 3].astype(float)
    steps = vector_from_rotation(rotation[1:] @ rotation[:-1].transpose(0, 2, 1))
    steps /= np.diff(seconds)[:, None]
    turning = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])
    velocity = np.gradient(position, seconds, axis=0)
    return {'lag_ms': 1000 * _lag(run.rotation[moving], turning[moving]),
            'lag_move_ms': 1000 * _lag(run.position[moving], velocity[moving])}


def _lag(error: np.ndarray, velocity: np.ndarray) -> float:
    power = (velocity ** 2).sum()
    return -float(((error - error.mean(0)) * velocity).sum() / power) if power > 1e-6 else np.nan


def expression_score(run: PersonRun) -> float:
    """Return the mean correlation over time of the coefficients in MOVING that moved."""
    correlations = []
    for name in MOVING:
        k = EXPRESSION_NAMES.index(name)
        truth, value = run.true_expression[run.found, k], run.expression[run.found, k]
        if len(truth) > 10 and truth.std() > MOVED:
            correlations.append(np.corrcoef(truth, value)[0, 1] if value.std() > 1e-6 else 0.0)
    return _mean(np.array(correlations))


def _detrended(seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
    basis = np.stack([np.ones_like(seconds), seconds], axis=1)
    return values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def _rms(vectors: np.ndarray) -> float:
    return float(np.sqrt(np.mean((vectors ** 2).sum(-1))))


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values.astype(float))]
    return float(values.mean()) if len(values) else np.nan
