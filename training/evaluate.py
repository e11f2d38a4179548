# SPDX-License-Identifier: Apache-2.0
"""Measure the whole pipeline as a robot runs it: whole frames of unseen people and cameras.

Frames go through the head finder and the shipped ONNX files. A face that is not found counts as a
miss. See :mod:`training.evaluation` for what is measured and how.
"""
from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

from depthface_ros.engines import MODELS_FOLDER
from training.evaluation.comparison import changes
from training.evaluation.errors import Record
from training.evaluation.figures import all_figures
from training.evaluation.frames import SyntheticFrames, Trial
from training.evaluation.tables import print_changes, print_figures
from training.pool import add_people_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--frames', type=int, default=2000)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    parser.add_argument('--records', type=Path, help='CSV file for a row per face')
    parser.add_argument('--plots', type=Path, help='folder for plots and a sheet of the worst '
                        'faces; needs matplotlib')
    parser.add_argument('--compare', type=Path, metavar='JSON', help='figures of an earlier run: '
                        'print what changed beyond noise; the exit status is 1 if some got worse')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count())


def run(options: argparse.Namespace) -> int:
    earlier = read_figures(options.compare) if options.compare else None
    if options.plots:
        from training.evaluation import plots  # before the work, so that a lack shows at once
        options.plots.mkdir(parents=True, exist_ok=True)
    trial = Trial(SyntheticFrames('validation', options.seed, options.ict, options.hair),
                  options.models)
    records = trial.records(options.frames, options.workers)
    figures = all_figures(records, options.frames)
    print_figures(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + '\n')
    if options.records:
        write_records(records, options.records)
    if options.plots:
        plots.draw_all(records, trial, options.plots)
    if earlier is None:
        return 0
    found = changes(earlier, figures)
    print_changes(found)
    return int(any(change.worse for change in found))


def read_figures(file: Path) -> dict:
    """Figures that an earlier evaluation wrote.

    :raises ValueError: the file is not of this command.
    """
    figures = json.loads(file.read_text())
    if not isinstance(figures, dict) or 'groups' not in figures or 'within_sigma' not in figures:
        raise ValueError(f'{file} does not hold figures of `python -m training evaluate --out`')
    return figures


def write_records(records: list[Record], file: Path) -> None:
    """A row per face, and one per false face (`real` False), with all that is known of it."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    with file.open('w', newline='') as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        for record in records:
            writer.writerow({name: f'{value:.6g}' if isinstance(value, float) else value
                             for name, value in record.items()})
