# SPDX-License-Identifier: Apache-2.0
"""Batches with the mirror image of each crop, so that adaptation keeps the network symmetric."""
from __future__ import annotations

import torch
from torch import Tensor

from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape

FLIP_CAMERA, FLIP_FACE = (-1., 1., 1., 1.), (1., -1., 1., 1.)  # of homogeneous coordinates


def with_mirror_crops(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of :func:`shape_batch`, labelled or not, followed by its mirror image.

    :param batch: its optional entry `pose` (B, 4, 4) is the pose in which a crop was taken.
    """
    labels = {name: batch[name] for name in ('offsets', 'expression', 'residual')}
    labelled = labels['offsets'].shape[1] > 0
    mirror = mirrored_shape(labels) if labelled else labels
    mirror = {'crop': mirrored_crops(batch['crop'])} | mirror
    if 'pose' in batch:
        mirror['pose'] = mirrored_poses(batch['pose'])
    return {name: torch.cat([batch[name], mirror[name]]) for name in mirror}


def mirrored_poses(camera_from_face: Tensor) -> Tensor:
    """Return the poses (N, 4, 4) of mirrored faces: camera x and face y change their signs."""
    flip_camera, flip_face = map(camera_from_face.new_tensor, (FLIP_CAMERA, FLIP_FACE))
    return flip_camera[:, None] * camera_from_face * flip_face
