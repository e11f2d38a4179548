# SPDX-License-Identifier: Apache-2.0
"""Adversarial domain adaptation: gradient reversal and the discriminator (Ganin et al. 2016)."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
