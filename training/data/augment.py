# SPDX-License-Identifier: Apache-2.0
"""Augment clean rendered windows: mirror, sensor noise, roll, jitter.

Mirroring and rolling a window are exact, and the noise of the sensor is drawn each time, so no
two batches show a window alike.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from roma import rotvec_to_rotmat
from torch import Tensor

from depthface_ros.face_model.mirror import mirrored_expression, mirrored_offsets
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, POSE_CROP_SIZE, pose_crop, shape_crop
from depthface_ros.geometry.rotations import homogeneous
from training.data.rendered_dataset import FaceWindows
from training.synthesis.sensors import simulate

# Functions that make crops of windows, and their numbers of crops for each window.
Makers = list[tuple[Callable[..., dict[str, Tensor]], int]]


@dataclass(frozen=True)
class Observation:
    """Noisy windows with their labels, B of each; metres, camera frame."""

    depth_m: Tensor  # (B, H, W), 0 invalid
    intrinsics: Intrinsics  # fields (B, 1, 1)
    camera_from_face: Tensor  # (B, 4, 4)
    offsets: Tensor  # (B, V, 3), face frame
    expression: Tensor  # (B, 52)
    is_face: Tensor  # (B,) 1 if enough of a face is in view to predict its pose


def observe(windows: FaceWindows, index: Tensor, generator: torch.Generator,
            other_sensors: bool = True) -> Observation:
    """Mirror half of the windows `index` (B,) and add noise of sensors of their families.

    Windows, index and generator are on one device, as is the result.
    """
    mirrored = uniform(len(index), generator) < 0.5
    depth = windows.depth(index)
    depth = torch.where(mirrored[:, None, None], depth.flip(2), depth)
    hair = windows.hair(index)
    hair = torch.where(mirrored[:, None, None], hair.flip(2), hair)
    fx, fy, cx, cy = windows.intrinsics[index].unbind(1)
    cx = torch.where(mirrored, depth.shape[2] - 1 - cx, cx)

    # The mirror image of a rigid motion: x is flipped in the camera frame, y in the face frame.
    pose = windows.camera_from_face[index]
    flip_camera = pose.new_tensor([-1., 1., 1., 1.])[:, None]
    flip_face = pose.new_tensor([1., -1., 1., 1.])[None, :]
    pose = torch.where(mirrored[:, None, None], flip_camera * pose * flip_face, pose)
    offsets = windows.offsets[index].float()
    offsets = torch.where(mirrored[:, None, None], mirrored_offsets(offsets), offsets)
    expression = windows.expression[index].float()
    expression = torch.where(mirrored[:, None], mirrored_expression(expression), expression)

    sensors = windows.sensors(index, generator if other_sensors else None)
    noisy = simulate(depth, sensors, windows.fx_native[index], windows.pixel_scale[index],
                     generator, hair=hair, centre=torch.stack([cx, cy], dim=1))
    intrinsics = Intrinsics(*(value[:, None, None] for value in (fx, fy, cx, cy)))
    return Observation(noisy, intrinsics, pose, offsets, expression,
                       windows.is_face[index].float())


def pose_batch(seen: Observation, generator: torch.Generator, jitter_m: float = 0.010,
               roll_rad: float = 0.5, any_roll: float = 0.15) -> dict[str, Tensor]:
    """Return crops and labels of the pose network, at detections that err by `jitter_m` (sigma per axis).

    :param any_roll: fraction of crops that are rolled by any angle, the others by up to `roll_rad`.
    """
    count = len(seen.is_face)
    centre_face = seen.camera_from_face.new_tensor(HEAD_CENTRE_FACE)
    centre = transform(seen.camera_from_face, centre_face.expand(count, 1, 3))[:, 0]
    # heavy tails: most errors of the detector are small; one in six, as at occluders, is not
    scale = jitter_m * torch.exp(0.5 * normal((count, 1), generator))
    scale = scale * torch.where(uniform((count, 1), generator) < 0.16, 4.0, 1.0)
    centre = centre + scale * normal((count, 3), generator)
    # some crops are at any roll, which few cameras are
    limit = torch.where(uniform(count, generator) < any_roll, torch.pi, roll_rad)
    roll = limit * (2 * uniform(count, generator) - 1)
    crops, camera_from_crop = pose_crop(seen.depth_m, seen.intrinsics, centre, roll)
    crop_from_face = rigid_inverse(camera_from_crop) @ seen.camera_from_face
    return {'crop': crops, 'rotation': crop_from_face[:, :3, :3].contiguous(),
            'sellion': crop_from_face[:, :3, 3] / (POSE_CROP_SIZE / 2), 'is_face': seen.is_face}


def crop_from_face(rotation: Tensor, sellion: Tensor) -> Tensor:
    """Return poses (B, 4, 4) in pose crops, m, of rotations (B, 3, 3) and sellions (B, 3) in half crops."""
    return homogeneous(rotation, sellion * (POSE_CROP_SIZE / 2))


def shape_batch(seen: Observation, generator: torch.Generator, rotation_rad: float = 0.05,
                translation_m: float = 0.005) -> dict[str, Tensor]:
    """Return crops and labels of the shape network, at poses that err by about this much (sigma per axis).

    The spread is that of the pose network. A network trained on small errors under-corrects large ones.
    """
    return placed_shape_batch(seen, drawn_residual(len(seen.is_face), generator, rotation_rad, translation_m))


def drawn_residual(count: int, generator: torch.Generator, rotation_rad: float = 0.05,
                   translation_m: float = 0.005) -> Tensor:
    """Draw errors of poses (B, 6), rotation vector and translation, with heavy tails."""
    scale = torch.exp(0.8 * normal((count, 1), generator))
    noise = normal((count, 6), generator) * scale
    return torch.cat([noise[:, :3] * rotation_rad, noise[:, 3:] * translation_m], dim=1)


def placed_shape_batch(seen: Observation, residual: Tensor) -> dict[str, Tensor]:
    """Return crops and labels of the shape network, at poses that `residual` (B, 6) would correct."""
    camera_from_predicted = seen.camera_from_face @ rigid_inverse(rigid(residual))
    return {'crop': shape_crop(seen.depth_m, seen.intrinsics, camera_from_predicted),
            'offsets': seen.offsets, 'expression': seen.expression, 'residual': residual}


def fresh_batch(windows: FaceWindows, among: Tensor, makers: Makers, crops: int, generator: torch.Generator,
                other_sensors: bool = True) -> dict[str, Tensor]:
    """Return a new batch of `crops`, from random windows `among`."""
    index = windows.draw(among, crops // sum(count for _, count in makers), generator)
    return crops_of(windows, index, makers, generator, other_sensors)


def crops_of(windows: FaceWindows, index: Tensor, makers: Makers, generator: torch.Generator,
             other_sensors: bool = True) -> dict[str, Tensor]:
    """Return a batch as :func:`fresh_batch`, of the windows `index` (B,)."""
    seen = observe(windows, index, generator, other_sensors)
    return joined([several(make, seen, generator, count) for make, count in makers])


def several(make_batch: Callable[..., dict[str, Tensor]], seen: Observation, generator: torch.Generator,
            crops: int) -> dict[str, Tensor]:
    """Return `crops` different crops of every window: noise costs more than a crop."""
    return joined([make_batch(seen, generator) for _ in range(crops)])


def joined(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate batches."""
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return random numbers in 0..1, on the device of the generator."""
    return torch.rand(shape, generator=generator, device=generator.device)


def normal(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return unit normal random numbers, on the device of the generator."""
    return torch.randn(shape, generator=generator, device=generator.device)


def rigid(twist: Tensor) -> Tensor:
    """Return rigid motions (B, 4, 4) of rotation vectors (rad) and translations (m), (B, 6)."""
    return homogeneous(rotvec_to_rotmat(twist[:, :3]), twist[:, 3:])


def rigid_inverse(a_from_b: Tensor) -> Tensor:
    """Return b_from_a of rigid motions (B, 4, 4)."""
    inverse = a_from_b[:, :3, :3].mT
    return homogeneous(inverse, (-inverse @ a_from_b[:, :3, 3:])[:, :, 0])


def transform(a_from_b: Tensor, points_b: Tensor) -> Tensor:
    """Return points (B, N, 3) of frame b in frame a."""
    return points_b @ a_from_b[:, :3, :3].mT + a_from_b[:, None, :3, 3]
