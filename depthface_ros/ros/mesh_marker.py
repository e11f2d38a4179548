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
        self._lifetime = lifetime
        self._corners = np.ascontiguousarray(triangles).reshape(-1)
        self._template = self._checked_template()

    @property
    def fast(self) -> bool:
        """Whether the serialised form is patched rather than built anew."""
        return self._template is not None

    def serialise(self, stamp: Time, face_id: str, vertices: np.ndarray) -> bytes:
        """A Marker as bytes for Publisher.publish.

        :param vertices: (V, 3) float, metres, in the marker's frame.
        """
        points, marker_id = vertices[self._corners], marker_id_of(face_id)
        if self._template is None:
            return serialize_message(self.message(stamp, marker_id, points))
        return self._template.patch(stamp, marker_id, points)

    def message(self, stamp: Time, marker_id: int, points) -> Marker:
        """The Marker itself, the slow way; points (N, 3), three per triangle."""
        marker = Marker(ns=NAMESPACE, id=marker_id, type=Marker.TRIANGLE_LIST, action=Marker.ADD,
                        scale=Vector3(x=1.0, y=1.0, z=1.0), color=_COLOR,
                        lifetime=Duration(sec=int(self._lifetime),
                                          nanosec=round(self._lifetime % 1 * 1e9)),
                        points=[Point(x=x, y=y, z=z)
                                for x, y, z in np.asarray(points, float).tolist()])
        marker.header.stamp = stamp
        marker.header.frame_id = self.frame_id
        marker.pose.orientation.w = 1.0
        return marker

    def _checked_template(self) -> _Template | None:
        """A template for the mesh, if a small one gives messages that read back as meant."""
        small = serialize_message(self.message(Time(), _ID, [_POINT, _POINT]))
        stamp, points = Time(sec=123456789, nanosec=987654321), np.arange(15.0).reshape(5, 3)
        try:
            patched = _Template(small, len(points)).patch(stamp, -7, points)
            slow = serialize_message(self.message(stamp, -7, points))
            # Compared as messages: bytes that only align others need not be equal.
            if deserialize_message(patched, Marker) != deserialize_message(slow, Marker):
                return None
        except (ValueError, RuntimeError):
            return None
        return _Template(small, len(self._corners))


class _Template:
    """A serialised Marker with room for `count` points.

    :param small: the Marker with id _ID and the points _POINT, _POINT, serialised.
    :raises ValueError: these cannot be found in it.
    """

    def __init__(self, small: bytes, count: int):
        self._id_offset = small.index(struct.pack('<i', _ID))
        points_offset = small.index(struct.pack('<6d', *_POINT, *_POINT))
        head, tail = bytearray(small[:points_offset]), small[points_offset + 2 * _POINT_BYTES:]
        # The count stands right before the points, or before four bytes that align them to eight.
        gap = 4 if head[-4:] == struct.pack('<I', 2) else 8
        struct.pack_into('<I', head, points_offset - gap, count)
        self._buffer = head + bytearray(count * _POINT_BYTES) + tail
        self._points = np.frombuffer(self._buffer, '<f8', count * 3, points_offset).reshape(-1, 3)

    def patch(self, stamp: Time, marker_id: int, points: np.ndarray) -> bytes:
        """The Marker with these values, serialised; points (count, 3)."""
        struct.pack_into('<iI', self._buffer, _STAMP_OFFSET, stamp.sec, stamp.nanosec)
        struct.pack_into('<i', self._buffer, self._id_offset, marker_id)
        self._points[:] = points
        return bytes(self._buffer)


def marker_id_of(face_id: str) -> int:
    """The number in a face id: face_f00042 on /tf is marker 42."""
    return int(face_id[1:])


def deletion(frame_id: str, stamp: Time, face_id: str) -> Marker:
    """The message that takes a mesh out of viewers."""
    marker = Marker(ns=NAMESPACE, id=marker_id_of(face_id), action=Marker.DELETE)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    return marker
