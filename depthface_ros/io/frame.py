# SPDX-License-Identifier: Apache-2.0
"""A recorded depth image and its camera: what every kind of recording yields."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depthface_ros.geometry.camera import Intrinsics


@dataclass(frozen=True, eq=False)
class Frame:
    """One depth image (H, W), uint16 millimetres or float32 metres, and its camera."""

    stamp_ns: int
    depth: np.ndarray
    intrinsics: Intrinsics
    name: str
    frame_id: str = 'camera_depth_optical_frame'
    stamped: bool = True  # whether the camera set the stamp
    recorded_ns: int | None = None  # when the image was recorded


class Recording(Protocol):
    """Frames in the order of time."""

    count: int | None  # of the frames; None if only reading tells
    stamped: bool  # whether a camera took one after the other, at the times that they bear

    def __iter__(self) -> Iterator[Frame]: ...


def intrinsics_of(values: tuple[float, ...], height: int, width: int) -> Intrinsics:
    """fx, fy, cx, cy, or fx, fy of a camera that looks through the centre of this image."""
    if len(values) not in (2, 4):
        raise ValueError(f'{len(values)} numbers as intrinsics: expected fx,fy,cx,cy or fx,fy')
    return Intrinsics(*values, *(((width - 1) / 2, (height - 1) / 2) if len(values) == 2 else ()))
