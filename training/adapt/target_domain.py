# SPDX-License-Identifier: Apache-2.0
"""Faces of the target domain: windows of unlabelled depth images, with predicted poses."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from depthface_ros import Intrinsics
from depthface_ros.face_model.mirror import mirrored_expression, mirrored_offsets
from training.adapt.mirrored_batches import mirrored_poses, with_mirror_crops
from training.data.augment import Observation, joined, rigid, rigid_inverse, shape_batch

VIEWS = 2  # of every face in a batch
COLUMNS = ('depth_m', 'camera_from_face', 'offsets', 'expression', 'is_face')  # without the cameras


def observation(depth_m: np.ndarray, cameras: np.ndarray,
                camera_from_face: np.ndarray) -> Observation:
    """Return unlabelled windows.

    :param depth_m: (N, H, W) m.
    :param cameras: (N, 4) fx, fy, cx, cy in pixels.
    :param camera_from_face: (N, 4, 4).
    """
    count = len(depth_m)
    return Observation(torch.from_numpy(depth_m), camera_of(torch.from_numpy(cameras)),
                       torch.from_numpy(camera_from_face).float(), torch.zeros(count, 0, 3),
                       torch.zeros(count, 0), torch.ones(count))


def select(windows: Observation, index: Tensor) -> Observation:
    """Return the windows of an index (M,) int64."""
    return replace(windows, intrinsics=camera_of(numbers_of(windows.intrinsics)[index]),
                   **{name: getattr(windows, name)[index] for name in COLUMNS})


def concatenate(parts: list[Observation]) -> Observation:
    numbers = torch.cat([numbers_of(part.intrinsics) for part in parts])
    return Observation(intrinsics=camera_of(numbers), **{
        name: torch.cat([getattr(part, name) for part in parts]) for name in COLUMNS})


def with_mirror_images(windows: Observation) -> Observation:
    """Return windows, labelled or not, followed by their exact mirror images.

    People's poses in a recording are rarely symmetric. A network adapted to them alone would be
    biased to one side.
    """
    width, labelled = windows.depth_m.shape[2], windows.offsets.shape[1] > 0
    fx, fy, cx, cy = numbers_of(windows.intrinsics).unbind(1)
    mirror = replace(
        windows, depth_m=windows.depth_m.flip(2),
        intrinsics=camera_of(torch.stack([fx, fy, width - 1 - cx, cy], 1)),
        camera_from_face=mirrored_poses(windows.camera_from_face))
    if labelled:
        mirror = replace(mirror, offsets=mirrored_offsets(windows.offsets),
                         expression=mirrored_expression(windows.expression))
    return concatenate([windows, mirror])


def camera_of(numbers: Tensor) -> Intrinsics:
    """Return the cameras of a batch: (B, 4) fx, fy, cx, cy to fields (B, 1, 1)."""
    return Intrinsics(*numbers[:, :, None, None].unbind(1))


def numbers_of(camera: Intrinsics) -> Tensor:
    """Invert :func:`camera_of`."""
    return torch.cat([field[:, :, 0] for field in (camera.fx, camera.fy, camera.cx, camera.cy)], 1)


def view_batch(windows: Observation, generator: torch.Generator) -> dict[str, Tensor]:
    """Return VIEWS crops of every window at different pose errors: views of known relative motion.

    :returns: the entries of :func:`shape_batch`, and the `pose` that each crop was taken in. Views
        follow each other, each with its mirror image: (2 VIEWS B, ...).
    """
    views = []
    for _ in range(VIEWS):
        view = shape_batch(windows, generator)
        pose = windows.camera_from_face @ rigid_inverse(rigid(view['residual']))
        views.append(with_mirror_crops(view | {'pose': pose}))
    return joined(views)
