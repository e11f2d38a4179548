# SPDX-License-Identifier: Apache-2.0
"""Train the face-shape network: dense offsets from the template, expression, and a finer pose."""
from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from depthface_ros.face_model.mesh import FaceModel
from training.data.augment import fresh_batch, observe, rigid, rigid_inverse, shape_batch, transform
from training.data.predicted_crops import pose_network, shape_makers
from training.data.rendered_dataset import FaceWindows
from training.models.from_onnx import first_weights
from training.models.networks import FaceShapeNet
from training.models.provenance import note_run
from training.options import add_fit_arguments, fit_settings
from training.train.fit import CHECKPOINT, fit

# Loss weights beside a millimetre of vertex error: per radian, per squared expression coefficient.
ROTATION_WEIGHT, EXPRESSION_WEIGHT = 20., 10.


class ShapeLoss:
    """Vertex errors in mm with and without the pose, expression, and the correction of the pose."""

    def __init__(self, template: Tensor):
        self.template = template  # (V, 3) m

    def __call__(self, model: FaceShapeNet, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        offsets, expression, residual = (out.float() for out in model(batch['crop'].contiguous(
            memory_format=torch.channels_last)))
        shape_mm = vertex_distance(offsets, batch['offsets']) * 1000
        template = self.template.to(offsets.device)
        # The vertices as the camera will see them, in the frame of the pose that was given.
        posed = transform(rigid(residual), template + offsets)
        truth = transform(rigid(batch['residual']), template + batch['offsets'])
        angle = (residual[:, :3] - batch['residual'][:, :3]).square().sum(1)
        return {'shape': shape_mm.mean(), 'posed': vertex_distance(posed, truth).mean() * 1000,
                'rotation': ROTATION_WEIGHT * torch.sqrt(angle + 1e-6).mean(),
                'expression': EXPRESSION_WEIGHT * F.mse_loss(torch.sigmoid(expression), batch['expression'])}


def vertex_distance(vertices: Tensor, truth: Tensor) -> Tensor:
    """Return distances (B, V) between two sets of vertices (B, V, 3), smooth at zero."""
    return torch.sqrt((vertices - truth).square().sum(-1) + 1e-9)


@torch.no_grad()
def shape_figures(model: FaceShapeNet, batch: dict[str, Tensor], template: Tensor) -> dict[str, float]:
    """Return errors on a fixed batch, mm and degrees; `_posed_given` is without pose correction."""
    device = next(model.parameters()).device
    batch, template = {name: value.to(device) for name, value in batch.items()}, template.to(device)
    outputs = [model(chunk) for chunk in batch['crop'].split(64)]
    offsets, expression, residual = (torch.cat(parts) for parts in zip(*outputs))
    truth = transform(rigid(batch['residual']), template + batch['offsets'])
    posed = transform(rigid(residual), template + offsets)
    error = rigid_inverse(rigid(batch['residual'])) @ rigid(residual)
    cosine = (error[:, :3, :3].diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    return {'_shape_mm': float(vertex_distance(offsets, batch['offsets']).mean() * 1000),
            '_template_mm': float(batch['offsets'].norm(dim=2).mean() * 1000),
            '_posed_mm': float(vertex_distance(posed, truth).mean() * 1000),
            '_posed_given': float(vertex_distance(template + offsets, truth).mean() * 1000),
            '_deg_median': float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).median()),
            '_expression': float((torch.sigmoid(expression) - batch['expression']).abs().mean())}


def start_basis(network: FaceShapeNet, windows: FaceWindows, faces: Tensor, most: int = 4000) -> None:
    """Initialise the basis with principal components of random windows among `faces` (N,)."""
    some = faces[torch.randperm(len(faces))[:most]]
    network.initialise_basis(*principal_components(windows.offsets[some], network.basis.in_features))


def principal_components(offsets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean (V*3,) and the first `count` components (count, V*3), scaled to one sigma."""
    flat = offsets.float().flatten(1)
    mean = flat.mean(0)
    _, sigma, components = torch.svd_lowrank(flat - mean, q=count + 8, niter=3)
    scale = sigma[:count, None] / len(flat) ** 0.5
    return mean, components.mT[:count] * scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_fit_arguments(parser, steps=6000, batch=64)


def run(options: argparse.Namespace) -> None:
    settings = fit_settings(options)
    model = FaceModel.load()
    template = torch.tensor(model.template)
    training = FaceWindows.load(options.pools / 'windows-train').to(settings.draw_on)
    validation = FaceWindows.load(options.pools / 'windows-validation')
    faces = torch.nonzero(training.is_face)[:, 0]
    makers = shape_makers(pose_network(options.runs, settings.draw_on))
    fixed = torch.Generator().manual_seed(1)
    held_out_index = torch.nonzero(validation.is_face)[:512, 0]
    held_out = shape_batch(observe(validation, held_out_index, fixed, other_sensors=False), fixed)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        return fresh_batch(training, faces, makers, options.batch // settings.parts, generator)

    network = first_weights('face_shape', options.start,
                            lambda: make_batch(settings.generator(0))['crop'].cpu())
    folder = options.runs / 'shape'
    if not options.start and not (folder / CHECKPOINT).exists():
        torch.manual_seed(options.seed)
        start_basis(network, training, faces)
    note_run(folder, options, 'face_shape', len(faces))
    fit(network, make_batch, ShapeLoss(template), lambda net: shape_figures(net, held_out, template),
        settings, folder, torch.device(options.device))
