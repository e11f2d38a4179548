# SPDX-License-Identifier: Apache-2.0
"""Place the crops of the shape network by a trained pose network, so that it learns from real errors.

Random errors of poses are independent of the image. Errors of the pose network are not: a face that
is predicted to pitch up resembles one that does.
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
PREDICTED = 2  # of them, if there is a pose network to place them
# The pipeline crops again if a head is off the middle of its crop or tilted, so errors are small.
JITTER_M, ROLL_RAD = 0.004, 0.1
LARGEST_RAD, LARGEST_M = 0.5, 0.05  # of an error; a larger one counts as another face
SECOND_PASSES = 0.5  # fraction of crops as in the second pass, after a correction
RESIDUAL = 0.6  # largest fraction of the error that remains then


def pose_network(runs: Path, device: torch.device) -> HeadPoseNet | None:
    """Return the pose network of a folder of runs, or None."""
    if not (runs / 'pose' / CHECKPOINT).exists():
        return None
    return load_average(new_network('head_pose'), runs / 'pose').to(device)


def shape_makers(pose_network: HeadPoseNet | None) -> Makers:
    """Return the functions that make crops for the shape network, with their counts."""
    if pose_network is None:
        return [(shape_batch, CROPS)]
    return [(shape_batch, CROPS - PREDICTED), (partial(predicted_shape_batch, network=pose_network), PREDICTED)]


def predicted_shape_batch(seen: Observation, generator: torch.Generator, network: HeadPoseNet) -> dict[str, Tensor]:
    """Return a batch as :func:`training.data.augment.shape_batch`, at the poses that a network predicts."""
    residual = predicted_residual(network, pose_batch(seen, generator, JITTER_M, ROLL_RAD, any_roll=0.))
    rejected = (residual[:, :3].norm(dim=1) > LARGEST_RAD) | (residual[:, 3:].norm(dim=1) > LARGEST_M)
    draw = uniform((2, len(residual), 1), generator)
    remaining = torch.where(draw[0] < SECOND_PASSES, RESIDUAL * draw[1], 1.)
    return placed_shape_batch(
        seen, torch.where(rejected[:, None], drawn_residual(len(residual), generator), remaining * residual))


@torch.no_grad()
def predicted_residual(network: HeadPoseNet, batch: dict[str, Tensor]) -> Tensor:
    """Return the residual (B, 6) of the predicted pose: rotation vector and metres, in its frame."""
    six, sellion, *_ = network(batch['crop'])
    predicted = crop_from_face(rotation_from_6d(six), sellion)
    residual = rigid_inverse(predicted) @ crop_from_face(batch['rotation'], batch['sellion'])
    return torch.cat([rotmat_to_rotvec(residual[:, :3, :3]), residual[:, :3, 3]], dim=1)
