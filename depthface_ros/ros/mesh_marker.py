# SPDX-License-Identifier: Apache-2.0
"""Mesh markers at camera rate.

A Marker holds its triangles as a list of Point objects: 10,000 of them take Python 30 ms to build
and to serialise. So the message is serialised once, and for each frame numbers are written into
its bytes, which takes 0.05 ms. A layout that is not the expected one is found when the marker is
made; then messages are built the slow way.
"""

from __future__ import annotations

import struct

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

NAMESPACE = 'faces'
_COLOR = ColorRGBA(r=0.85, g=0.75, b=0.68, a=1.0)
_POINT_BYTES = 24  # three float64
_STAMP_OFFSET = 4  # after the four bytes that name the encoding
# Values that mark a place in the serialised template; nothing else in it has their bytes.
_ID = 0x5EED1D5
_POINT = (-1.234567e+89, 2.345678e-71, 3.456789e+53)


class MeshMarker:
    """TRIANGLE_LIST markers of one mesh topology in one frame, serialised.

    :param triangles: (T, 3) int, vertex indices.
    :param lifetime: seconds for which a viewer keeps a marker; 0 for ever.
    """

    def __init__(self, frame_id: str, triangles: np.ndarray, lifetime: float = 0.0):
        self.frame_id = frame_id
        self._corners = np.ascontiguousarray(triangles).reshape(-1)
        self._lifetime = lifetime
        self._buffer = self._template()
        if self._buffer is not None and not self._reads_back():
            self._buffer = None

    @property
    def fast(self) -> bool:
        """Whether the serialised form is patched rather than built anew."""
        return self._buffer is not None

    def serialise(self, stamp: Time, face_id: str, vertices: np.ndarray) -> bytes:
        """A Marker as bytes for Publisher.publish.

        :param vertices: (V, 3) float, metres, in the marker's frame.
        """
        points = vertices[self._corners]
        marker_id = marker_id_of(face_id)
        if self._buffer is None:
            return serialize_message(self.message(stamp, marker_id, points))
        struct.pack_into('<iI', self._buffer, _STAMP_OFFSET, stamp.sec, stamp.nanosec)
        struct.pack_into('<i', self._buffer, self._id_offset, marker_id)
        self._points[:] = points
        return bytes(self._buffer)

    def message(self, stamp: Time, marker_id: int, points) -> Marker:
        """The Marker itself, the slow way; points (N, 3), three per triangle."""
        marker = Marker(ns=NAMESPACE, id=marker_id, type=Marker.TRIANGLE_LIST, action=Marker.ADD,
                        scale=Vector3(x=1.0, y=1.0, z=1.0), color=_COLOR,
                        lifetime=Duration(sec=int(self._lifetime),
                                          nanosec=round(self._lifetime % 1 * 1e9)),
                        points=[Point(x=x, y=y, z=z) for x, y, z in np.asarray(points, float).tolist()])
        marker.header.stamp = stamp
        marker.header.frame_id = self.frame_id
        marker.pose.orientation.w = 1.0
        return marker

    def _template(self) -> bytearray | None:
        """The bytes of a message with room for all points, and where id and points lie in it."""
        small = serialize_message(self.message(Time(), _ID, [_POINT, _POINT]))
        self._id_offset = small.find(struct.pack('<i', _ID))
        points_offset = small.find(struct.pack('<6d', *_POINT, *_POINT))
        if self._id_offset < 0 or points_offset < 0:
            return None
        # The count stands right before the points, or before four bytes that align them to eight.
        head = bytearray(small[:points_offset])
        count_offset = next((at for at in (points_offset - 4, points_offset - 8)
                             if head[at:at + 4] == struct.pack('<I', 2)), None)
        if count_offset is None:
            return None
        count = len(self._corners)
        struct.pack_into('<I', head, count_offset, count)
        tail = small[points_offset + 2 * _POINT_BYTES:]
        buffer = head + bytearray(count * _POINT_BYTES) + tail
        self._points = np.frombuffer(buffer, '<f8', count * 3, points_offset).reshape(-1, 3)
        return buffer

    def _reads_back(self) -> bool:
        """Whether patched bytes mean what was written, checked once with the real serialiser."""
        stamp = Time(sec=123456789, nanosec=987654321)
        vertices = np.random.default_rng(0).normal(size=(int(self._corners.max(initial=0)) + 1, 3))
        slow = serialize_message(self.message(stamp, 7, vertices[self._corners]))
        # Compared as messages: bytes that only align others need not be equal.
        return (deserialize_message(self.serialise(stamp, 'f00007', vertices), Marker)
                == deserialize_message(slow, Marker))


def marker_id_of(face_id: str) -> int:
    """The number in a face id: face_f00042 on /tf is marker 42."""
    return int(face_id[1:])


def deletion(frame_id: str, stamp: Time, face_id: str) -> Marker:
    """The message that takes a mesh out of viewers."""
    marker = Marker(ns=NAMESPACE, id=marker_id_of(face_id), action=Marker.DELETE)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    return marker
