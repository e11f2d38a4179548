# SPDX-License-Identifier: Apache-2.0
"""Adapt to real people and evaluate on others: label-free figures, each person left out once."""
from __future__ import annotations

import argparse
import copy
import itertools
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.io.frame import Frame
from training.adapt.adapt import add_training_arguments, source_windows
from training.adapt.adapted_models import first_networks, fit_settings, write_models
from training.adapt.datasets import open_dataset
from training.adapt.self_consistency import self_consistency_figures
from training.adapt.shape_adaptation import adapt_shape
from training.adapt.target_domain import find_faces
from training.data.frame_views import rectified
from training.experiments.adapt_study import ROWS
from training.experiments.studies import compute_once, mean_and_spread, result_name, results_of

LABEL_FREE_ROWS = [row for row in ROWS if row not in ('oracle', 'target statistics')]
BEFORE = 'before'  # without adaptation
STAGES = {'networks alone': EstimatorConfig(alignment=AlignmentConfig(steps=0)),
          'with alignment': EstimatorConfig()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dataset', help='its kind, as `kinect2-crops`')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--folds', type=int, default=3,
                        help='so many groups of people, each left out once')
    parser.add_argument('--rows', nargs='+', choices=LABEL_FREE_ROWS,
                        default=['source only', 'adversarial', 'mesh to points',
                                 'adversarial and mesh to points'])
    add_training_arguments(parser)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=Path('training_runs/adapt_people'))


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    source = source_windows(options)
    dataset = open_dataset(options.dataset, options.folder)
    samples = list(dataset)
    before = FaceEstimator('cpu', models_folder=options.models)
    pose_network, start = first_networks(options.models, source)
    for fold in range(options.folds):
        left_out = dataset.people[fold::options.folds]
        judged, learnt = ([rectified(sample.frame) for sample in samples
                           if (sample.person in left_out) == out]
                          for out in (True, False))
        folder = options.out / f'fold-{fold}'
        folder.mkdir(parents=True, exist_ok=True)
        compute_once(folder / f'{result_name(BEFORE, 0)}.json', lambda judged=judged: figures(options.models, judged))
        faces = find_faces(learnt, before)
        for seed, row in itertools.product(options.seeds, options.rows):
            def outcome(seed=seed, row=row, folder=folder, faces=faces, judged=judged) -> dict:
                run = folder / result_name(row, seed)
                network = adapt_shape(copy.deepcopy(start), ROWS[row], source, faces, fit_settings(options, seed),
                                      run, torch.device(options.device), options.batch, pose_network)
                write_models(options.models, run, 'face_shape', network,
                             {'adapted': {'methods': ROWS[row]}})
                return figures(run, judged)
            compute_once(folder / f'{result_name(row, seed)}.json', outcome)
    print_table(options.out)


def figures(models: Path, frames: list[Frame]) -> dict[str, dict[str, float]]:
    """Return label-free figures of the networks alone and of the whole pipeline."""
    return {stage: self_consistency_figures(FaceEstimator('cpu', config, models_folder=models), frames)
            for stage, config in STAGES.items()}


def print_table(out: Path) -> None:
    """Print means over folds, weighted by detected faces, and their spread over seeds."""
    names = ('mesh_to_points_mm_median', 'mirror_deg_median', 'mirror_mm_median',
             'roll_deg_median', 'roll_mm_median')
    for stage in STAGES:
        table = Table(title=f'{out.name}, {stage}: medians over faces, means over people left out, '
                      'deviations over seeds')
        for name in ('', 'faces', *names):
            table.add_column(name.replace('_', ' ').removesuffix(' median'),
                             justify='right' if name else 'left')
        for row in (BEFORE, *LABEL_FREE_ROWS):
            folds = [results_of(folder, row) for folder in sorted(out.glob('fold-*'))]
            # by seeds that all folds have; (S, folds)
            found = [[fold[name][stage] for fold in folds] for name in sorted(set.intersection(*map(set, folds)))]
            if found:
                means = np.array([np.average([[part[name] for name in names] for part in parts], axis=0,
                                             weights=[part['faces'] for part in parts]) for parts in found])
                faces, frames = (sum(part[name] for parts in found for part in parts)
                                 for name in ('faces', 'frames'))
                table.add_row(row, f'{faces} of {frames}', *map(mean_and_spread, means.T))
        Console(width=120).print(table)
