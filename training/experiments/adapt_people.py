# SPDX-License-Identifier: Apache-2.0
"""Adapt to some people of a real data set and evaluate on the others, by landmarks that people marked.

Each row is judged on people whose images no training used; the oracle adapts to the judged people.
All rows but the first take as many steps of the same batches.
"""
from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator
from depthface_ros.tools.progress import progress
from depthface_ros.tools.provenance import measured
from training.adapt.adapt import add_training_arguments, source_windows
from training.adapt.adapted_models import first_networks, fit_settings, write_models
from training.adapt.datasets import Labelled, open_dataset
from training.adapt.pipeline_labels import Labeller
from training.adapt.report import synthetic_faces, synthetic_figures
from training.adapt.shape_adaptation import adapt_shape
from training.adapt.target_domain import together
from training.data.augment import Observation
from training.data.frame_views import rectified
from training.evaluation.landmarks import landmark_figures, landmark_records
from training.evaluation.self_consistency import self_consistency_figures
from training.experiments.studies import change, compute_once, result_name, results_of

BEFORE, ORACLE = 'before', 'oracle: self-training on the judged people'
# Compared rows: name -> methods.
ROWS = {'source only': (), 'adversarial': ('adversarial',),
        'consistency and borrowed holes': ('consistency', 'holes'), 'self-training': ('self-training',),
        ORACLE: ('self-training',)}
FIGURES = {'landmark_mm_mean': 'landmarks, mm', 'mouth_opening_correlation': 'mouth opening, correlation',
           'mouth_opening_slope': 'slope', 'mouth_width_correlation': 'mouth width, correlation',
           'mouth_width_slope': 'slope', 'mesh_to_points_mm_median': 'points to mesh, mm',
           'mirror_deg_median': 'mirrored, deg', 'mirror_mm_median': 'mirrored, mm',
           'synthetic_shape_mm': 'synthetic shape, mm', 'synthetic_posed_mm': 'synthetic mesh, mm'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dataset', help='its kind, as `kinect2-crops`')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--folds', type=int, default=3,
                        help='so many groups of people, each left out once')
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS))
    parser.add_argument('--judge-every', type=int, default=1, help='judge on every so many images')
    add_training_arguments(parser)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=Path('training_runs/adapt_people'))
    parser.add_argument('--json', type=Path, help='all figures of the table')


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    source, synthetic = source_windows(options), synthetic_faces(options.pools)
    dataset = open_dataset(options.dataset, options.folder)
    samples = list(dataset)
    people = labelled_people(samples, Labeller(options.models))
    pose_network, start = first_networks(options.models, source)
    for seed, row, fold in itertools.product(options.seeds, options.rows, range(options.folds)):
        left_out = dataset.people[fold::options.folds]
        judged = [sample for sample in samples if sample.person in left_out][::options.judge_every]
        folder = options.out / f'fold-{fold}'
        folder.mkdir(parents=True, exist_ok=True)
        compute_once(folder / f'{result_name(BEFORE, 0)}.json',
                     lambda judged=judged: figures(options.models, judged, start, synthetic))

        def outcome(seed=seed, row=row, folder=folder, left_out=left_out, judged=judged) -> dict:
            faces = together([people[name] for name in people if (name in left_out) == (row == ORACLE)])
            run = folder / result_name(row, seed)
            network = adapt_shape(start, ROWS[row], source, faces, fit_settings(options, seed),
                                  run, torch.device(options.device), options.batch, pose_network)
            write_models(options.models, run, 'face_shape', network, {'adapted': {'methods': ROWS[row]}})
            return figures(run, judged, network, synthetic)
        compute_once(folder / f'{result_name(row, seed)}.json', outcome)
    summary = summarise(options)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + '\n')
    Console(width=180).print(summary_table(summary))


def labelled_people(samples: list[Labelled], labeller: Labeller) -> dict[str, Observation]:
    """Return the faces of each person with the labels of the pipeline; no mark of a person is used."""
    names = sorted({sample.person for sample in samples})
    return {name: labeller(rectified(sample.frame) for sample in samples if sample.person == name)
            for name in progress(names, len(names), 'labelling people')}


def figures(models: Path, judged: list[Labelled], network: torch.nn.Module,
            synthetic: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return errors of the whole pipeline at marked points and between copies, and on synthetic strangers."""
    estimator = FaceEstimator('cpu_fp32', models_folder=models)
    found = self_consistency_figures(estimator, (rectified(sample.frame) for sample in judged), copies=('mirror',))
    if any(sample.landmarks for sample in judged):
        records, both = landmark_records(judged, estimator)
        row = landmark_figures(records, both, '')['groups']['range']['all']
        found |= {name: value[0] for name, value in row.items()}
    return found | {f'synthetic_{name}': value for name, value in synthetic_figures(network, synthetic).items()}


def summarise(options: argparse.Namespace) -> dict:
    """Return the figures of each row, by seed and fold; a seed counts if all folds have it."""
    rows = {}
    folders = sorted(options.out.glob('fold-*'))
    for row in (BEFORE, *ROWS):
        folds = [results_of(folder, row) for folder in folders]
        complete = sorted(set.intersection(*map(set, folds)))
        if complete:
            first = folds[0][complete[0]]
            rows[row] = {name: [[round(fold[seed][name], 4) for fold in folds] for seed in complete]
                         for name in FIGURES if name in first}
    return {'measured': measured(), 'dataset': options.dataset, 'folds': len(folders), 'steps': options.steps, 'batch': options.batch,
            'learning_rate': options.learning_rate, 'judge_every': options.judge_every, 'rows': rows}


def summary_table(summary: dict) -> Table:
    """Return means over folds and seeds, with changes and their standard errors over folds."""
    table = Table(title=f'{summary["dataset"]}: means over {summary["folds"]} groups of people left out, whole '
                  'pipeline; change against before, standard error over groups')
    before = summary['rows'][BEFORE]
    for heading in ('', 'seeds', *(FIGURES[name] for name in before)):
        table.add_column(heading, justify='right' if heading else 'left')
    for row, values in summary['rows'].items():
        seeds = len(next(iter(values.values())))
        table.add_row(row, str(seeds), *('{:.2f} ({:+.3f} ± {:.3f})'.format(*change(values[name], before[name]))
                                         for name in before))
    return table
