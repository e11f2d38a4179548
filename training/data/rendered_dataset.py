# SPDX-License-Identifier: Apache-2.0
"""Rendered data sets: windows around heads, and coarse whole frames, read from shards.

Training reads a shard many times, with new mirror images, rolls and sensor noise.
"""
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.synthesis.scene.cameras import FAMILIES, sample_sensor
from training.synthesis.sensors import Sensor, SensorBatch

WINDOW_PIXELS = 160
SENSORS_PER_FAMILY = 4096
FACES = 0.6  # fraction of faces among the windows that are drawn, if there are others
FAR, FAR_WEIGHT = 1.5, 0.5  # m; relative frequency of windows beyond
DEPTH_STEP = 1e-4  # m; clean depth is stored as uint16 multiples, so it ends at 6.5 m
MAX_HEADS = 4  # labelled in a frame


@dataclass(frozen=True)
class RenderedDataset:
    """Rendered depth and the data that sensor noise depends on; first dimension: the sample."""

    depth_steps: Tensor  # (N, H, W) uint16 of DEPTH_STEP, 0 nothing
    hair_mask: Tensor  # (N, H, W) bool
    intrinsics: Tensor  # (N, 4) fx, fy, cx, cy of the rendered image, px
    fx_native: Tensor  # (N,) px
    pixel_scale: Tensor  # (N,) native pixels per rendered pixel
    family: Tensor  # (N,) index into FAMILIES
    sensor: Tensor  # (N, settings) the sensor that was drawn with the camera

    @classmethod
    def load(cls, folder: Path, shards: slice = slice(None)):
        """Read all shards of a folder, or some.

        :raises FileNotFoundError: there is no shard; the text names the command that renders them.
        """
        paths = sorted(folder.glob('shard_*.npz'))[shards]
        if not paths:
            raise FileNotFoundError(f'no shards in {folder}: run `python -m training render` first')
        columns: dict[str, list[Tensor]] = {field.name: [] for field in fields(cls)}
        for path in paths:
            with np.load(path) as shard:
                for name, parts in columns.items():
                    parts.append(torch.from_numpy(shard[name]))
        return cls(**{name: torch.cat(parts) for name, parts in columns.items()})

    def to(self, device: torch.device):
        """Return the data set on a device. Batches are drawn there, so indices and generators must be there."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __len__(self) -> int:
        return len(self.fx_native)

    def depth(self, index: Tensor) -> Tensor:
        """Return clean depth (B, H, W) float32 metres, 0 where nothing is."""
        steps = self.depth_steps.view(torch.int16)[index]  # CUDA cannot index unsigned integers
        return (steps.int() & 0xffff) * DEPTH_STEP

    def hair(self, index: Tensor) -> Tensor:
        return self.hair_mask[index]

    def sensors(self, index: Tensor, generator: torch.Generator | None) -> SensorBatch:
        """Return the sensors of samples `index`; with a generator, new ones of the same families.

        The range stays that of the sample, whose distance lies within.
        """
        own = self.sensor[index]
        if generator is None:
            return SensorBatch(own)
        choice = torch.randint(SENSORS_PER_FAMILY, (len(index),), generator=generator, device=index.device)
        table = sensor_bank(index.device)[self.family[index].long(), choice]
        for name in ('min_range', 'max_range'):
            table[:, Sensor._fields.index(name)] = own[:, Sensor._fields.index(name)]
        return SensorBatch(table)


@cache
def sensor_bank(device: torch.device) -> Tensor:
    """Return random sensors (families, SENSORS_PER_FAMILY, settings) for training samples."""
    rng = np.random.default_rng(0)
    return torch.tensor([[tuple(sample_sensor(rng, family)) for _ in range(SENSORS_PER_FAMILY)]
                         for family in FAMILIES], dtype=torch.float32, device=device)


@dataclass(frozen=True)
class FaceWindows(RenderedDataset):
    """Square windows around heads and other objects, each with the labels of one face."""

    camera_from_face: Tensor  # (N, 4, 4) float32
    offsets: Tensor  # (N, V, 3) float16 metres from the template, face frame
    expression: Tensor  # (N, 52) float16 in 0..1
    is_face: Tensor  # (N,) bool: enough of the face is in view

    def draw(self, among: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw from the samples `among`: FACES of them faces, and fewer from beyond FAR.

        Sensors show little of a face there, so such samples teach little.
        """
        weight = torch.where(self.camera_from_face[among, 2, 3] < FAR, 1., FAR_WEIGHT)
        face = self.is_face[among]
        weight = torch.where(face, FACES / (weight * face).sum(), (1 - FACES) / (weight * ~face).sum()) * weight
        return among[torch.multinomial(weight, count, True, generator=generator)]


@dataclass(frozen=True)
class CoarseFrames(RenderedDataset):
    """Whole frames at the resolution of the head detector, with head centres."""

    head_centres: Tensor  # (N, MAX_HEADS, 3) float32 metres, camera frame; NaN where there is none
    head_visible: Tensor  # (N, MAX_HEADS) float32, visible fraction of the head
