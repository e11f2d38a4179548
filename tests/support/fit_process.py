# SPDX-License-Identifier: Apache-2.0
"""A short training of a small network with batch normalisation; a process of its own, or of several."""
import sys
import time
from pathlib import Path

import torch

from training.train import fit as training_fit
from training.train import parallel
from training.train.fit import FitSettings, fit

STEPS = 40
SETTINGS = FitSettings(steps=STEPS, learning_rate=0.02, warmup_steps=5, ema_decay=0.9, parts=2,
                       loader_workers=0, report_every=10)


def loss(model, batch):
    with torch.autocast('cpu', enabled=False):  # so that sums in another order are the same
        return {'square': (model(batch['x']) - batch['y']).square().mean()}


def train(folder, seconds_per_part=0.):
    def make_batch(generator):
        time.sleep(seconds_per_part)
        x = torch.randn(16, 1, 6, 6, generator=generator)
        return {'x': x, 'y': x.mean((1, 2, 3))[:, None] + x[:, 0, 2, 3, None]}

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
                                  torch.nn.Flatten(), torch.nn.Linear(128, 1))
    return fit(network, make_batch, loss, lambda net: {}, SETTINGS, Path(folder), torch.device('cpu'))


if __name__ == '__main__':
    torch.set_num_threads(1)
    training_fit.SAVE_EVERY_SECONDS = 0.  # after each step
    train(sys.argv[1], 0.1 if '--slowly' in sys.argv else 0.)
    parallel.leave(0)
