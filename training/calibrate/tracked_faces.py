# SPDX-License-Identifier: Apache-2.0
"""Errors of tracked faces by axis, on rendered streams of the people and cameras of training.

Streams show whole faces that differ from those of single frames, from poses that images before
predict. The sigmas of single images are therefore multiplied by factors that are measured here.
"""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from depthface_ros import FaceEstimator, FaceTracker
from depthface_ros.estimation.calibration import TRACKED, Calibration
from training.data.render import people_factory
from training.evaluation.figures import WITHIN
from training.evaluation.processes import spread
from training.evaluation.stream_runs import run_stream
from training.synthesis.scene.cameras import sample_camera
from training.synthesis.streams.render import render_stream
from training.synthesis.streams.scripts import SCRIPTS, Stage
from training.synthesis.streams.stream import Stream

CAST = ('rest', 'talk', 'turn', 'smile', 'walk', 'hand')  # scripts, in turn
RATE, SECONDS = 15.0, 2.0  # Hz; most people move after one second
DISTANCES = (0.5, 2.5)  # m, drawn with a uniform logarithm
CLEARANCE = 0.15  # m between the least distance that a camera measures and a face
SALT = 23
MIN_STREAMS = 12


@dataclass(frozen=True)
class TrackedFaces:
    """Streams of training, and the networks and the calibration whose errors are measured."""

    options: argparse.Namespace  # of people, models and seed
    calibration: Calibration  # without factors of tracked faces

    def sigmas(self, streams: int, workers: int) -> list[np.ndarray]:
        """Return the errors (N, 6) of each stream's tracked faces, divided by their sigmas."""
        people_factory('train', self.options)  # bakes its cache before workers need it
        tasks = [(self, number) for number in range(streams)]
        return list(spread(_run_task, tasks, workers, 'tracking'))


def training_stream(number: int, people, seed: int) -> Stream:
    """Render a stream of a random camera at a random distance."""
    rng = np.random.default_rng([seed, SALT, number])
    camera, script = sample_camera(rng, 'train'), CAST[number % len(CAST)]
    nearest = max(DISTANCES[0], camera.sensor.min_range + CLEARANCE)
    distance = float(np.exp(rng.uniform(*np.log([nearest, max(nearest, DISTANCES[1])]))))
    play = SCRIPTS[script][0](Stage(rng, people, camera, distance))
    return render_stream(f'{script}-{number}', script, replace(play, seconds=SECONDS), camera, RATE,
                         distance, int(rng.integers(2 ** 31)))


def fit_tracked_factors(sigmas: Sequence[np.ndarray], fit_scale) -> dict[str, float]:
    """Return the factors of tracked faces of a calibration, by name.

    :param sigmas: per stream (N, 6), errors divided by the sigmas of single images.
    :param fit_scale: returns the scale of ratios.
    :raises ValueError: there are too few streams with a face.
    """
    shown = [ratios for ratios in sigmas if len(ratios)]
    if len(shown) < MIN_STREAMS:
        raise ValueError(f'{len(shown)} streams show a tracked face: expected {MIN_STREAMS}; take '
                         'more --streams')
    ratios = np.concatenate(shown)
    names = [field.name for field in fields(Calibration) if field.name.startswith(TRACKED)]
    return {name: fit_scale(ratios[:, k]) for k, name in enumerate(names)}


def print_coverage(sigmas: Sequence[np.ndarray], factors: dict[str, float]) -> None:
    """Print the fractions of errors within one and two sigmas, before and after."""
    ratios = np.abs(np.concatenate([part for part in sigmas if len(part)]))
    print(f'tracked faces, {len(ratios)} images of {len(sigmas)} streams, within one and two sigma:')
    for k, (name, factor) in enumerate(factors.items()):
        before, after = (' / '.join(f'{100 * (ratios[:, k] < level * scale).mean():.0f}'
                                    for level in WITHIN) for scale in (1, factor))
        print(f'  {name:24} {factor:5.2f}  {before} % -> {after} %')


def _run_task(task: tuple[TrackedFaces, int]) -> np.ndarray:
    trial, number = task
    torch.set_num_threads(1)
    stream = training_stream(number, people_factory('train', trial.options), trial.options.seed)
    run = run_stream(_tracker(trial.options.models, trial.calibration), stream)
    return np.concatenate([person.sigmas[person.found & person.in_view] for person in run.people])


@cache
def _tracker(models: Path, calibration: Calibration) -> FaceTracker:
    return FaceTracker(FaceEstimator('cpu', models_folder=models, calibration=calibration))
