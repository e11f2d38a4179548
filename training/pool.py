# SPDX-License-Identifier: Apache-2.0
"""Pools of rendered scenes on disk: windows around heads, and coarse whole frames.

Rendering is dearer than training, so scenes are rendered once, without noise, into shards that
training reads many times through fresh mirrors, rolls and sensor noise. A shard depends on the
split, the seed and its own number alone; a shard that exists is not rendered again.
"""
from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.synthesis.cameras import FAMILIES, sample_camera
from training.synthesis.people import PeopleFactory
from training.synthesis.scene import render_frame, render_window, sample_scene
from training.synthesis.sensors import Sensor, SensorBatch

WINDOW_PIXELS = 160
DEPTH_STEP = 1e-4  # m; clean depth is stored as uint16 of this, so beyond 6.5 m is nothing
SHARD_SIZES = {'windows': 256, 'frames': 128}
MAX_HEADS = 4  # labelled in a frame
VISIBLE_FACE = 0.35  # share of a face's pixels that must be in view for a pose to be fair to ask
FACING = 0.0  # cosine between the face's x axis and the ray back to the camera: 90 degrees


@dataclass(frozen=True)
class Pool:
    """Rendered depth with what it takes to add noise; first dimension: the sample."""

    depth_steps: Tensor  # (N, H, W) uint16 of DEPTH_STEP, 0 nothing
    hair_mask: Tensor  # (N, H, W) bool
    intrinsics: Tensor  # (N, 4) fx, fy, cx, cy of the rendered image, px
    fx_native: Tensor  # (N,) px
    pixel_scale: Tensor  # (N,) native pixels per rendered pixel
    family: Tensor  # (N,) index into FAMILIES
    sensor: Tensor  # (N, settings) the sensor that was drawn with the camera

    @classmethod
    def load(cls, folder: Path):
        """Read all shards of a folder.

        :raises FileNotFoundError: no shard is there; says which command renders them.
        """
        paths = sorted(folder.glob('shard_*.npz'))
        if not paths:
            raise FileNotFoundError(f'no shards in {folder}: run `python -m training render` first')
        columns: dict[str, list[Tensor]] = {field.name: [] for field in fields(cls)}
        for path in paths:
            with np.load(path) as shard:
                for name, parts in columns.items():
                    parts.append(torch.from_numpy(shard[name]))
        return cls(**{name: torch.cat(parts) for name, parts in columns.items()})

    def __len__(self) -> int:
        return len(self.fx_native)

    def depth(self, index: Tensor) -> Tensor:
        """Clean depth (B, H, W) float32 metres, 0 where nothing is."""
        return self.depth_steps[index].float() * DEPTH_STEP

    def hair(self, index: Tensor) -> Tensor:
        return self.hair_mask[index]

    def sensors(self, index: Tensor, generator: torch.Generator | None) -> SensorBatch:
        """The sensors of samples `index`; with a generator, others of their families instead.

        The range stays a sample's own: its distance was chosen to lie within.
        """
        table = self.sensor[index].clone()
        if generator is not None:
            own_range = [Sensor._fields.index(name) for name in ('min_range', 'max_range')]
            for family in range(len(FAMILIES)):
                mine = torch.nonzero(self.family[index] == family)[:, 0]
                same = torch.nonzero(self.family == family)[:, 0]
                chosen = same[torch.randint(len(same), (len(mine),), generator=generator)] if len(mine) else mine
                swapped = self.sensor[chosen].clone()
                swapped[:, own_range] = table[mine][:, own_range]
                table[mine] = swapped
        return SensorBatch(table)


@dataclass(frozen=True)
class Windows(Pool):
    """Square windows around heads and around other things, with the labels of one face each."""

    camera_from_face: Tensor  # (N, 4, 4) float32
    offsets: Tensor  # (N, V, 3) float16 metres from the template, face frame
    expression: Tensor  # (N, 52) float16 in 0..1
    is_face: Tensor  # (N,) bool: enough of the face shows
    is_head: Tensor  # (N,) bool: a head, if only its back


@dataclass(frozen=True)
class Frames(Pool):
    """Whole frames, sampled as coarsely as the head finder sees them, and where the heads are."""

    head_centres: Tensor  # (N, MAX_HEADS, 3) float32 metres, camera frame; NaN where there is none
    head_visible: Tensor  # (N, MAX_HEADS) float32, share of the head in view
