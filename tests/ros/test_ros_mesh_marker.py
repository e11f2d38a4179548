# SPDX-License-Identifier: Apache-2.0
"""The patched bytes of a mesh marker equal the real serialiser's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker

from depthface_ros.io import marker_template
from depthface_ros.ros.mesh_marker import MeshMarker, deletion


def padding(message) -> np.ndarray:
    """Which bytes of a serialised message only align others: (N,) bool.

    By the rules of CDR (DDS-XTypes 1.3, 7.4.1, encoding version 1): numbers are aligned to their
    size, counted from behind the four bytes of the header; texts and sequences start with a count
    of four bytes, texts end with a zero. The values of the padding are undefined.
    """
    sizes = {'boolean': 1, 'octet': 1, 'uint8': 1, 'int32': 4, 'uint32': 4, 'float': 4,
             'double': 8}
    mask = [False] * 4

    def write(size, count=1):
        while (len(mask) - 4) % size:
            mask.append(True)
        mask.extend([False] * (size * count))

    def walk(value, kind):
        if kind.startswith('sequence<'):
            write(4)
            for item in value:
                walk(item, kind.removeprefix('sequence<').removesuffix('>'))
        elif kind == 'string':
            write(4)
            write(1, len(value.encode()) + 1)
        elif kind in sizes:
            write(sizes[kind])
        else:
            for name, kind_of_field in value.get_fields_and_field_types().items():
                walk(getattr(value, name), kind_of_field)

    walk(message, '')
    return np.array(mask)


# Frame names of all lengths modulo eight: what follows a text in the message is aligned anew.
@pytest.mark.parametrize('frame_id', ['camera_depth_optical_frame'[:n] for n in range(1, 27)])
@pytest.mark.parametrize('triangles', [1, 2, 501])
def test_patched_bytes_are_those_of_the_serialiser(frame_id, triangles):
    rng = np.random.default_rng(triangles)
    corners = rng.integers(0, 300, (triangles, 3)).astype(np.int32)
    marker = MeshMarker(frame_id, corners, lifetime=1.25)
    assert marker.fast
    for frame in range(3):  # the buffer is used again
        vertices = rng.normal(size=(300, 3)).astype(np.float32)
        stamp = Time(sec=1700000000 + frame, nanosec=999999999 - frame)
        patched = marker.serialise(stamp, f'f{frame + 7:05d}', vertices)
        message = marker.message(stamp, frame + 7, vertices[corners.reshape(-1)])
        slow = serialize_message(message)
        free = padding(message)
        assert len(patched) == len(slow) == len(free) and free.sum() < 40
        np.testing.assert_array_equal(np.frombuffer(patched, np.uint8)[~free],
                                      np.frombuffer(slow, np.uint8)[~free])
        found = deserialize_message(patched, Marker)
        assert found == deserialize_message(slow, Marker)
        assert (found.id, found.header.frame_id) == (frame + 7, frame_id)
        assert found.header.stamp == stamp
        assert found.lifetime.sec == 1 and found.lifetime.nanosec == 250000000


def test_another_wire_format_falls_back_to_the_serialiser(monkeypatch):
    monkeypatch.setattr(marker_template, '_STAMP_OFFSET', 12)  # as if the stamp lay elsewhere
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
