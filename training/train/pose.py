# SPDX-License-Identifier: Apache-2.0
"""Train the head-pose network: rotation, sellion, their variances, and face confidence."""
from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from roma import rotmat_geodesic_distance, special_gramschmidt
from torch import Tensor

from depthface_ros.geometry.crop import FACE_FROM_HEAD, POSE_CROP_SIZE
from training.data.augment import fresh_batch, observe, pose_batch
from training.data.rendered_dataset import FaceWindows
from training.models.from_onnx import first_weights
from training.models.networks import HeadPoseNet
from training.models.provenance import note_run
from training.options import add_fit_arguments, fit_settings
from training.train.fit import fit

CROPS = 4  # of every window in a batch
# Loss weights: per radian, millimetre, nat of the likelihood, nat of the confidence.
ROTATION_WEIGHT, SELLION_WEIGHT, LIKELIHOOD_WEIGHT, CONFIDENCE_WEIGHT = 10., 0.05, 0.02, 0.5
HALF_CROP_MM = 1000 * POSE_CROP_SIZE / 2


def rotation_from_6d(six: Tensor) -> Tensor:
    """Return rotations crop_from_face (B, 3, 3) of the first two columns (B, 6) of crop_from_head."""
    crop_from_head = special_gramschmidt(six.float().reshape(-1, 2, 3).mT)
    return crop_from_head @ six.new_tensor(FACE_FROM_HEAD, dtype=torch.float32).mT


def pose_loss(model: HeadPoseNet, batch: dict[str, Tensor],
              likelihood_alone: bool = False) -> dict[str, Tensor]:
    """Return the terms of the loss: robust pose errors, their likelihood, and the confidence.

    The variances are fitted to the errors but do not weight them. A network that may declare a
    sample hard stops learning from it (Seitzer et al. 2022, 'On the pitfalls of heteroscedastic
    uncertainty estimation').

    :param likelihood_alone: train the pose by the likelihood and by nothing else.
    """
    six, sellion, log_variance, logit = (out.float() for out in model(batch['crop'].contiguous(
        memory_format=torch.channels_last)))
    face = batch['is_face']
    count = face.sum().clamp(min=1)
    # ||R - R'||_F = 2 sqrt(2) sin(angle / 2): the angle itself has no gradient at 0 and pi
    chord = (rotation_from_6d(six) - batch['rotation']).square().sum((1, 2))
    rotation = torch.sqrt(chord / 2 + 1e-6)  # about the angle, rad
    shift = (sellion - batch['sellion']) * HALF_CROP_MM
    distance = torch.sqrt(shift.square().sum(1) + 1e-2)  # mm

    squared = torch.stack([chord / 2, (shift / 1000).square().sum(1)], dim=1)
    if not likelihood_alone:
        squared = squared.detach()
    log_variance = log_variance.clamp(-16, 2)
    likelihood = negative_log_likelihood(squared, log_variance)
    reported = '_' if likelihood_alone else ''
    return {f'{reported}rotation': (face * rotation).sum() / count * ROTATION_WEIGHT,
            f'{reported}sellion': (face * distance).sum() / count * SELLION_WEIGHT,
            'likelihood': (face[:, None] * likelihood).sum() / count * LIKELIHOOD_WEIGHT,
            'confidence': CONFIDENCE_WEIGHT * F.binary_cross_entropy_with_logits(logit[:, 0], face)}


def negative_log_likelihood(squared: Tensor, log_variance: Tensor) -> Tensor:
    """Return the negative log likelihood of squared errors of three axes, without the constant.

    (e^2 / s^2 + 3 log s^2) / 2, for the sum e^2 over three axes of variance s^2 each.
    """
    return 0.5 * (squared * torch.exp(-log_variance) + 3 * log_variance)


@torch.no_grad()
def pose_figures(model: HeadPoseNet, batch: dict[str, Tensor]) -> dict[str, float]:
    """Return errors on a fixed batch: degrees, mm, and the accuracy of the face confidence."""
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    outputs = [model(chunk) for chunk in batch['crop'].split(64)]
    six, sellion, _, logit = (torch.cat(parts) for parts in zip(*outputs))
    face = batch['is_face'] > 0
    degrees = torch.rad2deg(rotmat_geodesic_distance(rotation_from_6d(six), batch['rotation']))[face]
    distance = (sellion - batch['sellion']).norm(dim=1)[face] * HALF_CROP_MM
    return {'_deg_median': float(degrees.median()), '_deg_mean': float(degrees.mean()),
            '_mm_median': float(distance.median()),
            '_face_accuracy': float(((logit[:, 0] > 0) == face).float().mean())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_fit_arguments(parser, steps=6000, batch=64)


def run(options: argparse.Namespace) -> None:
    settings = fit_settings(options)
    training = FaceWindows.load(options.pools / 'windows-train').to(settings.draw_on)
    validation = FaceWindows.load(options.pools / 'windows-validation')
    fixed = torch.Generator().manual_seed(1)
    held_out = pose_batch(observe(validation, torch.arange(min(512, len(validation))), fixed, other_sensors=False), fixed)

    all_windows = torch.arange(len(training), device=settings.draw_on)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        return fresh_batch(training, all_windows, [(pose_batch, CROPS)], options.batch // settings.parts, generator)

    network = first_weights('head_pose', options.start,
                            lambda: make_batch(settings.generator(0))['crop'].cpu())
    folder = options.runs / 'pose'
    note_run(folder, options, 'head_pose', len(training))
    fit(network, make_batch, pose_loss, lambda net: pose_figures(net, held_out),
        settings, folder, torch.device(options.device))
