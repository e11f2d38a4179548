# SPDX-License-Identifier: Apache-2.0
"""Ablate the choices of the networks: train each variant with one choice changed.

All variants of a network start from nothing, take as many steps through the same batches, and are
judged on the same validation windows. Short trainings rank choices; they do not predict the
result of long ones.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import FACE_CENTRE_FACE, pose_crop
from training.data.augment import (
    Observation,
    fresh_batch,
    observe,
    pose_batch,
    shape_batch,
    transform,
)
from training.data.predicted_crops import CROPS
from training.data.rendered_dataset import FaceWindows
from training.experiments.studies import compute_once, result_name, results_of
from training.models.networks import WIDTHS, CropEncoder, FaceShapeNet, HeadPoseNet
from training.train.fit import FitSettings, fit
from training.train.pose import pose_figures, pose_loss
from training.train.shape import ShapeLoss, shape_figures, start_basis

HELD_OUT = 512  # validation windows
MAKE_BATCH = {'shape': shape_batch, 'pose': pose_batch}
AS_IT_IS = 'as it is'
LAST_WEIGHTS = 'last weights, not averaged ones'  # of the network as it is: no training of its own
FIGURES = {'shape': ('shape_mm', 'posed_mm', 'deg_median', 'expression'),
           'pose': ('deg_median', 'deg_mean', 'mm_median', 'face_accuracy')}


@dataclass(frozen=True)
class Variant:
    """A network with one choice changed."""

    change: Callable[[nn.Module], object] = lambda network: None  # before training
    make_batch: Callable[..., dict[str, Tensor]] | None = None
    terms: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda terms: terms  # of the loss
    likelihood_alone: bool = False
    other_sensors: bool = True
    basis: bool = True  # starts with the principal components
    coefficients: int = 96


def _blind(layer: nn.Conv2d, channels: slice) -> None:
    """Hide some channels from a convolution, now and during training."""
    seen = torch.ones_like(layer.weight)
    seen[:, channels] = 0
    with torch.no_grad():
        layer.weight *= seen
    layer.weight.register_hook(lambda gradient: gradient * seen.to(gradient.device))


def _without_normals(network: nn.Module) -> None:
    _blind(network.encoder.of_normals, slice(None))


def _normals_alone(network: nn.Module) -> None:
    _blind(network.encoder.of_points[0], slice(None))


def _without_validity(network: nn.Module) -> None:
    _blind(network.encoder.stem[0], slice(3, 4))


def _coarse(network: nn.Module) -> None:
    """Subsample a crop by two and repeat its pixels."""
    network.encoder.register_forward_pre_hook(lambda encoder, inputs: (
        inputs[0][:, :, ::2, ::2].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),))


def _one_cell(network: nn.Module) -> None:
    """Average features over the crop, as in classification; their position is lost."""
    network.encoder.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                         nn.Linear(64, 256), nn.ReLU())


def _widths(factor: float, network: nn.Module) -> None:
    network.encoder = CropEncoder(widths=tuple(int(width * factor) for width in WIDTHS))


def _towards_camera(seen: Observation, generator: torch.Generator) -> dict[str, Tensor]:
    """Return crops across the viewing ray, instead of in the face frame as :func:`shape_batch`."""
    batch = shape_batch(seen, generator)
    face_centre = torch.tensor(FACE_CENTRE_FACE).expand(len(seen.is_face), 1, 3)
    centre = transform(seen.camera_from_face, face_centre)[:, 0] + batch['residual'][:, 3:]
    # the crop does not show the pose, so it cannot be corrected
    return batch | {'crop': pose_crop(seen.depth_m, seen.intrinsics, centre)[0],
                    'residual': torch.zeros_like(batch['residual'])}


def _without_expression(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: term for name, term in terms.items() if name != 'expression'}


OF_BOTH = {
    AS_IT_IS: Variant(),
    'without normals': Variant(_without_normals),
    'normals without points': Variant(_normals_alone),
    'without the validity channel': Variant(_without_validity),
    '48 pixels, not 96': Variant(_coarse),
    'one cell, not 3x3, at the end': Variant(_one_cell),
    'half as wide': Variant(partial(_widths, 0.5)),
    'half as wide again': Variant(partial(_widths, 1.5)),
    'one sensor per window': Variant(other_sensors=False)}
VARIANTS = {
    'shape': OF_BOTH | {
        'crops across the viewing ray': Variant(make_batch=_towards_camera),
        'random basis': Variant(basis=False),
        '24 coefficients, not 96': Variant(coefficients=24),
        'without expressions': Variant(terms=_without_expression)},
    'pose': OF_BOTH | {'likelihood as the only loss of the pose': Variant(likelihood_alone=True)}}


def train_variant(kind: str, variant: Variant, training: FaceWindows, held_out: dict[str, Tensor],
                  settings: FitSettings, batch: int, folder: Path,
                  device: torch.device) -> dict[str, dict[str, float]]:
    """Train one variant; return figures of its averaged and of its last weights."""
    template = torch.tensor(FaceModel.load().template)
    candidates = _candidates(kind, training)
    makers = [(variant.make_batch or MAKE_BATCH[kind], CROPS)]

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        return fresh_batch(training, candidates, makers, batch, generator, variant.other_sensors)

    torch.manual_seed(settings.seed)
    if kind == 'shape':
        network = FaceShapeNet(len(template), variant.coefficients)
        if variant.basis:
            start_basis(network, training, candidates, most=2000)
        shape_loss = ShapeLoss(template)
    else:
        network = HeadPoseNet()
    variant.change(network)

    def loss(net: nn.Module, part: dict[str, Tensor]) -> dict[str, Tensor]:
        return variant.terms(shape_loss(net, part) if kind == 'shape' else
                             pose_loss(net, part, variant.likelihood_alone))

    def figures(net: nn.Module) -> dict[str, float]:
        found = (shape_figures(net, held_out, template) if kind == 'shape' else
                 pose_figures(net, held_out))
        return {name.lstrip('_'): value for name, value in found.items()}

    average = fit(network, make_batch, loss, lambda net: {}, settings, folder, device)
    return {'averaged': figures(average), 'last': figures(network.eval())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--network', choices=VARIANTS, required=True)
    parser.add_argument('--variants', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument('--pools', type=Path, default=Path('training_data'))
    parser.add_argument('--shards', type=int, help='so many of the training windows; default: all')
    parser.add_argument('--out', type=Path, default=Path('training_runs/ablations'))
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--loader-workers', type=int, default=0)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    kind, variants = options.network, VARIANTS[options.network]
    training = FaceWindows.load(options.pools / 'windows-train', slice(0, options.shards))
    validation = FaceWindows.load(options.pools / 'windows-validation')
    judged = _candidates(kind, validation)[:HELD_OUT]
    out = options.out / kind
    out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.variants or variants:
            def outcome(variant=variants[name], seed=seed, name=name) -> dict:
                generator = torch.Generator().manual_seed(1)
                seen = observe(validation, judged, generator, other_sensors=False)
                held_out = (variant.make_batch or MAKE_BATCH[kind])(seen, generator)
                settings = FitSettings(steps=options.steps, seed=seed,
                                       loader_workers=options.loader_workers)
                return train_variant(kind, variant, training, held_out, settings, options.batch,
                                     out / 'runs' / result_name(name, seed),
                                     torch.device(options.device))
            compute_once(out / f'{result_name(name, seed)}.json', outcome)
    print_table(kind, out)


def _candidates(kind: str, windows: FaceWindows) -> Tensor:
    """Return the windows that a network is trained on: shape on faces alone."""
    return torch.nonzero(windows.is_face)[:, 0] if kind == 'shape' else torch.arange(len(windows))


def print_table(kind: str, out: Path) -> None:
    """Return means and half ranges over seeds."""
    table = Table(title=f'{kind} network, trained briefly with one choice made otherwise')
    for name in ('', *FIGURES[kind]):
        table.add_column(name.replace('_', ' '), justify='right' if name else 'left')
    rows = {name: (name, 'averaged') for name in VARIANTS[kind]} | {LAST_WEIGHTS: (AS_IT_IS, 'last')}
    for row, (name, weights) in rows.items():
        found = [result[weights] for result in results_of(out, name).values()]
        if found:
            values = np.array([[one[figure] for figure in FIGURES[kind]] for one in found])
            table.add_row(row, *(f'{mean:.3g} ± {half:.2g}' for mean, half in
                                 zip(values.mean(0), np.ptp(values, axis=0) / 2)))
    Console(width=140).print(table)
