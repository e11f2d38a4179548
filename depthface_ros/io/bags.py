# SPDX-License-Identifier: Apache-2.0
"""Depth images out of ROS bags, without ROS."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info, is_rectified
from depthface_ros.io.compressed_depth import decompress_depth
from depthface_ros.io.depth_encodings import DTYPES, depth_image
from depthface_ros.io.frame import Frame, intrinsics_of
from depthface_ros.tracking.stamps import is_valid_stamp

IMAGE, COMPRESSED, CAMERA_INFO = (
    f'sensor_msgs/msg/{name}' for name in ('Image', 'CompressedImage', 'CameraInfo'))


class BagRecording:
    """The depth images of one topic of a ROS 1 or 2 bag, with the camera_info beside it."""

    stamped = True

    def __init__(self, path: Path, intrinsics: tuple[float, ...] | None = None,
                 topic: str | None = None):
        """Open the bag and choose the topics; raises ValueError where that is not possible."""
        try:
            from rosbags.highlevel import AnyReader, AnyReaderError
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise ValueError(f'bags need rosbags ({error}): pip install rosbags') from error
        self._intrinsics = intrinsics
        try:
            # Bags by old ROS 2 versions do not hold the definitions of their messages.
            self._reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._reader.open()
        except (AnyReaderError, OSError, ValueError, KeyError, AssertionError) as error:
            raise ValueError(f'{path} does not open as a bag: {error or type(error).__name__}; '
                             'was its recording cut off?') from error
        except Exception as error:  # sqlite3, zstandard and others have errors of their own
            raise ValueError(f'{path} does not open as a bag: {error}') from error
        self.topic = topic or self._depth_topic(path)
        self._images = self._connections(self.topic, (IMAGE, COMPRESSED))
        if not self._images:
            raise ValueError(f'{path} has no images on topic {self.topic}: {self._topics()}')
        self._infos = [] if intrinsics else self._info_connections(path)
        self.count = sum(connection.msgcount for connection in self._images)

    def __iter__(self) -> Iterator[Frame]:
        info = self._first(self._infos) if self._infos else None
        for connection, bag_ns, data in self._reader.messages([*self._images, *self._infos]):
            message = self._reader.deserialize(data, connection.msgtype)
            if connection.msgtype == CAMERA_INFO:
                info = message
                continue
            stamp_ns = message.header.stamp.sec * 10 ** 9 + message.header.stamp.nanosec
            stamp_ns = stamp_ns if stamp_ns > 0 else bag_ns
            name = f'{stamp_ns // 10 ** 9}.{stamp_ns % 10 ** 9:09d}'
            try:
                depth = _decode(message, connection.msgtype)
                camera = self._camera(info, *depth.shape)
            except ValueError as error:
                raise ValueError(f'{self.topic} at {name}: {error}') from error
            yield Frame(stamp_ns, depth, camera, name, message.header.frame_id,
                        is_valid_stamp(message.header.stamp), bag_ns)

    def _camera(self, info, height: int, width: int) -> Intrinsics:
        if self._intrinsics:
            return intrinsics_of(self._intrinsics, height, width)
        return intrinsics_from_camera_info(info, height, width,
                                           is_rectified(_camera_topic(self.topic)))

    def _depth_topic(self, path: Path) -> str:
        """The one topic that carries depth, as its first message tells; raw before compressed."""
        found = []
        for connection in self._reader.connections:
            if connection.msgtype in (IMAGE, COMPRESSED) and connection.msgcount:
                message = self._first([connection])
                depth = (message.encoding in DTYPES if connection.msgtype == IMAGE
                         else 'compressedDepth' in message.format)
                if depth and connection.topic not in found:
                    found.append(connection.topic)
        raw = [topic for topic in found if _camera_topic(topic) == topic]
        found = raw + [topic for topic in found if not {topic, _camera_topic(topic)} & set(raw)]
        if len(found) == 1:
            return found[0]
        what = f'several depth topics ({", ".join(found)})' if found else 'no depth images'
        raise ValueError(f'{path} has {what}: {"name one of them" if found else self._topics()}')

    def _info_connections(self, path: Path) -> list:
        """The camera_info beside the images, or the only one there is."""
        beside = _camera_topic(self.topic).rpartition('/')[0] + '/camera_info'
        infos = {c.topic for c in self._reader.connections
                 if c.msgtype == CAMERA_INFO and c.msgcount}
        if beside not in infos and len(infos) != 1:
            raise ValueError(f'{path} has no camera_info on {beside}, where that of {self.topic} '
                             f'belongs: give the intrinsics; {self._topics()}')
        return self._connections(beside if beside in infos else infos.pop(), (CAMERA_INFO,))

    def _connections(self, topic: str, types: tuple[str, ...]) -> list:
        return [c for c in self._reader.connections if c.topic == topic and c.msgtype in types]

    def _first(self, connections: list):
        connection, _, data = next(iter(self._reader.messages(connections)))
        return self._reader.deserialize(data, connection.msgtype)

    def _topics(self) -> str:
        topics = {f'{c.topic} ({c.msgtype.split("/")[-1]})' for c in self._reader.connections}
        return f'its topics are {", ".join(sorted(topics)) or "none"}'


def _camera_topic(topic: str) -> str:
    return topic.removesuffix('/compressedDepth')


def _decode(message, msgtype: str):
    if msgtype == COMPRESSED:
        return decompress_depth(message.data, message.format)
    return depth_image(message.data, message.encoding, message.height, message.width, message.step,
                       bool(message.is_bigendian))
