# SPDX-License-Identifier: Apache-2.0
"""Bags of depth images as recorders write them, for tests that read or damage them."""
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.recordings import open_recording

DEPTH = np.random.default_rng(0).integers(500, 5000, (6, 8), dtype=np.uint16)
CAMERA = Intrinsics(10.0, 11.0, 3.5, 2.5)
LARGE = (480, 640)  # two images fill a chunk
LARGE_CAMERA = Intrinsics(600.0, 610.0, 319.5, 239.5)
STAMP_NS = 1_700_000_000_123_456_789
STEP_NS = 33_000_000
IMAGE_TOPIC, INFO_TOPIC = '/camera/depth/image_raw', '/camera/depth/camera_info'
FRAME = 'camera_depth_optical_frame'


def typestore(ros: int = 2):
    """Return the message types of ROS 1 or 2."""
    from rosbags.typesys import Stores, get_typestore
    return get_typestore(Stores.ROS2_JAZZY if ros == 2 else Stores.ROS1_NOETIC)


class Messages:
    """Makes messages of ROS 1 or 2."""

    def __init__(self, ros: int = 2):
        self.ros, self.store = ros, typestore(ros)

    def make(self, name: str, *values):
        return self.store.types[f'sensor_msgs/msg/{name}'](*values)

    def header(self, stamp_ns: int = STAMP_NS, frame: str = FRAME):
        stamp = self.store.types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10 ** 9))
        return self.store.types['std_msgs/msg/Header'](
            *([0] if self.ros == 1 else []), stamp, frame)

    def image(self, depth=DEPTH, stamp_ns: int = STAMP_NS, encoding: str = '16UC1', cut=None,
              frame: str = FRAME):
        data = np.frombuffer(depth.tobytes()[:cut], np.uint8)
        return self.make('Image', self.header(stamp_ns, frame), *depth.shape, encoding, 0,
                         depth.shape[1] * depth.itemsize, data)

    def compressed(self, depth=DEPTH, stamp_ns: int = STAMP_NS):
        import cv2
        data = struct.pack('<iff', 0, 0, 0) + cv2.imencode('.png', depth)[1].tobytes()
        return self.make('CompressedImage', self.header(stamp_ns), '16UC1; compressedDepth png',
                         np.frombuffer(data, np.uint8))

    def info(self, camera: Intrinsics = CAMERA, shape=DEPTH.shape, frame: str = FRAME):
        k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], np.float64)
        p = np.zeros(12)
        p[[0, 5, 2, 6, 10]] = camera.fx, camera.fy, camera.cx, camera.cy, 1
        region = self.make('RegionOfInterest', 0, 0, 0, 0, False)
        return self.make('CameraInfo', self.header(frame=frame), *shape, 'plumb_bob', np.zeros(5),
                         k, np.eye(3).ravel(), p, 0, 0, region)

    def serialised(self, message) -> bytes:
        name = message.__msgtype__
        serialise = self.store.serialize_cdr if self.ros == 2 else self.store.serialize_ros1
        return bytes(serialise(message, name))


class Bag(Messages):
    """Writes a bag, one message per call: 'mcap', 'sqlite3' or 'ros1'."""

    def __init__(self, path: Path, storage: str = 'mcap', compression: str | None = None,
                 chunk_bytes: int | None = None):
        """Open a bag.

        :param compression: 'storage', 'message' or 'file' of rosbag2; 'lz4' or 'bz2' of ROS 1.
        :param chunk_bytes: of ROS 1 chunks.
        """
        super().__init__(1 if storage == 'ros1' else 2)
        if self.ros == 1:
            from rosbags.rosbag1 import Writer
            self.writer = Writer(path)
            if compression:
                self.writer.set_compression(getattr(Writer.CompressionFormat, compression.upper()))
            if chunk_bytes:
                self.writer.chunk_threshold = chunk_bytes
        else:
            from rosbags import rosbag2
            plugin = getattr(rosbag2.StoragePlugin, storage.upper())
            self.writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
            if compression:
                self.writer.set_compression(
                    getattr(rosbag2.CompressionMode, compression.upper()),
                    rosbag2.CompressionFormat.ZSTD)
        self.path, self.connections = Path(path), {}
        self.writer.open()

    def write(self, topic: str, message, stamp_ns: int = STAMP_NS) -> None:
        self.write_bytes(topic, message.__msgtype__, self.serialised(message), stamp_ns)

    def write_bytes(self, topic: str, kind: str, data: bytes, stamp_ns: int = STAMP_NS) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind,
                                                                 typestore=self.store)
        self.writer.write(self.connections[topic], stamp_ns, data)

    def fill(self, count: int = 5, image_topic: str = IMAGE_TOPIC,
             info_topic: str = INFO_TOPIC) -> Path:
        """Write a camera_info and an image at each of some times; return the closed bag."""
        for i in range(count):
            stamp_ns = STAMP_NS + i * STEP_NS
            self.write(info_topic, self.info(), stamp_ns)
            self.write(image_topic, self.image(numbered(i), stamp_ns), stamp_ns)
        return self.close()

    def close(self) -> Path:
        self.writer.close()
        return self.path


def numbered(i: int, shape=DEPTH.shape) -> np.ndarray:
    """Return a depth image (H, W) uint16 that is like no other; it does not compress."""
    return np.random.default_rng(i).integers(500, 5000, shape, dtype=np.uint16)


def storage_file(path: Path) -> Path:
    """Return the only storage file of a rosbag2 folder."""
    file, = (file for file in path.iterdir() if file.suffix in ('.mcap', '.db3', '.zstd'))
    return file


def stamps(recording) -> list[int]:
    """Return the numbers of the frames that `fill` wrote, checked pixel by pixel."""
    found = []
    for frame in recording:
        number = (frame.stamp_ns - STAMP_NS) // STEP_NS
        np.testing.assert_array_equal(frame.depth, numbered(number, frame.depth.shape))
        assert frame.intrinsics == (LARGE_CAMERA if frame.depth.shape == LARGE else CAMERA)
        found.append(number)
    return found


def error(path, **options) -> str:
    """Return the one line with which a recording is refused."""
    with pytest.raises(ValueError) as caught:
        list(open_recording(path, **options))
    assert '\n' not in str(caught.value)
    return str(caught.value)
