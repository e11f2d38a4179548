# SPDX-License-Identifier: Apache-2.0
"""Depth images out of ROS bags, without ROS."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthface_ros.io.bags.camera import BagCamera
from depthface_ros.io.bags.files import BagFiles
from depthface_ros.io.bags.messages import decoded, frame_id, stamp_ns
from depthface_ros.io.bags.topics import depth_topic, image_topics, info_topics
from depthface_ros.io.compressed_depth import decompress_depth
from depthface_ros.io.depth_encodings import depth_image
from depthface_ros.io.errors import one_line, reading
from depthface_ros.io.frame import Frame
from depthface_ros.io.quoting import as_name
from depthface_ros.io.rejections import Rejections
from depthface_ros.io.storage.types import CAMERA_INFO, COMPRESSED, Message


class BagRecording:
    """The depth images of one topic of a ROS 1 or 2 bag, with the camera_info beside it.

    Messages that cannot be read are skipped, counted in `rejections` and reported once per kind.
    """

    stamped = True

    def __init__(self, path: str | Path, intrinsics: tuple[float, ...] | None = None,
                 topic: str | None = None, info_topic: str | None = None,
                 unit_m: float | None = None):
        """Open the bag and choose the topics.

        :raises ValueError: there is nothing to read, or the choice is not clear.
        """
        self.rejections = Rejections()
        self._path, self._unit_m = Path(path), unit_m
        self._bag = BagFiles(self._path)
        with reading(str(path)):
            self.topic = topic or depth_topic(self._bag)
            self._images = image_topics(self._bag, self.topic)
            self._infos = [] if intrinsics else info_topics(self._bag, self.topic, info_topic)
        for damage in self._bag.damage:
            self.rejections.note(damage)
        self.count: int | None = sum(self._bag.topics[topic] for topic in self._images)
        self.info_topic = self._infos[0].name if self._infos else None
        self._camera = BagCamera(self.topic, self.info_topic, intrinsics, self._all_infos,
                                 self.rejections)

    @property
    def description(self) -> str:
        """What is read, for people."""
        camera = (f'camera_info on {as_name(self.info_topic)}' if self.info_topic
                  else 'given intrinsics')
        return f'depth on {as_name(self.topic)}, {camera}'

    def __iter__(self) -> Iterator[Frame]:
        found = read = 0
        messages = self._bag.messages([*self._images, *self._infos], self._note_damage)
        for message in messages:
            if message.topic.type == CAMERA_INFO:
                self._camera.receive(message)
                continue
            found += 1
            frame = self._frame(message)
            if frame is not None:
                read += 1
                yield frame
        lost = self.count - found
        if lost > 0:
            self.rejections.reject('lost in damaged parts of the file',
                                   f'{lost} images on {self.topic}', lost)
        with reading(f'{self._path}: {self.topic}'):
            self.rejections.require_some(read)

    def _frame(self, message: Message) -> Frame | None:
        """Return the frame of an image message, or None for one that is rejected."""
        time_ns = message.stamp_ns
        try:
            image = decoded(message)
            own_ns = stamp_ns(image)
            time_ns = own_ns or time_ns
            depth = _depth(image, message.topic.type, self._unit_m)
            intrinsics = self._camera.intrinsics(*depth.shape, frame_id(image))
        except Exception as error:  # decoders of foreign bytes raise anything
            self.rejections.reject(one_line(error), f'at {seconds(time_ns)}')
            return None
        return Frame(time_ns, depth, intrinsics, seconds(time_ns), frame_id(image),
                     own_ns is not None, message.stamp_ns)

    def _all_infos(self) -> Iterator[Message]:
        return self._bag.messages(self._infos)

    def _note_damage(self, damage: str) -> None:
        self.rejections.note(f'{self._path} is damaged in part: {damage}; it is skipped')


def seconds(time_ns: int) -> str:
    """Return a time as text, as in '1700000000.123456789'."""
    return f'{time_ns // 10 ** 9}.{time_ns % 10 ** 9:09d}'


def _depth(image, kind: str, unit_m: float | None) -> np.ndarray:
    if kind == COMPRESSED:
        return decompress_depth(image.data, image.format, unit_m)
    return depth_image(image.data, image.encoding, image.height, image.width, image.step,
                       bool(image.is_bigendian), unit_m)
