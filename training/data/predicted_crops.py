# SPDX-License-Identifier: Apache-2.0
"""The shape network learns from crops that a trained pose network places: from its very mistakes.

A network that is shown poses off by chance learns that the truth lies around them. Those of the pose
network are off together with what they show: who is taken to look up has a face that looks so.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from roma import rotmat_to_rotvec
from torch import Tensor

from training.data.augment import (
    Makers,
    Observation,
    crop_from_face,
    drawn_residual,
    placed_shape_batch,
    pose_batch,
    rigid_inverse,
    shape_batch,
    uniform,
)
from training.models.export import new_network
from training.models.networks import HeadPoseNet
from training.train.fit import CHECKPOINT, load_average
from training.train.pose import rotation_from_6d

CROPS = 4  # of every window in a batch
CASCADED = 2  # of them, where there is a pose network to place them
# The pipeline looks again where a head is not in the middle of its crop, or tilted in it.
JITTER_M, ROLL_RAD = 0.004, 0.1
LARGEST_RAD, LARGEST_M = 0.5, 0.05  # of an error; a pose that is further off is no face to it
SECOND_LOOKS = 0.5  # share of crops that are as the network sees a face again, its pose corrected
LEFT = 0.6  # of an error, most that is then left


def pose_network(runs: Path, device: torch.device) -> HeadPoseNet | None:
    """The pose network that was trained in a folder of runs, if one was."""
    if not (runs / 'pose' / CHECKPOINT).exists():
        return None
    return load_average(new_network('head_pose'), runs / 'pose').to(device)


def shape_makers(before: HeadPoseNet | None) -> Makers:
    """What makes crops to learn shapes from."""
    if before is None:
        return [(shape_batch, CROPS)]
    return [(shape_batch, CROPS - CASCADED), (partial(cascaded_shape_batch, network=before), CASCADED)]


def cascaded_shape_batch(seen: Observation, generator: torch.Generator, network: HeadPoseNet) -> dict[str, Tensor]:
    """As :func:`training.data.augment.shape_batch`, with the poses that a pose network finds."""
    residual = predicted_residual(network, pose_batch(seen, generator, JITTER_M, ROLL_RAD, any_roll=0.))
    refused = (residual[:, :3].norm(dim=1) > LARGEST_RAD) | (residual[:, 3:].norm(dim=1) > LARGEST_M)
    draw = uniform((2, len(residual), 1), generator)
    left = torch.where(draw[0] < SECOND_LOOKS, LEFT * draw[1], 1.)
    return placed_shape_batch(
        seen, torch.where(refused[:, None], drawn_residual(len(residual), generator), left * residual))


@torch.no_grad()
def predicted_residual(network: HeadPoseNet, batch: dict[str, Tensor]) -> Tensor:
    """What is left to correct (B, 6) after the pose network: rotation vector and metres, in its frame."""
    six, sellion, *_ = network(batch['crop'])
    predicted = crop_from_face(rotation_from_6d(six), sellion)
    left = rigid_inverse(predicted) @ crop_from_face(batch['rotation'], batch['sellion'])
    return torch.cat([rotmat_to_rotvec(left[:, :3, :3]), left[:, :3, 3]], dim=1)
