# SPDX-License-Identifier: Apache-2.0
"""The sample recording: its recorded messages, and the ground truth of its faces."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info
from depthface_ros.io.depth_encodings import depth_image

_STAMP_OFFSET = 4  # bytes of the encoding identifier, before the stamp of the header


@dataclass
class Sample:
    """A recording of one depth camera. Stamps are nanoseconds of message headers, as recorded."""

    image_topic: str = ''
    info_topic: str = ''
    images: dict[int, bytes] = field(default_factory=dict)  # stamp -> serialised Image
    infos: dict[int, bytes] = field(default_factory=dict)  # stamp -> serialised CameraInfo
    depths: dict[int, np.ndarray] = field(default_factory=dict)  # stamp -> (H, W)
    intrinsics: Intrinsics | None = None
    # stamp -> person -> camera_from_face (4, 4), and vertices (V, 3) in the face frame
    poses: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    meshes: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return the images per second."""
        stamps = sorted(self.images)
        return (len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0])


def read_sample(path: Path) -> Sample:
    """Read a bag with Image, CameraInfo and, under /ground_truth, TFMessage and PointCloud2."""
    sample = Sample()
    info = None
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            kind = connection.msgtype.rpartition('/')[-1]
            if kind == 'TFMessage':
                for item in message.transforms:
                    persons = sample.poses.setdefault(_stamp_ns(item), {})
                    persons[item.child_frame_id] = matrix(item.transform)
            elif kind == 'PointCloud2':
                persons = sample.meshes.setdefault(_stamp_ns(message), {})
                persons[message.header.frame_id] = np.ndarray(
                    (message.width * message.height, 3), '<f4', message.data.tobytes(),
                    strides=(message.point_step, 4))
            elif kind == 'CameraInfo':
                info, sample.info_topic = message, connection.topic
                sample.infos[_stamp_ns(message)] = bytes(data)
            elif kind == 'Image':
                sample.image_topic = connection.topic
                sample.images[_stamp_ns(message)] = bytes(data)
                sample.depths[_stamp_ns(message)] = depth_image(
                    message.data, message.encoding, message.height, message.width, message.step,
                    bool(message.is_bigendian))
    depth = next(iter(sample.depths.values()))
    sample.intrinsics = intrinsics_from_camera_info(info, *depth.shape)
    return sample


def restamped(message: bytes, stamp_ns: int) -> bytes:
    """Return a serialised message that begins with a header, with another stamp."""
    changed = bytearray(message)
    struct.pack_into('<iI', changed, _STAMP_OFFSET, *divmod(stamp_ns, 10**9))
    return bytes(changed)


def matrix(transform) -> np.ndarray:
    """Return (4, 4) float64 of a geometry_msgs/Transform: the homogeneous form of q v q* + t."""
    q, t = transform.rotation, transform.translation
    v = np.array([q.x, q.y, q.z])
    cross = np.array([[0, -q.z, q.y], [q.z, 0, -q.x], [-q.y, q.x, 0]])
    a_from_b = np.eye(4)
    a_from_b[:3, :3] = (q.w ** 2 - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * q.w * cross
    a_from_b[:3, 3] = t.x, t.y, t.z
    return a_from_b


def _stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
