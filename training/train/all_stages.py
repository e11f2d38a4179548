# SPDX-License-Identifier: Apache-2.0
"""Run all stages, from nothing to the shipped weights; a second run resumes a killed one."""
from __future__ import annotations

import argparse
from pathlib import Path

# Options of each stage, by machine: `cpu` is two cores for about 90 minutes in all. `started` are further options
# of pose and shape network with --start, so that small batches do not destroy what is learnt.
PRESETS = {
    'cpu': {'scenes': 20_480, 'detector': ['--steps', '6000', '--batch', '32'],
            'pose': ['--steps', '10000', '--batch', '64'],
            'shape': ['--steps', '7000', '--batch', '64', '--learning-rate', '0.0015'],
            'refiner': [], 'started': ['--keep-statistics', '--learning-rate', '0.00006']},
    'gpu': {'scenes': 65_536,
            'detector': ['--steps', '20000', '--batch', '64'],
            'pose': ['--steps', '20000', '--batch', '1024', '--learning-rate', '0.0025', '--compile'],
            'shape': ['--steps', '20000', '--batch', '1024', '--learning-rate', '0.0025', '--compile'],
            'refiner': ['--steps', '10000'], 'started': []},
}
TRAINED = ('detector', 'pose', 'shape', 'refiner')
MORE_SCENES = 0.1  # fraction of scenes with false detections of the trained detector, as negatives


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from training.data.render import add_people_arguments
    add_people_arguments(parser)
    parser.add_argument('--preset', choices=PRESETS, default='cpu')
    parser.add_argument('--start', type=Path, metavar='MODELS', help='train on from the networks in this folder of '
                        'ONNX files (those that ship: depthface_ros/models), not from nothing')
    parser.add_argument('--pools', type=Path, default=Path('training_data'))
    parser.add_argument('--runs', type=Path, default=Path('training_runs'))
    parser.add_argument('--seed', type=int, default=0)


def run(options: argparse.Namespace) -> None:
    from training.__main__ import main
    from training.data.render import SCENES_PER_SHARD
    from training.train import parallel
    preset = PRESETS[options.preset]
    people = [part for name in ('ict', 'hair') if getattr(options, name)
              for part in (f'--{name}', str(getattr(options, name)))]
    shared = ['--pools', str(options.pools), '--seed', str(options.seed)]
    runs = ['--runs', str(options.runs)]
    trained = [*shared, *runs, *(['--start', str(options.start)] if options.start else [])]
    started = preset['started'] if options.start else []

    def stage(command: str, *arguments: str) -> None:
        """Run a stage: training in all processes of a torchrun, anything else in the first one."""
        if command in TRAINED or parallel.rank() == 0:
            main([command, *arguments])
        parallel.wait()

    stage('render', *people, *shared, '--train-scenes', str(preset['scenes']))
    stage('detector', *trained, *preset['detector'])
    # The pose network must reject false detections: render them with the trained detector.
    drafts = options.runs / 'drafts'
    stage('export', '--untrained', '--out', str(drafts))
    stage('export', *runs, '--networks', 'head_finder', '--out', str(drafts))
    stage('render', *people, *shared, '--detector', str(drafts), '--validation-scenes', '0',
          '--first-shard', str(-(-preset['scenes'] // SCENES_PER_SHARD)),
          '--train-scenes', str(round(preset['scenes'] * (1 + MORE_SCENES))))
    stage('pose', *trained, *preset['pose'], *started)
    stage('shape', *trained, *preset['shape'], *started)
    stage('export', *runs, '--networks', 'head_finder', 'head_pose', 'face_shape')
    stage('quantise', *people, '--seed', str(options.seed))
    # The refiner learns from aligned faces, so it follows the calibration. Errors are smaller then, and
    # are measured again.
    stage('calibrate', *people, '--seed', str(options.seed))
    stage('refiner', *trained, *preset['refiner'])
    stage('export', *runs, '--networks', 'face_refiner')
    stage('calibrate', *people, '--seed', str(options.seed))
    stage('evaluate', *people, '--seed', str(options.seed), '--out', str(options.runs / 'evaluation.json'))
