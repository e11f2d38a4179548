# SPDX-License-Identifier: Apache-2.0
"""Measure the whole pipeline as a robot runs it: whole frames of unseen people and cameras.

Frames pass through the head detector and the shipped ONNX files. Faces that are not found count as
missed. :mod:`training.evaluation.errors` defines the errors. Frames are synthetic, or come from a
data set of real people that the user has.
"""
from __future__ import annotations

import argparse
import csv
import json
import os
from itertools import chain, islice
from pathlib import Path

from rich.console import Console

from depthface_ros import FaceEstimator
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.tools.provenance import measured
from training.adapt.datasets import open_dataset
from training.data.render import add_people_arguments
from training.evaluation.comparison import changes
from training.evaluation.errors import Record
from training.evaluation.figures import all_figures
from training.evaluation.frames import SyntheticFrames, Trial
from training.evaluation.landmarks import (
    compared_landmarks,
    estimated,
    landmark_figures,
    landmark_table,
)
from training.evaluation.people_as_streams import as_streams
from training.evaluation.real import (
    real_figures,
    real_records,
    real_table,
    unlabelled_figures,
)
from training.evaluation.stream_evaluation import add_arguments as add_stream_arguments
from training.evaluation.stream_evaluation import evaluate_streams
from training.evaluation.tables import WIDTH, print_changes, print_figures, write_markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, help='by default 2000, or all of a data set')
    parser.add_argument('--dataset', metavar='KIND', help='real people instead: biwi, pandora, '
                        'kinect2-crops, frames for a bag or a folder of depth images, or '
                        'one-person for such frames that show one face each')
    parser.add_argument('--folder', type=Path, help='where the data set is')
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    parser.add_argument('--markdown', type=Path, help='file for the tables, to go into a page')
    parser.add_argument('--records', type=Path, help='CSV file for a row per face')
    parser.add_argument('--plots', type=Path, help='folder for plots and a sheet of the worst '
                        'faces; needs matplotlib')
    parser.add_argument('--compare', type=Path, metavar='JSON', help='figures of an earlier run: '
                        'print what changed beyond noise; the exit status is 1 if some got worse')
    parser.add_argument('--perfect-camera', action='store_true', help='the same scenes without the '
                        'noise and the holes of a sensor: what is left is not the camera\'s fault')
    add_stream_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())


def run(options: argparse.Namespace) -> int:
    earlier = read_figures(options.compare) if options.compare else None
    if options.streams:
        records, figures = [], evaluate_streams(options)
    else:
        records, figures = (evaluate_dataset if options.dataset else evaluate_synthetic)(options)
    if options.out:
        options.out.write_text(json.dumps({'measured': measured()} | figures, indent=1) + '\n')
    if options.records:
        write_records(records, options.records)
    if earlier is None:
        return 0
    found = changes(earlier, figures)
    print_changes(found)
    return int(any(change.worse for change in found))


def evaluate_synthetic(options: argparse.Namespace) -> tuple[list[Record], dict]:
    """Evaluate frames of the validation split; return records and figures."""
    if options.plots:
        from training.evaluation import plots  # fails early if it is missing
        options.plots.mkdir(parents=True, exist_ok=True)
    trial = Trial(SyntheticFrames('validation', options.seed, options.ict, options.hair,
                                  options.perfect_camera), options.models)
    count = options.frames or 2000
    records = trial.records(count, options.workers)
    figures = all_figures(records, count)
    print_figures(figures)
    if options.markdown:
        write_markdown(figures, options.markdown)
    if options.plots:
        plots.draw_all(records, trial, options.plots)
    return records, figures


def evaluate_dataset(options: argparse.Namespace) -> tuple[list[Record], dict]:
    """Evaluate frames of a data set of real people; return records and figures.

    :returns: the records are empty for a data set without labels.
    :raises ValueError: --folder is missing, or an option requires rendered frames.
    """
    if options.folder is None or options.plots:
        raise ValueError('--dataset needs --folder, and draws no --plots: take its --records')
    if options.perfect_camera:
        raise ValueError('--dataset has the noise it was recorded with: leave out --perfect-camera, '
                         'which is for rendered frames')
    dataset = islice(open_dataset(options.dataset, options.folder), options.frames)
    estimator = FaceEstimator('cpu', models_folder=options.models)
    first = next(dataset, None)
    if first is None:
        raise ValueError(f'{options.folder}: there is no frame in this data set')
    frames, kind = chain([first], dataset), options.dataset
    if first.camera_from_head is not None:
        records = real_records(frames, estimator)
        figures = real_figures(records, kind)
    elif first.landmarks is not None:
        frames = list(frames)
        pairs = list(estimated(frames, estimator))
        records, marked = compared_landmarks(pairs, estimator.face_model)
        figures = landmark_figures(records, marked, kind)
        in_streams = landmark_figures(
            *compared_landmarks(as_streams(pairs), estimator.face_model), kind)
        figures['groups']['range']['tracked'] = in_streams['groups']['range']['all']
        without_labels = unlabelled_figures(frames, estimator, kind)['groups']['range']['all']
        figures['groups']['range']['all'] = without_labels | figures['groups']['range']['all']
    else:
        records, figures = [], unlabelled_figures(frames, estimator, kind)
    table = real_table if first.landmarks is None else landmark_table
    Console(width=WIDTH).print(table(figures))
    return records, figures


def read_figures(file: Path) -> dict:
    """Return the figures that an earlier evaluation wrote.

    :raises ValueError: another program wrote the file.
    """
    figures = json.loads(file.read_text())
    if not isinstance(figures, dict) or 'groups' not in figures or 'within_sigma' not in figures:
        raise ValueError(f'{file} does not hold figures of `python -m training evaluate --out`')
    return figures


def write_records(records: list[Record], file: Path) -> None:
    """Write a row with all values per face, and one per false face (`real` False)."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    with file.open('w', newline='') as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        for record in records:
            writer.writerow({name: f'{value:.6g}' if isinstance(value, float) else value
                             for name, value in record.items()})
