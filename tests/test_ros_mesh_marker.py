# SPDX-License-Identifier: Apache-2.0
"""The patched bytes of a mesh marker mean what the real serialiser would write."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from depthface_ros.ros import mesh_marker  # noqa: E402
from depthface_ros.ros.mesh_marker import MeshMarker, deletion  # noqa: E402


# Frame names of all lengths modulo eight: what follows a text in the message is aligned anew.
@pytest.mark.parametrize('frame_id', ['camera_depth_optical_frame'[:n] for n in range(1, 27)])
@pytest.mark.parametrize('triangles', [1, 2, 501])
def test_patched_bytes_mean_what_the_serialiser_writes(frame_id, triangles):
    rng = np.random.default_rng(triangles)
    corners = rng.integers(0, 300, (triangles, 3)).astype(np.int32)
    marker = MeshMarker(frame_id, corners, lifetime=1.25)
    assert marker.fast
    for frame in range(3):  # the buffer is used again
        vertices = rng.normal(size=(300, 3)).astype(np.float32)
        stamp = Time(sec=1700000000 + frame, nanosec=999999999 - frame)
        patched = marker.serialise(stamp, f'f{frame + 7:05d}', vertices)
        slow = serialize_message(marker.message(stamp, frame + 7, vertices[corners.reshape(-1)]))
        assert len(patched) == len(slow)
        found = deserialize_message(patched, Marker)
        assert found == deserialize_message(slow, Marker)
        assert (found.id, found.header.frame_id) == (frame + 7, frame_id)
        assert found.header.stamp == stamp
        assert found.lifetime.sec == 1 and found.lifetime.nanosec == 250000000


def test_another_wire_format_falls_back_to_the_serialiser(monkeypatch):
    monkeypatch.setattr(mesh_marker, '_STAMP_OFFSET', 12)  # as if the stamp lay elsewhere
    marker = MeshMarker('camera', np.array([[0, 1, 2]]))
    assert not marker.fast
    vertices = np.eye(3, dtype=np.float32)
    found = deserialize_message(marker.serialise(Time(sec=3), 'f00001', vertices), Marker)
    assert found.header.stamp.sec == 3
    assert [(p.x, p.y, p.z) for p in found.points] == [tuple(row) for row in np.eye(3)]


def test_a_deletion_names_the_marker_it_takes_away():
    added = deserialize_message(MeshMarker('camera', np.array([[0, 1, 2]])).serialise(
        Time(), 'f00042', np.eye(3, dtype=np.float32)), Marker)
    deleted = deletion('camera', Time(), 'f00042')
    assert (deleted.ns, deleted.id, deleted.action) == (added.ns, added.id, Marker.DELETE)
