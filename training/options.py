# SPDX-License-Identifier: Apache-2.0
"""Command-line options that all training commands share."""
from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from training.synthesis import sensors
from training.train import parallel
from training.train.fit import FitSettings


def add_fit_arguments(parser: argparse.ArgumentParser, steps: int, batch: int) -> None:
    defaults = FitSettings()
    parser.add_argument('--pools', type=Path, default=Path('training_data'), help='folder of rendered pools')
    parser.add_argument('--runs', type=Path, default=Path('training_runs'), help='folder for checkpoints and curves')
    parser.add_argument('--start', type=Path, metavar='MODELS', help='begin with the networks in this folder of '
                        'ONNX files, not from nothing')
    parser.add_argument('--steps', type=int, default=steps)
    parser.add_argument('--minutes', type=float, default=math.inf,
                        help='end the schedule after this long, if the steps take longer')
    parser.add_argument('--batch', type=int, default=batch, help='samples of a step, over all processes')
    parser.add_argument('--parts', type=int, default=parallel.count(),
                        help='parts that a batch is drawn in, for processes of torchrun to share')
    parser.add_argument('--learning-rate', type=float, default=defaults.learning_rate)
    parser.add_argument('--draw-on', metavar='DEVICE', help='where pools are kept and batches drawn, by default the '
                        'device that trains; a GPU without room for the pools (0.3 MB a scene) takes batches from the cpu')
    parser.add_argument('--loader-workers', type=int, default=defaults.loader_workers,
                        help='processes that draw batches on the CPU')
    parser.add_argument('--compile', action='store_true', help='let torch.compile fuse the steps of the '
                        'network, and of the sensors where a GPU draws the batches')
    parser.add_argument('--keep-statistics', action='store_true', help='of batch normalisation, those of --start: '
                        'small batches have others by chance, and disturb a network that had large ones')
    parser.add_argument('--seed', type=int, default=defaults.seed)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the optimisation')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def fit_settings(options: argparse.Namespace) -> FitSettings:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    draw_on = torch.device(options.draw_on or options.device)
    on_gpu = draw_on.type == 'cuda'
    if options.compile and on_gpu:
        sensors.fuse()
    return FitSettings(steps=options.steps, minutes=options.minutes, learning_rate=options.learning_rate,
                       parts=options.parts, loader_workers=0 if on_gpu else options.loader_workers,
                       draw_on=parallel.join(draw_on) if on_gpu else draw_on,
                       compiled=options.compile, keep_statistics=options.keep_statistics, seed=options.seed)
