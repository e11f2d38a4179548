# SPDX-License-Identifier: Apache-2.0
"""The camera of each image of a bag, out of camera_info that may come once, late or zero."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.bags.messages import decoded, frame_id
from depthface_ros.io.camera_info import (
    intrinsics_from_camera_info,
    is_other_frame,
    is_rectified,
)
from depthface_ros.io.compressed_depth import raw_topic
from depthface_ros.io.errors import one_line
from depthface_ros.io.frame import intrinsics_of
from depthface_ros.io.quoting import quoted
from depthface_ros.io.rejections import Rejections
from depthface_ros.io.storage.types import Message


class BagCamera:
    """The newest camera_info that describes the images; before the first, that first one."""

    def __init__(self, image_topic: str, info_topic: str | None,
                 given: tuple[float, ...] | None,
                 all_infos: Callable[[], Iterator[Message]], rejections: Rejections):
        """Start without a camera_info.

        :param given: fx, fy, cx, cy or fx, fy in pixels, which replace camera_info.
        :param all_infos: yields all camera_info messages of the bag.
        """
        self._rectified = is_rectified(raw_topic(image_topic))
        self._info_topic, self._given = info_topic, given
        self._all_infos, self._rejections = all_infos, rejections
        self._newest: Message | None = None
        self._good: tuple[object, Intrinsics] | None = None  # a camera_info and what it means
        self._used: tuple[object, tuple[int, int]] | None = None  # message, image size

    def receive(self, message: Message) -> None:
        """Take over a camera_info for the images that follow."""
        self._newest = message

    def intrinsics(self, height: int, width: int, image_frame: str) -> Intrinsics:
        """Return the camera of an image of this size.

        :raises ValueError: no camera_info of the bag describes such an image.
        """
        if self._given:
            return intrinsics_of(self._given, height, width)
        wanted = self._newest, (height, width)
        if self._good is None or self._used != wanted:
            self._good = self._convert(height, width)
            self._used = wanted
            self._compare_frames(self._good[0], image_frame)
        return self._good[1]

    def _convert(self, height: int, width: int) -> tuple[object, Intrinsics]:
        cause = None
        if self._newest is not None:
            try:
                return self._converted(self._newest, height, width)
            except Exception as error:
                cause = one_line(error)
        if self._good is not None and self._used[1] == (height, width):
            self._rejections.note(f'camera_info on {self._info_topic}: {cause}; the last good one '
                                  'is used')
            return self._good
        for message in self._all_infos():
            try:
                good = self._converted(message, height, width)
            except Exception as error:
                cause = cause or one_line(error)
                continue
            if cause:
                self._rejections.note(f'camera_info on {self._info_topic}: {cause}; the first '
                                      'good one of the recording is used')
            return good
        raise ValueError(cause or f'no camera_info on {self._info_topic} can be read')

    def _converted(self, message: Message, height: int, width: int) -> tuple[object, Intrinsics]:
        info = decoded(message)
        intrinsics = intrinsics_from_camera_info(info, height, width, self._rectified)
        intrinsics.check()
        return info, intrinsics

    def _compare_frames(self, info, image_frame: str) -> None:
        if is_other_frame(frame_id(info), image_frame):
            self._rejections.note(
                f'camera_info on {self._info_topic} is of frame {quoted(frame_id(info))}, the '
                f'images of frame {quoted(image_frame)}: expected one frame; choose another one '
                'with --info-topic if it is the camera_info of another camera')
