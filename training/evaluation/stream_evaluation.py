# SPDX-License-Identifier: Apache-2.0
"""Render streams where they are missing, track them, and report: `evaluate --streams`."""
from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from depthface_ros import FaceEstimator, FaceTracker
from training.data.render import people_factory
from training.evaluation.groups import Figure
from training.evaluation.processes import spread
from training.evaluation.stream_figures import stream_figures
from training.evaluation.stream_runs import StreamRun, run_stream
from training.evaluation.tables import WIDTH
from training.synthesis.streams.scripts import SCRIPTS, name_of, written
from training.synthesis.streams.stream import Stream

COLUMNS = {  # heading -> figures of a group, and their form
    'missed %': (('missed_percent',), '.1f'),
    'id s': (('id_s',), '.2f'), 'switches': (('id_switches', 'taken_ids'), '.2f'),
    'rotation deg 0.1 / 1 / 3 s': (tuple(f'rotation_deg at {age} s' for age in (0.1, 1, 3)), '.2f'),
    'last s': (('rotation_deg last',), '.2f'),
    'sellion mm': (('sellion_mm',), '.1f'),
    'surface mm posed / face / rigid': (
        ('surface_mm last', 'face_surface_mm last', 'rigid_mm last'), '.2f'),
    'jitter deg / mm': (('jitter_deg', 'jitter_mm'), '.2f'),
    'lag ms turn / move': (('lag_ms', 'lag_move_ms'), '.0f'),
    'expression r': (('expression_correlation',), '.2f')}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--streams', action='store_true', help='rendered streams through the '
                        'tracker instead of single frames')
    parser.add_argument('--streams-per-script', type=int, default=4, metavar='N',
                        help='12 have all cameras at all distances')
    parser.add_argument('--streams-folder', type=Path, default=Path('training_data/streams'),
                        help='where rendered streams are kept, to be taken again; remove it after '
                        'changes of the generator')
    parser.add_argument('--scripts', nargs='+', choices=SCRIPTS, default=list(SCRIPTS),
                        metavar='SCRIPT', help=', '.join(SCRIPTS))


def evaluate_streams(options: argparse.Namespace) -> dict:
    """Return the figures of the tracker, after printing them."""
    tasks = [(options, script, number) for script in options.scripts
             for number in range(options.streams_per_script)]
    if not all(_file(*task).exists() for task in tasks):
        people_factory('validation', options)  # bakes its cache before workers need it
    runs = list(spread(_run_task, tasks, options.workers, 'tracking'))
    figures = {'streams': len(runs)} | stream_figures(runs)
    print_streams(figures)
    return figures


def open_stream(options: argparse.Namespace, script: str, number: int) -> Stream:
    """Load a stream of `options.streams_folder`, or render it to there."""
    file = _file(options, script, number)
    if not file.exists():
        written(script, number, people_factory('validation', options), options.seed).save(
            options.streams_folder)
    return Stream.load(file)


def _file(options: argparse.Namespace, script: str, number: int) -> Path:
    return options.streams_folder / f'{name_of(script, number, options.seed)}.json'


def _run_task(task: tuple[argparse.Namespace, str, int]) -> StreamRun:
    options, script, number = task
    torch.set_num_threads(1)
    run = run_stream(_tracker(options.models), open_stream(options, script, number))
    return replace(run, people=[person.without_images() for person in run.people],
                   stream=run.stream.without_images())


@cache
def _tracker(models: Path) -> FaceTracker:
    return FaceTracker(FaceEstimator('cpu', models_folder=models))


def print_streams(figures: dict, console: Console | None = None) -> None:
    """Print the groups, the coverage, and how many coefficients beat the prior's mean."""
    console = console or Console(width=WIDTH)
    table = Table(title=f'{figures["streams"]} synthetic streams', box=box.SIMPLE_HEAD,
                  title_justify='left')
    table.add_column('group', no_wrap=True)
    for heading in ('streams', *COLUMNS):
        table.add_column(heading, justify='right')
    for rows in figures['groups'].values():
        for name, row in rows.items():
            table.add_row(name, str(row['streams']), *(
                ' / '.join(_text(row.get(key), form) for key in keys)
                for keys, form in COLUMNS.values()))
        table.add_section()
    console.print(table)
    console.print('within 1 / 2 predicted sigmas, %: ' + ', '.join(
        f'{axis} {row["within_1_sigma"][0]:.0f} / {row["within_2_sigma"][0]:.0f}'
        for axis, row in figures['coverage'].items()))
    explained = figures['explained_variance']
    if explained:
        console.print(f'coefficients that beat the mean of the prior within 1 m: '
                      f'{sum(value > 0 for value in explained.values())} of {len(explained)}')


def _text(figure: Figure | None, form: str) -> str:
    return '-' if figure is None else format(figure[0], form)
