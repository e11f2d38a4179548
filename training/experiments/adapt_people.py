# SPDX-License-Identifier: Apache-2.0
"""Adapt to some people of a real data set and evaluate on the others, by marked landmarks.

Each way to adapt is judged on people whose images no training used; only the oracle adapts to the
judged people. All take equally many steps.
"""
from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator
from depthface_ros.io.frame import Frame
from depthface_ros.tools.progress import progress
from depthface_ros.tools.provenance import measured
from training.adapt.adapt import add_training_arguments, source_windows
from training.adapt.adapted_models import first_networks, fit_settings, write_models
from training.adapt.datasets import Labelled, open_dataset
from training.adapt.pipeline_labels import Labeller
from training.adapt.report import synthetic_faces, synthetic_figures
from training.adapt.shape_adaptation import adapt_shape
from training.adapt.target_domain import concatenate
from training.data.augment import Observation
from training.data.frame_views import rectified
from training.evaluation.landmarks import landmark_figures, landmark_records
from training.evaluation.self_consistency import self_consistency_figures
from training.experiments.adapt_people_table import BEFORE, FIGURES, caption, table_cells
from training.experiments.studies import compute_once, result_name, results_of

ORACLE = 'oracle'  # self-training on the judged people
# Ways to adapt: name -> methods.
ROWS = {'source only': (), 'adversarial': ('adversarial',),
        'consistency and borrowed holes': ('consistency', 'holes'),
        'self-training': ('self-training',), ORACLE: ('self-training',)}


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
    parser.add_argument('--other', nargs=2, metavar=('KIND', 'FOLDER'),
                        help='frames of another camera, to see whether it is harmed')
    parser.add_argument('--json', type=Path, help='all figures of the table')


def run(options: argparse.Namespace) -> None:
    """Train and judge each way to adapt by seed and group of people, and print a table."""
    torch.set_num_threads(1)
    source = source_windows(options)
    dataset = open_dataset(options.dataset, options.folder)
    samples = list(dataset)
    other = list(open_dataset(*options.other)) if options.other else []
    people = labelled_people(samples, Labeller(options.models))
    pose_network, start = first_networks(options.models, source)
    judge = Judge(synthetic_faces(options.pools), [rectified(sample.frame) for sample in other])
    for seed, row, fold in itertools.product(options.seeds, options.rows, range(options.folds)):
        left_out = dataset.people[fold::options.folds]
        judged = [sample for sample in samples if sample.person in left_out][::options.judge_every]
        folder = options.out / f'fold-{fold}'
        folder.mkdir(parents=True, exist_ok=True)
        compute_once(folder / f'{result_name(BEFORE, 0)}.json',
                     lambda judged=judged: judge(options.models, start, judged))
        # without a target, all groups share one training
        run = (folder if ROWS[row] else options.out) / result_name(row, seed)
        faces = concatenate([people[name] for name in people
                          if (name in left_out) == (row == ORACLE)])

        def outcome(seed=seed, row=row, run=run, faces=faces, judged=judged) -> dict:
            network = adapt_shape(start, ROWS[row], source, faces, fit_settings(options, seed), run,
                                  torch.device(options.device), options.batch, pose_network)
            write_models(options.models, run, 'face_shape', network,
                         {'adapted': {'methods': ROWS[row]}})
            return judge(run, network, judged)
        compute_once(folder / f'{result_name(row, seed)}.json', outcome)
    summary = summarise(options)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1) + '\n')
    print_table(summary)


def labelled_people(samples: list[Labelled], labeller: Labeller) -> dict[str, Observation]:
    """Return the faces of each person with the labels of the pipeline; no mark of a person is used."""
    names = sorted({sample.person for sample in samples})
    return {name: labeller(rectified(sample.frame) for sample in samples if sample.person == name)
            for name in progress(names, len(names), 'labelling people')}


class Judge(NamedTuple):
    """Measures a folder of networks on people, on synthetic strangers and before another camera."""

    synthetic: dict[str, torch.Tensor]  # a labelled batch
    other: list[Frame]  # of another camera than the one to adapt to; rectified

    def __call__(self, models: Path, network: torch.nn.Module,
                 judged: list[Labelled]) -> dict[str, float]:
        """Return errors of the whole pipeline, and true errors of its shape network alone."""
        estimator = FaceEstimator('cpu_fp32', models_folder=models)
        figures = _consistency(estimator, [rectified(sample.frame) for sample in judged])
        if any(sample.landmarks for sample in judged):
            records, both = landmark_records(judged, estimator)
            row = landmark_figures(records, both, '')['groups']['range']['all']
            figures |= {name: value[0] for name, value in row.items()}
        synthetic = synthetic_figures(network, self.synthetic)
        figures |= {f'synthetic_{name}': value for name, value in synthetic.items()}
        if self.other:
            figures |= {f'other_{name}': value
                        for name, value in _consistency(estimator, self.other).items()}
        return figures


def _consistency(estimator: FaceEstimator, frames: list[Frame]) -> dict[str, float]:
    return self_consistency_figures(estimator, frames, copies=('mirror',))


def summarise(options: argparse.Namespace) -> dict:
    """Return the figures of each way to adapt by seed and fold; a seed counts if it has all folds."""
    rows = {}
    folders = sorted(options.out.glob('fold-*'))
    for row in (BEFORE, *ROWS):
        folds = [results_of(folder, row) for folder in folders]
        complete = sorted(set.intersection(*map(set, folds)))
        results = [[fold[seed] for fold in folds] for seed in complete]
        if results:
            rows[row] = {name: [[round(each[name], 4) for each in of_seed] for of_seed in results]
                         for name in FIGURES
                         if all(name in each for of_seed in results for each in of_seed)}
    return {'measured': measured(), 'dataset': options.dataset, 'folds': len(folders),
            'steps': options.steps, 'batch': options.batch, 'learning_rate': options.learning_rate,
            'judge_every': options.judge_every, 'rows': rows}


def print_table(summary: dict) -> None:
    heading, rows = table_cells(summary)
    table = Table(*heading, title=summary['dataset'], caption=caption(summary))
    for row in rows:
        table.add_row(*row)
    Console(width=180).print(table)
