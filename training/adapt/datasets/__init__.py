# SPDX-License-Identifier: Apache-2.0
"""Readers of head recordings, labelled or not, behind one protocol."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from depthface_ros.io.frame import Frame
from depthface_ros.io.recordings import open_recording


@dataclass(frozen=True, eq=False)
class Labelled:
    """A frame, its person, and the pose of the head if the data set has it."""

    frame: Frame
    person: str
    # (4, 4) float64 metres; the head frame is the data set's own
    camera_from_head: np.ndarray | None = None
    landmarks: dict[str, np.ndarray] | None = None  # name -> (2,) pixels, marked by people
    faces: int | None = None  # in the image, if the data set has it


class Dataset(Protocol):
    """Frames by recording, with their people, for splits by person."""

    people: tuple[str, ...]

    def __iter__(self) -> Iterator[Labelled]: ...


class Unlabelled:
    """Recordings that :func:`open_recording` opens: bags, 16-bit PNGs with intrinsics, .npz files."""

    def __init__(self, path: Path, intrinsics: tuple[float, ...] | None = None,
                 topic: str | None = None, faces: int | None = None):
        """:param faces: in each image, if it is known."""
        self._recording = open_recording(path, intrinsics, topic)
        self._faces = faces
        self.people = (Path(path).stem,)

    def __iter__(self) -> Iterator[Labelled]:
        for frame in self._recording:
            yield Labelled(frame, self.people[0], faces=self._faces)


def open_dataset(kind: str, path: Path) -> Dataset:
    """Open a data set.

    :param kind: 'biwi', 'pandora', 'kinect2-crops', 'frames' for any recording, or 'one-person' for
        a recording in which each image shows one face, so that misses can be counted.

    :raises ValueError, OSError: there is no such kind, or the files are not what it expects.
    """
    from training.adapt.datasets.biwi import Biwi
    from training.adapt.datasets.kinect_crops import KinectCrops
    from training.adapt.datasets.pandora import Pandora
    kinds = {'biwi': Biwi, 'pandora': Pandora, 'kinect2-crops': KinectCrops, 'frames': Unlabelled,
             'one-person': partial(Unlabelled, faces=1)}
    if kind not in kinds:
        raise ValueError(f'data set {kind!r}: expected one of {", ".join(kinds)}')
    if not Path(path).exists():
        raise FileNotFoundError(f'{path} does not exist')
    return kinds[kind](Path(path))


def pose_from_parts(rotation: np.ndarray, position_m: np.ndarray, origin: str) -> np.ndarray:
    """Return the pose (4, 4) of a rotation (3, 3) and a position (3,).

    :raises ValueError: that is no rotation, or not finite; `origin` names its source.
    """
    if not np.isfinite(rotation).all() or not np.isfinite(position_m).all():
        raise ValueError(f'{origin}: the pose holds numbers that are not finite')
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.02 or np.linalg.det(rotation) < 0:
        raise ValueError(f'{origin}: {np.round(rotation, 3).tolist()} is not a rotation matrix')
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, position_m
    return pose
