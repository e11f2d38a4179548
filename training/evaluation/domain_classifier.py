# SPDX-License-Identifier: Apache-2.0
"""Measure what tells real crops from rendered ones: a small classifier, and the evidence it uses.

The classifier is tested on recorded and rendered people that it was not trained on, and gets one cue
at a time. Its accuracy says how much that cue differs; 50 % is chance. Expected gradients attribute
its evidence to pixels (Erion et al. 2021, doi 10.1038/s42256-021-00343-w).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthface_ros.face_model.mirror import mirrored_crops
from depthface_ros.geometry.crop import CROP_PIXELS, SHAPE_CROP_SIZE

FOLDS = 3
EPOCHS, BATCH, LEARNING_RATE = 40, 32, 2e-3
BASELINES = 8  # rendered crops that each real crop is compared with
PIXEL = SHAPE_CROP_SIZE / CROP_PIXELS  # m
FACE = slice(round(0.22 * CROP_PIXELS), round(0.78 * CROP_PIXELS))  # rows and columns of the inner face
FINE = 5  # px, 14 mm: details below are texture, larger ones are shape
GAIN = 20.  # brings texture of millimetres to the scale of the other cues


def measured(crops: Tensor) -> Tensor:
    """Return where crops (N, 4, S, S) have a point: (N, 1, S, S) in 0, 1."""
    return (crops[:, 3:] > 0).float()


def smoothed(crops: Tensor) -> Tensor:
    """Return local means (N, 1, S, S) of the coordinate along the line of sight; 0 without points."""
    valid = measured(crops)
    sums, counts = (F.avg_pool2d(part, FINE, 1, FINE // 2) for part in (crops[:, :1] * valid, valid))
    return sums / counts.clamp(min=1e-6)


def texture(crops: Tensor) -> Tensor:
    """Return deviations (N, 1, F, F) of the inner face from its local means."""
    return (GAIN * measured(crops) * (crops[:, :1] - smoothed(crops))).clamp(-1, 1)[:, :, FACE, FACE]


CUES: dict[str, Callable[[Tensor], Tensor]] = {
    'whole crop': lambda crops: crops,
    'where points are missing': measured,
    'shape of the inner face': lambda crops: smoothed(crops)[:, :, FACE, FACE],
    'texture of the inner face': texture}


class Evidence(NamedTuple):
    """How well a cue separates the domains, and where its evidence lies."""

    accuracy: tuple[float, ...]  # of each fold, mean of both domains
    attribution: np.ndarray  # (H, W) mean magnitude over real crops, sums to 1


class Classifier(nn.Sequential):
    """Map crops (N, C, H, W) to the logit (N, 1) of being real."""

    def __init__(self, channels: int):
        widths = (channels, 12, 24, 48)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * widths[-1], 1))


def separate(real: Tensor, rendered: Tensor, cue: Callable[[Tensor], Tensor], seed: int = 0) -> Evidence:
    """Train a classifier for each fold and test it on the crops left out.

    :param real: (N, 4, S, S) crops in the order of the recording. Folds are consecutive parts, so
        neighbouring images are on one side. rendered: (M, 4, S, S).
    :raises ValueError: a domain has fewer crops than folds.
    """
    if min(len(real), len(rendered)) < FOLDS:
        raise ValueError(f'{len(real)} real and {len(rendered)} rendered crops: expected at least {FOLDS} of each')
    accuracy, attributions = [], []
    for fold in range(FOLDS):
        (learnt_real, judged_real), (learnt_rendered, judged_rendered) = (
            _split(crops, fold) for crops in (real, rendered))
        generator = torch.Generator().manual_seed(seed + fold)
        torch.manual_seed(seed + fold)
        classifier = train(learnt_real, learnt_rendered, cue, generator)
        with torch.no_grad():
            right = [float((classifier(cue(crops))[:, 0] * sign > 0).float().mean())
                     for crops, sign in ((judged_real, 1), (judged_rendered, -1))]
        accuracy.append(sum(right) / 2)
        attributions.append(attribution(classifier, cue(judged_real), cue(judged_rendered), generator))
    where = np.mean(attributions, axis=0)
    return Evidence(tuple(accuracy), where / max(where.sum(), 1e-12))


def train(real: Tensor, rendered: Tensor, cue: Callable[[Tensor], Tensor],
          generator: torch.Generator) -> Classifier:
    """Train on as many real as rendered crops in each batch, half of them mirrored."""
    classifier = Classifier(cue(real[:1]).shape[1])
    steps = EPOCHS * -(-max(len(real), len(rendered)) * 2 // BATCH)
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    truth = torch.cat([torch.ones(BATCH // 2), torch.zeros(BATCH // 2)])
    for _ in range(steps):
        crops = torch.cat([crops[torch.randint(len(crops), (BATCH // 2,), generator=generator)]
                           for crops in (real, rendered)])
        flip = torch.rand(len(crops), generator=generator) < 0.5
        crops = torch.where(flip[:, None, None, None], mirrored_crops(crops), crops)
        loss = F.binary_cross_entropy_with_logits(classifier(cue(crops))[:, 0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return classifier.eval()


def attribution(classifier: nn.Module, real: Tensor, rendered: Tensor,
                generator: torch.Generator) -> np.ndarray:
    """Return the mean magnitude (H, W) of the expected gradients of real against rendered inputs.

    E over rendered x' and a in 0..1 of (x - x') d logit / dx at x' + a (x - x').
    """
    total = torch.zeros_like(real)
    for _ in range(BASELINES):
        baseline = rendered[torch.randint(len(rendered), (len(real),), generator=generator)]
        a = torch.rand((len(real), 1, 1, 1), generator=generator)
        between = (baseline + a * (real - baseline)).requires_grad_()
        gradient, = torch.autograd.grad(classifier(between).sum(), between)
        total += (real - baseline) * gradient / BASELINES
    return total.sum(1).abs().mean(0).numpy()


def _split(crops: Tensor, fold: int) -> tuple[Tensor, Tensor]:
    """Return the crops to train on, and the consecutive part that is left out."""
    part = torch.arange(len(crops)) * FOLDS // len(crops)
    return crops[part != fold], crops[part == fold]
