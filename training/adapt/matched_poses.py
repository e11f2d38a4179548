# SPDX-License-Identifier: Apache-2.0
"""Sample the source in the poses of the target (Kuhnke and Ostermann, PADACO, ICCV 2019)."""
from __future__ import annotations

import math

import torch
from torch import Tensor

AZIMUTH_BIN = math.radians(15)
ELEVATION_BIN = math.radians(15)
DISTANCE_BIN = 0.25  # m
UNIFORM_FRACTION = 0.1  # of source samples drawn from all poses, so that all are trained on


def viewpoints(camera_from_face: Tensor) -> Tensor:
    """Return where the camera is in face frames (N, 4, 4).

    Roll is left out, because shape crops are upright.

    :returns: (N, 3) azimuth and elevation in rad, distance in m.
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
    """Return probabilities (N,) of source poses (N, 4, 4), to draw them as target poses (M, 4, 4).

    Features of both domains can have one distribution only if their labels have. Bins without
    source poses are left out. If no bin has poses of both, all source poses are equally likely.
    """
    bins, index = torch.unique(torch.cat([pose_bins(source), pose_bins(target)]),
                               return_inverse=True)
    in_source, in_target = (part.bincount(minlength=len(bins)).float() for part in index.split(
        [len(source), len(target)]))
    wanted = (in_target / in_source.clamp(min=1))[index[:len(source)]]
    if wanted.sum() == 0:
        wanted = torch.ones(len(source))
    return (1 - uniform_fraction) * wanted / wanted.sum() + uniform_fraction / len(source)
