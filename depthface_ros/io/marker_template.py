# SPDX-License-Identifier: Apache-2.0
"""Mesh markers as bytes: a Marker is serialised once, then numbers are written into its bytes.

A Marker holds its triangles as a list of Point objects, which Python builds slowly. Writing their
numbers into bytes takes a thousandth of the time. Any serialiser of CDR can make the first Marker.
"""
from __future__ import annotations

import struct

import numpy as np

# The look of a mesh, and its namespace in viewers.
NAMESPACE = 'faces'
COLOUR = {'r': 0.85, 'g': 0.75, 'b': 0.68, 'a': 1.0}
LIFETIME = 0.5  # s; after which viewers drop a mesh without an update
# Values that mark a place in the serialised marker; nothing else in it has their bytes.
ID = 0x5EED1D5
POINT = (-1.234567e+89, 2.345678e-71, 3.456789e+53)
_POINT_BYTES = 24  # three float64
_STAMP_OFFSET = 4  # after the four bytes that name the encoding


class MarkerTemplate:
    """A serialised Marker with room for `count` points.

    :param small: the Marker with id ID and the points POINT, POINT, serialised.
    :raises ValueError: they are not in its bytes.
    """

    def __init__(self, small: bytes, count: int):
        self._id_offset = small.index(struct.pack('<i', ID))
        points_offset = small.index(struct.pack('<6d', *POINT, *POINT))
        head, tail = bytearray(small[:points_offset]), small[points_offset + 2 * _POINT_BYTES:]
        # The count stands right before the points, or before four bytes that align them to eight.
        gap = 4 if head[-4:] == struct.pack('<I', 2) else 8
        struct.pack_into('<I', head, points_offset - gap, count)
        self._buffer = head + bytearray(count * _POINT_BYTES) + tail
        self._points = np.frombuffer(self._buffer, '<f8', count * 3, points_offset).reshape(-1, 3)

    def patch(self, seconds: int, nanoseconds: int, marker_id: int, points: np.ndarray) -> bytes:
        """Return a serialised Marker with a stamp, an id and points (count, 3)."""
        struct.pack_into('<iI', self._buffer, _STAMP_OFFSET, seconds, nanoseconds)
        struct.pack_into('<i', self._buffer, self._id_offset, marker_id)
        self._points[:] = points
        return bytes(self._buffer)


def marker_id_of(face_id: str) -> int:
    """Return the number in a face id: face_f00042 on /tf is marker 42."""
    return int(face_id[1:])
