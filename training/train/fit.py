# SPDX-License-Identifier: Apache-2.0
"""One training loop for all networks: EMA weights, cosine schedule, checkpoints that resume.

A batch is drawn in parts, each from its own random numbers, which the processes of a torchrun
share; gradients are averaged over the parts. So as many parts make the same steps in one process
as in several. Batch normalisation sees a part at a time.
"""
from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.data.data_stall import Waiting
from training.train import parallel

CHECKPOINT = 'checkpoint.pt'
SAVE_EVERY_SECONDS = 60.


@dataclass(frozen=True)
class FitSettings:
    """How long and how hard to train; `minutes` ends a run that `steps` would not."""

    steps: int = 10_000
    minutes: float = math.inf
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 200
    ema_decay: float = 0.998
    parts: int = 1  # of a batch; a multiple of the number of processes
    loader_workers: int = 1  # processes; 0 where batches are drawn on a GPU
    draw_on: torch.device = torch.device('cpu')
    compiled: bool = False  # the network's steps, by torch.compile
    keep_statistics: bool = False  # of batch normalisation, those that training begins with
    seed: int = 0
    report_every: int = 200

    def generator(self, number: int) -> torch.Generator:
        """The random numbers of a part of a batch, where it is drawn."""
        return torch.Generator(self.draw_on).manual_seed(self.seed * 1_000_003 + number)


class Batches(Dataset):
    """Parts of batches by number: part i depends on the seed and on i alone, so a run can resume."""

    def __init__(self, make_batch: Callable[[torch.Generator], dict[str, Tensor]], settings: FitSettings):
        self.make_batch, self.settings = make_batch, settings

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        torch.set_num_threads(1)
        return self.make_batch(self.settings.generator(number))


def own_parts(first_step: int, settings: FitSettings) -> list[int]:
    """Numbers of the parts that this process draws, from a step on.

    :raises ValueError: the processes cannot share the parts evenly.
    """
    if settings.parts % parallel.count():
        raise ValueError(f'{parallel.count()} processes cannot share batches of {settings.parts} parts: '
                         'let --parts be a multiple of the number of processes')
    return [step * settings.parts + part for step in range(first_step, settings.steps)
            for part in range(parallel.rank(), settings.parts, parallel.count())]


def fit(model: nn.Module, make_batch: Callable[[torch.Generator], dict[str, Tensor]],
        loss: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]],
        validate: Callable[[nn.Module], dict[str, float]],
        settings: FitSettings, folder: Path, device: torch.device) -> nn.Module:
    """Train `model`, or go on from the checkpoint in `folder`, and return the averaged model.

    :param make_batch: draws one part of a batch, on the device of the torch generator that it gets.
    :param loss: named terms whose sum is minimised; names that start with '_' are only reported.
    :param validate: figures of the averaged model, for the curve in `folder`/curve.csv, where `waiting`
        is the share of time since the last line in which there was no batch to work on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device, is_first = parallel.join(device), parallel.rank() == 0
    model = model.to(device, memory_format=torch.channels_last)
    parallel.copy_from_first_(model.state_dict().values())
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate,
                                  weight_decay=settings.weight_decay, fused=device.type == 'cuda')
    trained = torch.compile(model) if settings.compiled else model
    state = {'step': 0, 'seconds': 0.}
    if (folder / CHECKPOINT).exists():
        saved = torch.load(folder / CHECKPOINT, map_location=device, weights_only=True)
        for name, part in (('model', model), ('average', average), ('optimizer', optimizer)):
            part.load_state_dict(saved[name])
        state = saved['state']

    def save() -> None:
        if not is_first:
            return
        partial = folder / (CHECKPOINT + '.partial')
        torch.save({'model': model.state_dict(), 'average': average.state_dict(),
                    'optimizer': optimizer.state_dict(), 'state': state}, partial)
        partial.replace(folder / CHECKPOINT)  # a kill leaves the old or the new one, never half of one

    batches = iter(DataLoader(Batches(make_batch, settings), batch_size=None,
                              sampler=own_parts(state['step'], settings),
                              num_workers=settings.loader_workers,
                              pin_memory=device.type == 'cuda' and settings.draw_on.type == 'cpu'))
    progress = Progress(TextColumn('{task.description}'), BarColumn(), TextColumn('{task.completed}/{task.total}'),
                        TimeRemainingColumn(), TextColumn('{task.fields[figures]}'), disable=not is_first)
    waiting = Waiting(device)
    with progress, open(folder / 'curve.csv' if is_first else os.devnull, 'a', newline='') as curve:
        task = progress.add_task(type(model).__name__, total=settings.steps, completed=state['step'], figures='')
        started, saved_at = time.monotonic() - state['seconds'], time.monotonic()
        while done(state, settings) < 1:
            for group in optimizer.param_groups:
                group['lr'] = learning_rate(state, settings)
            set_training(model, settings.keep_statistics)
            optimizer.zero_grad(set_to_none=True)
            terms: dict[str, Tensor] = {}
            own = settings.parts // parallel.count()
            for _ in range(own):
                waiting.ask()
                part = next(batches)
                waiting.got()
                for name, term in add_gradient(trained, part, loss, device, 1 / own).items():
                    terms[name] = terms.get(name, 0) + term
            parallel.average_([*gradients(model), *running_statistics(model), *terms.values()])
            seconds = torch.tensor(time.monotonic() - started)
            parallel.average_([seconds])  # all end, and lower their learning rate, at the same step
            nn.utils.clip_grad_norm_(model.parameters(), 5.)
            optimizer.step()
            state['step'] += 1
            state['seconds'] = float(seconds)
            update_average(average, model, min(settings.ema_decay, state['step'] / (state['step'] + 10)))
            progress.update(task, completed=state['step'])
            if time.monotonic() - saved_at >= SAVE_EVERY_SECONDS:
                save()
                saved_at = time.monotonic()
            if state['step'] % settings.report_every == 0 or state['step'] == settings.steps:
                figures = {name: float(term) for name, term in terms.items()} | {'waiting': waiting.share()}
                if not is_first:
                    continue
                figures |= validate(average.eval())
                csv.writer(curve).writerow([state['step'], f'{state["seconds"]:.0f}']
                                           + [f'{name}={value:.5g}' for name, value in figures.items()])
                curve.flush()
                progress.update(task, figures=' '.join(f'{n}={v:.3g}' for n, v in figures.items()))
    save()
    parallel.wait()  # for the file, too
    return average.eval()


def set_training(model: nn.Module, keep_statistics: bool) -> None:
    """Let a network train; if so, with batch normalisation as it is in use, a fixed scale and shift."""
    model.train()
    if keep_statistics:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def add_gradient(model: nn.Module, part: dict[str, Tensor], loss: Callable, device: torch.device,
                 weight: float) -> dict[str, Tensor]:
    """Add that of one part of a batch, times `weight`, to the gradients; its loss, times `weight`."""
    part = {name: value.to(device, non_blocking=True) for name, value in part.items()}
    with torch.autocast(device.type, torch.bfloat16):
        terms = {name: weight * term for name, term in loss(model, part).items()}
    sum(term for name, term in terms.items() if not name.startswith('_')).backward()
    return {name: term.detach().float() for name, term in terms.items()}


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Those of batch normalisation, which each process gathers from what it sees."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def done(state: dict, settings: FitSettings) -> float:
    """How much of the run is over, 0..1: by steps or by minutes, whichever is further."""
    return max(state['step'] / settings.steps, state['seconds'] / 60 / settings.minutes)


def learning_rate(state: dict, settings: FitSettings) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    warmup = min(1., (state['step'] + 1) / settings.warmup_steps)
    return settings.learning_rate * warmup * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1., done(state, settings)))))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of parameters; running statistics are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, other in zip(average.buffers(), model.buffers()):
        mine.copy_(other)


def load_average(model: nn.Module, folder: Path) -> nn.Module:
    """The averaged weights of a run, in `model`, ready for evaluation or export."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: train this network first')
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True)['average'])
    return model.eval()
