# SPDX-License-Identifier: Apache-2.0
"""Losses and sampling of domain adaptation: gradient reversal, and matched pose distributions."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AZIMUTH_BIN = math.radians(15)
ELEVATION_BIN = math.radians(15)
DISTANCE_BIN = 0.25  # m
UNIFORM_FRACTION = 0.1  # of source samples drawn from all poses, so that all are trained on


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None


def reverse_gradient(x: Tensor, scale: float) -> Tensor:
    """Return `x`; its gradient is multiplied by -scale (Ganin et al. 2016, equation 13)."""
    return _ReverseGradient.apply(x, scale)


def reversal_scale(progress: float) -> float:
    """Return the scale of the reversed gradient, which grows from 0 to 1 with the progress.

    2 / (1 + exp(-10 p)) - 1 for a progress p in 0..1 (Ganin et al. 2016, section 5.2.2).
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


class DomainDiscriminator(nn.Module):
    """Map features (B, F) to the logit (B,) of coming from the target."""

    def __init__(self, features: int = 256, width: int = 128):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features),  # their scale is arbitrary
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)[:, 0]


def adversarial_loss(discriminator: nn.Module, source: Tensor, target: Tensor,
                     scale: float) -> Tensor:
    """Return the cross entropy of classifying features of source (B, F) and target (B', F).

    The discriminator learns to lower it and, its gradient reversed, the encoder to raise it.
    """
    logits = discriminator(reverse_gradient(torch.cat([source, target]), scale))
    truth = torch.cat([torch.zeros(len(source)), torch.ones(len(target))]).to(logits)
    return F.binary_cross_entropy_with_logits(logits, truth)


def viewpoints(camera_from_face: Tensor) -> Tensor:
    """Return the direction of the camera in face frames (N, 4, 4): (N, 3) azimuth, elevation, rad; distance, m.

    Roll is left out: shape crops are upright.
    """
    position = camera_from_face[:, :3, 3]
    distance = position.norm(dim=1)
    backwards = -(position / distance[:, None])[:, :, None]
    x, y, z = (camera_from_face[:, :3, :3].mT @ backwards)[:, :, 0].unbind(1)
    return torch.stack([torch.atan2(y, x), torch.asin(z.clamp(-1, 1)), distance], dim=1)


def pose_bins(camera_from_face: Tensor) -> Tensor:
    """Return the bin (N,) int64 of azimuth, elevation and distance of each pose."""
    azimuth, elevation, distance = viewpoints(camera_from_face).unbind(1)
    i, j = (torch.floor(angle / width + 0.5).long() + 64 for angle, width in (
        (azimuth, AZIMUTH_BIN), (elevation, ELEVATION_BIN)))
    return (i * 128 + j) * 128 + (distance / DISTANCE_BIN).long().clamp(max=127)


def resampling_weights(source: Tensor, target: Tensor,
                       uniform_fraction: float = UNIFORM_FRACTION) -> Tensor:
    """Return probabilities (N,) of source poses (N, 4, 4) that match the distribution of target poses (M, 4, 4).

    As in PADACO (Kuhnke and Ostermann, ICCV 2019): features can be alike only if labels are. Bins
    that the source lacks are left out; if they share none, all source poses are alike likely.
    """
    bins, index = torch.unique(torch.cat([pose_bins(source), pose_bins(target)]),
                               return_inverse=True)
    in_source, in_target = (part.bincount(minlength=len(bins)).float() for part in index.split(
        [len(source), len(target)]))
    wanted = (in_target / in_source.clamp(min=1))[index[:len(source)]]
    if wanted.sum() == 0:
        wanted = torch.ones(len(source))
    return (1 - uniform_fraction) * wanted / wanted.sum() + uniform_fraction / len(source)
