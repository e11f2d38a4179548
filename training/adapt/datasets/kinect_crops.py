# SPDX-License-Identifier: Apache-2.0
"""Crops of faces by a Kinect v2, and points that people marked in them.

`frames.npz` holds `depth_mm` (N, H, W), `size_hw` (N, 2), and in `session` who is shown.
`landmarks.npz`, if it lies beside, holds `landmarks_xy` (N, P, 2) pixels and `names` (P,).
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthface_ros.io.recordings import open_recording
from training.adapt.datasets import Labelled

FOCAL = 365.0  # px; the place of a crop in its image is unknown: its centre is the principal point


class KinectCrops:
    """Crops with the people they show, and with landmarks where there are any."""

    def __init__(self, path: Path):
        """Open the file.

        :raises ValueError: the file has other contents.
        """
        file = path / 'frames.npz' if path.is_dir() else path
        self._recording = open_recording(file, (FOCAL, FOCAL))
        with np.load(file) as arrays:
            if 'session' not in arrays or len(arrays['session']) != len(arrays['depth_mm']):
                raise ValueError(f'{file} does not say who each crop shows: expected `session`, '
                                 'as long as `depth_mm`')
            self._session = arrays['session'].astype(str).tolist()
        self.people = tuple(sorted(set(self._session)))
        self._landmarks = read_landmarks(file.with_name('landmarks.npz'), len(self._session))

    def __iter__(self) -> Iterator[Labelled]:
        for frame, person, landmarks in zip(self._recording, self._session, self._landmarks):
            yield Labelled(frame, person, landmarks=landmarks, faces=1)


def read_landmarks(file: Path, count: int) -> list[dict[str, np.ndarray] | None]:
    """Return the points that were marked in each of so many images, None without a file.

    :raises ValueError: the file holds other arrays, or for another number of images.
    """
    if not file.exists():
        return [None] * count
    with np.load(file) as arrays:
        xy, names = arrays.get('landmarks_xy'), arrays.get('names')
    if xy is None or names is None or xy.shape != (count, len(names), 2):
        raise ValueError(f'{file}: expected `names` (P,) and `landmarks_xy` ({count}, P, 2), found '
                         f'{None if xy is None else xy.shape}')
    return [dict(zip(names.tolist(), points)) for points in xy.astype(float)]
