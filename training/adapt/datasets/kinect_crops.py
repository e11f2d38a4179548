# SPDX-License-Identifier: Apache-2.0
"""Kinect v2 face crops in one .npz: `depth_mm` (N, H, W), `size_hw` (N, 2), person in `session`."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthface_ros.io.recordings import open_recording
from training.adapt.datasets import Labelled

FOCAL = 365.0  # px; the place of a crop in its image is unknown: its centre is the principal point


class KinectCrops:
    """Unlabelled crops, by person."""

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

    def __iter__(self) -> Iterator[Labelled]:
        for frame, person in zip(self._recording, self._session):
            yield Labelled(frame, person)
