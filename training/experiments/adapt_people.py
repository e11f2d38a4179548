# SPDX-License-Identifier: Apache-2.0
"""Adapt to some people of a real data set and evaluate on the others, by marked landmarks if it has them."""
from __future__ import annotations

import argparse
import copy
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator
from depthface_ros.tools.provenance import measured
from training.adapt.adapt import add_training_arguments, source_windows
from training.adapt.adapted_models import first_networks, fit_settings, write_models
from training.adapt.datasets import Labelled, open_dataset
from training.adapt.self_consistency import self_consistency_figures
from training.adapt.shape_adaptation import adapt_shape
from training.adapt.target_domain import find_faces
from training.data.frame_views import rectified
from training.evaluation.landmarks import landmark_figures, landmark_records
from training.experiments.studies import compute_once, mean_and_spread, result_name, results_of

BEFORE, ORACLE = 'before', 'oracle: the judged people themselves'
CONSISTENT = ('consistency', 'holes')
# Compared rows: name -> methods. The oracle adapts to the people that it is judged on, without labels.
ROWS = {'source only': (), 'adversarial': ('adversarial',), 'rigid-motion consistency': ('consistency',),
        'borrowed holes': ('holes',), 'consistency and borrowed holes': CONSISTENT, ORACLE: CONSISTENT}
FIGURES = {'landmark_mm_mean': 'landmarks, mm', 'mouth_opening_slope': 'mouth opening, slope',
           'mouth_width_slope': 'mouth width, slope', 'mouth_width_correlation': 'correlation',
           'mesh_to_points_mm_median': 'points to mesh, mm', 'mirror_deg_median': 'mirrored, deg',
           'mirror_mm_median': 'mirrored, mm'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dataset', help='its kind, as `kinect2-crops`')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--folds', type=int, default=3,
                        help='so many groups of people, each left out once')
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS))
    parser.add_argument('--step', type=int, default=1, help='use every so many images')
    add_training_arguments(parser)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=Path('training_runs/adapt_people'))
    parser.add_argument('--json', type=Path, help='all figures of the table')


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    source = source_windows(options)
    dataset = open_dataset(options.dataset, options.folder)
    samples = list(dataset)[::options.step]
    before = FaceEstimator('cpu', models_folder=options.models)
    pose_network, start = first_networks(options.models, source)
    for seed, fold in itertools.product(options.seeds, range(options.folds)):
        left_out = dataset.people[fold::options.folds]
        judged, learnt = ([sample for sample in samples if (sample.person in left_out) == out]
                          for out in (True, False))
        folder = options.out / f'fold-{fold}'
        folder.mkdir(parents=True, exist_ok=True)
        compute_once(folder / f'{result_name(BEFORE, 0)}.json', lambda judged=judged: figures(options.models, judged))
        for row in options.rows:
            def outcome(seed=seed, row=row, folder=folder, learnt=learnt, judged=judged) -> dict:
                faces = find_faces((rectified(sample.frame) for sample in (judged if row == ORACLE else learnt)),
                                   before)
                run = folder / result_name(row, seed)
                network = adapt_shape(copy.deepcopy(start), ROWS[row], source, faces, fit_settings(options, seed),
                                      run, torch.device(options.device), options.batch, pose_network)
                write_models(options.models, run, 'face_shape', network,
                             {'adapted': {'methods': ROWS[row]}})
                return figures(run, judged)
            compute_once(folder / f'{result_name(row, seed)}.json', outcome)
    summary = summarise(options)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + '\n')
    Console(width=140).print(summary_table(summary))


def figures(models: Path, judged: list[Labelled]) -> dict[str, float]:
    """Return figures of the whole pipeline: errors at marked points, points to mesh, agreement of copies."""
    estimator = FaceEstimator('cpu_fp32', models_folder=models)
    found = self_consistency_figures(estimator, (rectified(sample.frame) for sample in judged), copies=('mirror',))
    if any(sample.landmarks for sample in judged):
        records, both = landmark_records(judged, estimator)
        row = landmark_figures(records, both, '')['groups']['range']['all']
        found |= {name: value[0] for name, value in row.items()}
    return found


def summarise(options: argparse.Namespace) -> dict:
    """Return means over folds, weighted by detected faces, for each row and seed."""
    rows = {}
    folders = sorted(options.out.glob('fold-*'))
    for row in (BEFORE, *ROWS):
        folds = [results_of(folder, row) for folder in folders]
        complete = sorted(set.intersection(*map(set, folds)))  # seeds that all folds have
        parts = [[fold[name] for fold in folds] for name in complete]
        if parts:
            rows[row] = {name: [round(float(np.average([part[name] for part in of_seed],
                                                       weights=[part['faces'] for part in of_seed])), 4)
                                for of_seed in parts] for name in FIGURES if name in parts[0][0]}
    return {'measured': measured(), 'dataset': options.dataset, 'folds': len(folders), 'steps': options.steps, 'batch': options.batch,
            'learning_rate': options.learning_rate, 'keep_statistics': options.keep_statistics,
            'every': options.step, 'rows': rows}


def summary_table(summary: dict) -> Table:
    """Return means over seeds, with deviations where there are several."""
    table = Table(title=f'{summary["dataset"]}: means over {summary["folds"]} groups of people left out, whole '
                  'pipeline')
    names = [name for name in FIGURES if name in summary['rows'][BEFORE]]
    for heading in ('', *(FIGURES[name] for name in names)):
        table.add_column(heading, justify='right' if heading else 'left')
    for row, values in summary['rows'].items():
        table.add_row(row, *(mean_and_spread(np.array(values[name])) for name in names))
    return table
