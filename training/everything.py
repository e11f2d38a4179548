# SPDX-License-Identifier: Apache-2.0
"""From nothing to the shipped weights with one command; run it again after a kill and it goes on."""
from __future__ import annotations

import argparse
from pathlib import Path

# What each stage gets, by the machine: `cpu` is two cores for about 90 minutes in all.
PRESETS = {
    'cpu': {'render': ['--train-scenes', '10240'],
            'finder': ['--steps', '2500', '--batch', '32'],
            'pose': ['--steps', '7000', '--batch', '64'],
            'shape': ['--steps', '7000', '--batch', '64']},
    'gpu': {'render': ['--train-scenes', '65536'],
            'finder': ['--steps', '30000', '--batch', '128', '--loader-workers', '8'],
            'pose': ['--steps', '60000', '--batch', '512', '--loader-workers', '14'],
            'shape': ['--steps', '60000', '--batch', '512', '--loader-workers', '14']},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from training.pool import add_people_arguments
    add_people_arguments(parser)
    parser.add_argument('--preset', choices=PRESETS, default='cpu')
    parser.add_argument('--pools', type=Path, default=Path('training_data'))
    parser.add_argument('--runs', type=Path, default=Path('training_runs'))
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    from training.__main__ import main
    people = [part for name in ('ict', 'hair') if getattr(options, name)
              for part in (f'--{name}', str(getattr(options, name)))]
    shared = ['--pools', str(options.pools), '--seed', str(options.seed)]
    preset = PRESETS[options.preset]
    main(['render', *people, *shared, *preset['render']])
    for network in ('finder', 'pose', 'shape'):
        main([network, *shared, '--runs', str(options.runs), *preset[network]])
    main(['export', '--runs', str(options.runs)])
    main(['evaluate', *people, '--seed', str(options.seed), '--out', str(options.runs / 'evaluation.json')])
