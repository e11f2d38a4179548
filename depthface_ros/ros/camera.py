# SPDX-License-Identifier: Apache-2.0
"""The camera of the images, as its latest camera_info describes it."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import CameraInfo

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info, is_other_frame
from depthface_ros.io.quoting import quoted
from depthface_ros.ros.conversions import deserialised
from depthface_ros.ros.health import Problems

PATIENCE = 0.2  # s; the first camera_info may arrive shortly after the first image
# Tolerances of intrinsics for the same camera: 0.001 px at a focal length of 1000 px.
TOLERANCE = {'rtol': 1e-6, 'atol': 1e-9}
_HEAD_BYTES = 12  # of a serialised message: four that name the encoding, and its stamp


class _Conversion(NamedTuple):
    """Intrinsics, and what they were computed from."""

    info: CameraInfo
    size: tuple[int, int]  # height, width
    intrinsics: Intrinsics


class Camera:
    """Keeps the latest camera_info and converts it for the images; one message is enough.

    :param rectified: whether the images are rectified: P counts, D does not.
    :param before: the camera before the node was deactivated: its camera_info stays in force.
    """

    def __init__(self, problems: Problems, rectified: bool, before: Camera | None = None):
        self.rectified = rectified
        self.changes = 0  # of the content of camera_info
        self._problems = problems
        self._info: CameraInfo | None = None
        self._content = b''
        self._came = threading.Event()
        self._conversion: _Conversion | None = None
        if before is not None and before.known:
            self._info, self._content = before._info, before._content
            self._came.set()

    @property
    def known(self) -> bool:
        """Return whether a camera_info was received."""
        return self._came.is_set()

    def on_camera_info(self, data: bytes) -> None:
        """Store a serialised camera_info; called in the executor's thread."""
        content = data[_HEAD_BYTES:]
        if content != self._content:
            try:
                self._info = deserialised(data, CameraInfo)
            except ValueError as error:
                self._problems.report('camera_info', str(error))
                return
            self._content = content
            self.changes += 1
        self._came.set()

    def intrinsics(self, height: int, width: int, frame_id: str, topic: str) -> Intrinsics:
        """Return the intrinsics for an image; the same object as long as the camera is the same.

        :param frame_id: of the image.
        :param topic: of the camera_info.
        :raises ValueError: no camera_info came, or it does not describe a camera of this image.
        """
        if not self._came.wait(PATIENCE):
            raise ValueError(f'no camera_info yet on {topic}: expected one beside each image, or '
                             'one for all; check the topic name and the camera driver')
        info, before = self._info, self._conversion
        if before is None or before.info is not info or before.size != (height, width):
            self._check_frame(info.header.frame_id, frame_id)
            found = intrinsics_from_camera_info(info, height, width, self.rectified)
            if (before is not None and before.size == (height, width)
                    and is_same_camera(found, before.intrinsics)):
                found = before.intrinsics  # with its ray map
            self._conversion = _Conversion(info, (height, width), found)
        return self._conversion.intrinsics

    def _check_frame(self, info_frame: str, image_frame: str) -> None:
        if is_other_frame(info_frame, image_frame):
            self._problems.report(
                'camera_info frame', f'camera_info is for frame {quoted(info_frame)}, images are '
                f'in {quoted(image_frame)}: expected the camera_info of the depth stream; check '
                'the remapping of depth/camera_info', once=True)


def is_same_camera(one: Intrinsics, other: Intrinsics) -> bool:
    """Return whether two cameras differ by no more than rounding."""
    return (one.distortion_model == other.distortion_model
            and len(one.distortion) == len(other.distortion)
            and np.allclose(_numbers(one), _numbers(other), **TOLERANCE))


def _numbers(camera: Intrinsics) -> tuple[float, ...]:
    return (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
