# SPDX-License-Identifier: Apache-2.0
"""The shape network learns from crops that a trained pose network places: from its very mistakes.

A network that is shown poses off by chance learns that the truth lies around them. Those of the pose
network are off together with what they show: who is taken to look up has a face that looks so.
"""
from __future__ import annotations

from pathlib import Path

import torch
from roma import rotmat_to_rotvec
from torch import Tensor

from training.augment import Observation, drawn_residual, placed_shape_batch, pose_batch, rigid, rigid_inverse
from training.export import new_network
from training.fit import CHECKPOINT, load_average
from training.networks import HeadPoseNet
from training.pose import HALF_CROP_MM, rotation_from_6d

# The pipeline looks again where a head is not in the middle of its crop, or tilted in it.
JITTER_M, ROLL_RAD = 0.004, 0.1
LARGEST_RAD, LARGEST_M = 0.5, 0.05  # of an error; a pose that is further off is no face to it
ALIGNED = 0.5  # share of crops that are seen a second time, after alignment
LEFT_ALIGNED = 0.6  # most that alignment leaves of an error


def pose_network(runs: Path) -> HeadPoseNet | None:
    """The pose network that was trained in a folder of runs, if one was."""
    if not (runs / 'pose' / CHECKPOINT).exists():
        return None
    return load_average(new_network('head_pose'), runs / 'pose')


def cascaded_shape_batch(seen: Observation, generator: torch.Generator, network: HeadPoseNet) -> dict[str, Tensor]:
    """As :func:`training.augment.shape_batch`, with the poses that a pose network finds."""
    residual = predicted_residual(network, pose_batch(seen, generator, JITTER_M, ROLL_RAD, any_roll=0.))
    refused = (residual[:, :3].norm(dim=1) > LARGEST_RAD) | (residual[:, 3:].norm(dim=1) > LARGEST_M)
    draw = torch.rand((2, len(residual), 1), generator=generator)
    left = torch.where(draw[0] < ALIGNED, LEFT_ALIGNED * draw[1], 1.)
    return placed_shape_batch(
        seen, torch.where(refused[:, None], drawn_residual(len(residual), generator), left * residual))


@torch.no_grad()
def predicted_residual(network: HeadPoseNet, batch: dict[str, Tensor]) -> Tensor:
    """What is left to correct (B, 6) after the pose network: rotation vector and metres, in its frame."""
    six, sellion, *_ = network(batch['crop'])
    metres = HALF_CROP_MM / 1000
    predicted, truth = (_rigid(rotation, metres * origin) for rotation, origin in (
        (rotation_from_6d(six), sellion), (batch['rotation'], batch['sellion'])))
    left = rigid_inverse(predicted) @ truth
    return torch.cat([rotmat_to_rotvec(left[:, :3, :3]), left[:, :3, 3]], dim=1)


def _rigid(rotation: Tensor, origin: Tensor) -> Tensor:
    """Homogeneous (B, 4, 4) of rotations (B, 3, 3) and origins (B, 3)."""
    matrix = rigid(torch.cat([torch.zeros_like(origin), origin], dim=1))
    matrix[:, :3, :3] = rotation
    return matrix
