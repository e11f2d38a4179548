# SPDX-License-Identifier: Apache-2.0
"""Batches in which each crop stands beside its mirror image, so that an adaptation has no side."""
from __future__ import annotations

import torch
from torch import Tensor

from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape

FLIP_CAMERA, FLIP_FACE = (-1., 1., 1., 1.), (1., -1., 1., 1.)  # of homogeneous coordinates


def with_mirror_crops(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of :func:`shape_batch`, labelled or not, followed by its exact mirror image.

    Optional entries: `pose` (B, 4, 4), in which a crop was taken.
    """
    labels = {name: batch[name] for name in ('offsets', 'expression', 'residual')}
    labelled = labels['offsets'].shape[1] > 0
    mirror = {'crop': mirrored_crops(batch['crop'])} | (mirrored_shape(labels) if labelled else labels)
    if 'pose' in batch:
        mirror['pose'] = mirrored_poses(batch['pose'])
    return {name: torch.cat([batch[name], mirror[name]]) for name in mirror}


def mirrored_poses(camera_from_face: Tensor) -> Tensor:
    """Return the poses (N, 4, 4) of mirrored faces: x changes sign in the camera, y in the face frame."""
    flip_camera, flip_face = (camera_from_face.new_tensor(signs) for signs in (FLIP_CAMERA, FLIP_FACE))
    return flip_camera[:, None] * camera_from_face * flip_face
