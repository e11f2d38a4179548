# SPDX-License-Identifier: Apache-2.0
"""Train any of the networks: averaged weights, cosine schedule, checkpoints that resume.

A batch is drawn in parts, each from its own random numbers. The processes of a torchrun share the
parts, and gradients are averaged over them: one process takes the same steps as several. Batch
normalisation sees one part at a time.
"""
from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.data.data_stall import DataStall
from training.train import parallel

CHECKPOINT = 'checkpoint.pt'
SAVE_EVERY_SECONDS = 60.
MAX_GRADIENT_NORM = 5.
LAST_LEARNING_RATE = 0.01  # at the end of the schedule, relative to the peak


@dataclass(frozen=True)
class FitSettings:
    """Length and strength of a training; the schedule ends with `steps` or `minutes`, whichever is first."""

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
        """Return the random numbers of a part of a batch, on the device that draws it."""
        return torch.Generator(self.draw_on).manual_seed(self.seed * 1_000_003 + number)


class Batches(Dataset):
    """Parts of batches by number. Part i depends on the seed and on i alone, so a run can resume."""

    def __init__(self, make_batch: Callable[[torch.Generator], dict[str, Tensor]], settings: FitSettings):
        self.make_batch, self.settings = make_batch, settings

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        torch.set_num_threads(1)
        return self.make_batch(self.settings.generator(number))


def own_parts(first_step: int, settings: FitSettings) -> list[int]:
    """Return the numbers of the parts that this process draws, from a step on.

    :raises ValueError: the processes cannot share the parts evenly.
    """
    if settings.parts % parallel.count():
        raise ValueError(f'{parallel.count()} processes cannot share batches of {settings.parts} parts: '
                         'set --parts to a multiple of the number of processes')
    return [step * settings.parts + part for step in range(first_step, settings.steps)
            for part in range(parallel.rank(), settings.parts, parallel.count())]


def fit(model: nn.Module, make_batch: Callable[[torch.Generator], dict[str, Tensor]],
        loss: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]],
        validate: Callable[[nn.Module], dict[str, float]],
        settings: FitSettings, folder: Path, device: torch.device) -> nn.Module:
    """Train `model`, or resume from the checkpoint in `folder`; return the averaged model.

    :param make_batch: draws one part of a batch, on the device of its torch generator.
    :param loss: named terms whose sum is minimised; names that start with '_' are only reported.
    :param validate: figures of the averaged model, for the curve in `folder`/curve.csv. There,
        `waiting` is the fraction of time since the last line in which there was no batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device, is_first = parallel.join(device), parallel.rank() == 0
    run = Run.start(model.to(device, memory_format=torch.channels_last), settings, folder, device)
    trained = torch.compile(run.model) if settings.compiled else run.model
    batches = iter(loader(make_batch, run.step, settings, device))
    own = settings.parts // parallel.count()
    stall = DataStall(device)
    with curve_and_progress(run, settings, is_first) as report:
        started, saved_at = time.monotonic() - run.seconds, time.monotonic()
        while done(run, settings) < 1:
            # forward and backward, one part of the batch at a time
            run.optimizer.param_groups[0]['lr'] = learning_rate(run, settings)
            set_training(run.model, settings.keep_statistics)
            run.optimizer.zero_grad(set_to_none=True)
            terms: dict[str, Tensor] = {}
            for _ in range(own):
                stall.request()
                part = next(batches)
                stall.receive()
                for name, term in add_gradient(trained, part, loss, device, 1 / own).items():
                    terms[name] = terms.get(name, 0) + term

            # the step, alike in all processes; so is the clock, which ends the schedule
            seconds = torch.tensor(time.monotonic() - started)
            parallel.average_([*gradients(run.model), *running_statistics(run.model), *terms.values()])
            parallel.average_([seconds])
            nn.utils.clip_grad_norm_(run.model.parameters(), MAX_GRADIENT_NORM)
            run.optimizer.step()
            run.step, run.seconds = run.step + 1, float(seconds)
            update_average(run.average, run.model, ema_decay(run.step, settings))

            # checkpoint and report
            if is_first and time.monotonic() - saved_at >= SAVE_EVERY_SECONDS:
                run.save()
                saved_at = time.monotonic()
            due = run.step % settings.report_every == 0 or run.step == settings.steps
            report(terms | {'waiting': stall.fraction()} if due else None, validate)
    if is_first:
        run.save()
    parallel.wait()  # until the file is written
    return run.average.eval()


@dataclass
class Run:
    """Everything that a checkpoint holds: the model, its average, the optimiser, and the time."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    path: Path
    step: int = 0
    seconds: float = 0.

    @classmethod
    def start(cls, model: nn.Module, settings: FitSettings, folder: Path,
              device: torch.device) -> Run:
        """Return a new run, or the one of the checkpoint in `folder`."""
        parallel.copy_from_first_(model.state_dict().values())
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate,
                                      weight_decay=settings.weight_decay, fused=device.type == 'cuda')
        run = cls(model, copy.deepcopy(model).requires_grad_(False), optimizer, folder / CHECKPOINT)
        if run.path.exists():
            saved = torch.load(run.path, map_location=device, weights_only=True)
            for name in ('model', 'average', 'optimizer'):
                getattr(run, name).load_state_dict(saved[name])
            run.step, run.seconds = saved['state']['step'], saved['state']['seconds']
        return run

    def save(self) -> None:
        """Write the checkpoint. A kill leaves the old or the new one, never a part."""
        partial = self.path.with_name(self.path.name + '.partial')
        torch.save({name: getattr(self, name).state_dict()
                    for name in ('model', 'average', 'optimizer')}
                   | {'state': {'step': self.step, 'seconds': self.seconds}}, partial)
        partial.replace(self.path)


def loader(make_batch: Callable, first_step: int, settings: FitSettings,
           device: torch.device) -> DataLoader:
    """Return the parts of batches that this process draws, from `first_step` on."""
    return DataLoader(Batches(make_batch, settings), batch_size=None,
                      sampler=own_parts(first_step, settings), num_workers=settings.loader_workers,
                      pin_memory=device.type == 'cuda' and settings.draw_on.type == 'cpu')


@contextmanager
def curve_and_progress(run: Run, settings: FitSettings, is_first: bool) -> Iterator[Callable]:
    """Yield a function that shows the progress and, given loss terms, appends to curve.csv."""
    columns = (TextColumn('{task.description}'), BarColumn(), TextColumn('{task.completed}/{task.total}'),
               TimeRemainingColumn(), TextColumn('{task.fields[figures]}'))
    curve_path = run.path.with_name('curve.csv') if is_first else os.devnull
    with Progress(*columns, disable=not is_first) as progress, open(curve_path, 'a', newline='') as curve:
        task = progress.add_task(type(run.model).__name__, total=settings.steps, completed=run.step,
                                 figures='')

        def report(terms: dict | None, validate: Callable) -> None:
            progress.update(task, completed=run.step)
            if terms is None or not is_first:
                return
            figures = {name: float(term) for name, term in terms.items()} | validate(run.average.eval())
            csv.writer(curve).writerow([run.step, f'{run.seconds:.0f}']
                                       + [f'{name}={value:.5g}' for name, value in figures.items()])
            curve.flush()
            progress.update(task, figures=' '.join(f'{n}={v:.3g}' for n, v in figures.items()))
        yield report


def set_training(model: nn.Module, keep_statistics: bool) -> None:
    """Set training mode; with `keep_statistics` batch normalisation stays in inference mode."""
    model.train()
    if keep_statistics:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def add_gradient(model: nn.Module, part: dict[str, Tensor], loss: Callable, device: torch.device,
                 weight: float) -> dict[str, Tensor]:
    """Add the gradient of one part of a batch, times `weight`; return its loss terms, times `weight`."""
    part = {name: value.to(device, non_blocking=True) for name, value in part.items()}
    with torch.autocast(device.type, torch.bfloat16, enabled=precision(device) == torch.bfloat16):
        terms = {name: weight * term for name, term in loss(model, part).items()}
    sum(term for name, term in terms.items() if not name.startswith('_')).backward()
    return {name: term.detach().float() for name, term in terms.items()}


def precision(device: torch.device) -> torch.dtype:
    """Return the lowest precision that a training computes in: bfloat16 where there are instructions for it."""
    # a CPU without them emulates bfloat16, ten times slower than float32
    return torch.bfloat16 if device.type == 'cuda' else torch.float32


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Return the running statistics of batch normalisation, which differ between processes."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def done(run: Run, settings: FitSettings) -> float:
    """Return the completed fraction of a run, 0..1, by steps or minutes, whichever is larger."""
    return max(run.step / settings.steps, run.seconds / 60 / settings.minutes)


def learning_rate(run: Run, settings: FitSettings) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine.

    peak * min(1, (step + 1) / warmup) * (last + (1 - last) (1 + cos(pi done)) / 2)
    """
    warmup = min(1., (run.step + 1) / settings.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1., done(run, settings))))
    return settings.learning_rate * warmup * (LAST_LEARNING_RATE + (1 - LAST_LEARNING_RATE) * cosine)


def ema_decay(step: int, settings: FitSettings) -> float:
    """Return the decay of the average, which starts low: early weights soon lose their influence."""
    return min(settings.ema_decay, step / (step + 10))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Update the exponential moving average of parameters; copy running statistics."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, other in zip(average.buffers(), model.buffers()):
        mine.copy_(other)


def load_average(model: nn.Module, folder: Path) -> nn.Module:
    """Load the averaged weights of a run into `model`, ready for evaluation or export."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist: train this network first')
    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True)['average'])
    return model.eval()
