# SPDX-License-Identifier: Apache-2.0
"""What an estimator is told, and what it tells: where heads are, and faces."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depthface_ros.estimation.head_detector import MAX_DEPTH, MIN_DEPTH
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera


class Heads(NamedTuple):
    """Where to look for faces. One value of heat or tracked may stand for all N."""

    centres: np.ndarray  # (N, 3) float32, metres, camera frame
    heat: np.ndarray | float = 0.5  # (N,) 0..1, of the head finder; 0.5: it was not asked
    tracked: np.ndarray | bool = False  # (N,) whether there was a face a moment ago

    def measurable(self) -> Heads:
        """Those at a distance that can be measured, with a value of heat and tracked for each.

        :raises ValueError: the centres are not what is described above.
        """
        centres = np.asarray(self.centres, np.float32)
        if centres.ndim != 2 or centres.shape[1] != 3 or not np.isfinite(centres).all():
            raise ValueError(f'head centres of shape {centres.shape}: expected (N, 3), all finite')
        inside = (centres[:, 2] > MIN_DEPTH) & (centres[:, 2] < MAX_DEPTH)
        return Heads(centres[inside], *(np.full(len(centres), part)[inside] for part in self[1:]))


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one depth image. Arrays are float32; metres, camera frame."""

    camera_from_face: np.ndarray  # (4, 4)
    vertices: np.ndarray  # (V, 3)
    expression: np.ndarray  # (52,) in 0..1
    confidence: float  # 0..1
    rotation_std: float  # rad, one sigma per axis
    position_std: float  # m, one sigma per axis
    heat: float = 0.5  # 0..1, what the head finder said of it when it last looked

    @property
    def head_centre(self) -> np.ndarray:
        """(3,) metres, camera frame: where to look for this head in the next image."""
        return points_camera(self.camera_from_face[None], HEAD_CENTRE_FACE)[0]
