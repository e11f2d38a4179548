# SPDX-License-Identifier: Apache-2.0
"""Serialise mesh markers at camera rate, by patching numbers in a message serialised once.

The layout of the message is checked at construction. If it differs, messages are built field by
field.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from depthface_ros.io.marker_template import (
    COLOUR,
    ID,
    NAMESPACE,
    POINT,
    MarkerTemplate,
    marker_id_of,
)


class MeshMarker:
    """Serialises TRIANGLE_LIST markers of one mesh topology in one frame.

    :param triangles: (T, 3) int, vertex indices.
    :param lifetime: seconds for which a viewer keeps a marker; 0 keeps it.
    """

    def __init__(self, frame_id: str, triangles: np.ndarray, lifetime: float = 0.0):
        self.frame_id = frame_id
        self._lifetime = lifetime
        self._corners = np.ascontiguousarray(triangles).reshape(-1)
        self._template = self._checked_template()

    @property
    def fast(self) -> bool:
        """Whether serialised messages are patched, not built field by field."""
        return self._template is not None

    def serialise(self, stamp: Time, face_id: str, vertices: np.ndarray) -> bytes:
        """Return a Marker as bytes for Publisher.publish.

        :param vertices: (V, 3) float, metres, in the marker's frame.
        """
        points, marker_id = vertices[self._corners], marker_id_of(face_id)
        if self._template is None:
            return serialize_message(self.message(stamp, marker_id, points))
        return self._template.patch(stamp.sec, stamp.nanosec, marker_id, points)

    def message(self, stamp: Time, marker_id: int, points) -> Marker:
        """Return the Marker, built field by field.

        :param points: (N, 3) float, metres, three per triangle.
        """
        marker = Marker(ns=NAMESPACE, id=marker_id, type=Marker.TRIANGLE_LIST, action=Marker.ADD,
                        scale=Vector3(x=1.0, y=1.0, z=1.0), color=ColorRGBA(**COLOUR),
                        lifetime=Duration(sec=int(self._lifetime),
                                          nanosec=round(self._lifetime % 1 * 1e9)),
                        points=[Point(x=x, y=y, z=z)
                                for x, y, z in np.asarray(points, float).tolist()])
        marker.header.stamp = stamp
        marker.header.frame_id = self.frame_id
        marker.pose.orientation.w = 1.0
        return marker

    def _checked_template(self) -> MarkerTemplate | None:
        """Return a template for the mesh, or None if a small one is not read back as written."""
        small = serialize_message(self.message(Time(), ID, [POINT, POINT]))
        stamp, points = Time(sec=123456789, nanosec=987654321), np.arange(15.0).reshape(5, 3)
        try:
            patched = MarkerTemplate(small, len(points)).patch(
                stamp.sec, stamp.nanosec, -7, points)
            built = serialize_message(self.message(stamp, -7, points))
            # Compared as messages: padding bytes may differ.
            if deserialize_message(patched, Marker) != deserialize_message(built, Marker):
                return None
        except (ValueError, RuntimeError):
            return None
        return MarkerTemplate(small, len(self._corners))


def deletion(frame_id: str, stamp: Time, face_id: str) -> Marker:
    """Return the message that removes a mesh from viewers."""
    marker = Marker(ns=NAMESPACE, id=marker_id_of(face_id), action=Marker.DELETE)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    return marker
