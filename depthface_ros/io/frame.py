# SPDX-License-Identifier: Apache-2.0
"""A recorded depth image and its camera: what every kind of recording yields."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.rejections import Rejections


@dataclass(frozen=True, eq=False)
class Frame:
    """One depth image (H, W), uint16 millimetres or float32 metres, and its camera."""

    stamp_ns: int  # of the image; where it has none, the time at which it was recorded
    depth: np.ndarray
    intrinsics: Intrinsics
    name: str
    frame_id: str = 'camera_depth_optical_frame'
    stamped: bool = True  # whether the image has a stamp of its own
    recorded_ns: int | None = None  # by the clock of the recorder


class Recording(Protocol):
    """Frames in the order of time. Images that cannot be read are skipped and counted."""

    stamped: bool  # whether one camera took them at the times of their stamps
    rejections: Rejections
    count: int | None  # of the frames; None before they are read

    @property
    def description(self) -> str:
        """Return what is read, in one line."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...


def frame_name(frame_id: str) -> str:
    """Return a frame_id without the slash with which ROS 1 began it: tf2 accepts none."""
    return frame_id.lstrip('/')


def intrinsics_of(values: tuple[float, ...], height: int, width: int) -> Intrinsics:
    """Return the intrinsics fx, fy, cx, cy, or fx, fy with the principal point in the centre."""
    if len(values) not in (2, 4):
        raise ValueError(f'{len(values)} numbers as intrinsics: expected fx,fy,cx,cy or fx,fy')
    return Intrinsics(*values, *(((width - 1) / 2, (height - 1) / 2) if len(values) == 2 else ()))
