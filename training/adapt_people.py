# SPDX-License-Identifier: Apache-2.0
"""Adapt to real people and judge on others: label-free figures, each person left out once."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator
from depthface_ros.alignment import AlignmentConfig
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimator import EstimatorConfig
from depthface_ros.recordings import Frame
from training.adapt import PRESETS, settings, typical_crops, write_models
from training.adapt_study import ROWS, keep
from training.augment import shape_batch
from training.datasets import open_dataset
from training.frames import rectified
from training.from_onnx import load_onnx
from training.label_free import label_free_figures
from training.pool import Windows
from training.shape_adaptation import adapt_shape
from training.target import find_faces

LABEL_FREE_ROWS = [row for row in ROWS if row not in ('oracle', 'target statistics')]
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
    parser.add_argument('--pools', type=Path, default=Path('training_data'),
                        help='with windows-train: the source')
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='networks to start from')
    parser.add_argument('--out', type=Path, default=Path('training_runs/adapt_people'))
    parser.add_argument('--preset', choices=PRESETS, default='cpu')
    parser.add_argument('--steps', type=int, help='default: that of the preset')
    parser.add_argument('--loader-workers', type=int, default=0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    for name, value in PRESETS[options.preset].items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    source = Windows.load(options.pools / 'windows-train', slice(0, options.shards))
    dataset = open_dataset(options.dataset, options.folder)
    samples = list(dataset)
    before = FaceEstimator('cpu', models_folder=options.models)
    for fold in range(options.folds):
        left_out = dataset.people[fold::options.folds]
        judged, learnt = ([rectified(sample.frame) for sample in samples
                           if (sample.person in left_out) == out]
                          for out in (True, False))
        folder = options.out / f'fold-{fold}'
        folder.mkdir(parents=True, exist_ok=True)
        keep(folder / 'before.json', lambda judged=judged: figures(options.models, judged))
        faces = find_faces(learnt, before)
        for row in options.rows:
            def outcome(row=row, folder=folder, faces=faces, judged=judged) -> dict:
                start = load_onnx('face_shape', options.models / 'face_shape.onnx',
                                  typical_crops(source, shape_batch))
                run = folder / row.replace(' ', '-')
                network = adapt_shape(start, ROWS[row], source, faces, settings(options), run,
                                      torch.device(options.device), options.batch)
                write_models(options.models, run, 'face_shape', network,
                             {'adapted': {'methods': ROWS[row]}})
                return figures(run, judged)
            keep(folder / f'{row.replace(" ", "-")}.json', outcome)
    print_table(options.out)


def figures(models: Path, frames: list[Frame]) -> dict[str, dict[str, float]]:
    """Label-free figures of the networks alone and of the whole pipeline."""
    return {stage: label_free_figures(FaceEstimator('cpu', config, models_folder=models), frames)
            for stage, config in STAGES.items()}


def print_table(out: Path) -> None:
    """Means over folds, weighted by the faces found in each."""
    names = ('mesh_to_points_mm_median', 'mirror_deg_median', 'mirror_mm_median',
             'roll_deg_median', 'roll_mm_median')
    for stage in STAGES:
        table = Table(title=f'{out.name}, {stage}; medians over faces, means over people left out')
        for name in ('', 'faces', *names):
            table.add_column(name.replace('_', ' ').removesuffix(' median'),
                             justify='right' if name else 'left')
        for row in ('before', *LABEL_FREE_ROWS):
            parts = [json.loads(path.read_text())[stage]
                     for path in sorted(out.glob(f'fold-*/{row.replace(" ", "-")}.json'))]
            if parts:
                faces = [part['faces'] for part in parts]
                table.add_row(row, f'{sum(faces)} of {sum(part["frames"] for part in parts)}', *(
                    f'{np.average([part[name] for part in parts], weights=faces):.2f}'
                    for name in names))
        Console(width=120).print(table)
