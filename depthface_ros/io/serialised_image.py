# SPDX-License-Identifier: Apache-2.0
"""Read a serialised sensor_msgs/Image without a copy of its pixels and without ROS."""
from __future__ import annotations

from struct import error, unpack_from
from typing import NamedTuple

CDR_LITTLE_ENDIAN = b'\x00\x01'  # how middlewares on all common processors begin a message


class ImageFields(NamedTuple):
    """The fields of a sensor_msgs/Image."""

    stamp: tuple[int, int]  # seconds, nanoseconds
    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview  # of the serialised message


def read_image(message: bytes) -> ImageFields | None:
    """Return the image in a whole message, or None if the middleware must deserialise it.

    That is where the message was cut off, is of another form, or has a text that is not plain.
    """
    if message[:2] != CDR_LITTLE_ENDIAN:
        return None
    try:
        stamp = unpack_from('<iI', message, 4)
        frame_id, end = _text(message, 12)
        start = _aligned(end)
        height, width = unpack_from('<II', message, start)
        encoding, end = _text(message, start + 8)
        start = _aligned(end + 1)
        is_bigendian, (step, size) = message[end], unpack_from('<II', message, start)
    except (error, IndexError, ValueError):
        return None
    data = memoryview(message)[start + 8:start + 8 + size]
    if len(data) < size:
        return None
    return ImageFields(stamp, frame_id, height, width, encoding, is_bigendian, step, data)


def _text(message: bytes, start: int) -> tuple[str, int]:
    """Return the string at a place, length first and zero-terminated, and its end."""
    end = start + 4 + unpack_from('<I', message, start)[0]
    text = message[start + 4:end]
    if text.find(0) != len(text) - 1:
        raise ValueError('expected a zero at the end, and only there')
    return text[:-1].decode(), end


def _aligned(place: int) -> int:
    """Round up to a multiple of four, where numbers of four bytes start."""
    return -place % 4 + place
