# SPDX-License-Identifier: Apache-2.0
"""16-bit grey PNG images, checked before a decoder allocates memory for what they claim.

A PNG is a signature and chunks: a length, a type, that many bytes and their CRC (W3C, 'Portable
Network Graphics', section 5). A decoder may allocate what a length claims, so each must fit.
"""
from __future__ import annotations

import struct
import zlib

import numpy as np

MAX_PIXELS = 4096 * 4096  # more than any depth camera has
SIGNATURE = b'\x89PNG\r\n\x1a\n'
MAX_CHUNKS = 65536  # encoders write some kilobytes in each
MAX_DEFLATE_RATIO = 1032  # of any zlib stream
_CHUNK = struct.Struct('>I4s')
_CRC_SIZE = 4
_HEADER = struct.Struct('>IIBBBBB')  # width, height, bits, colour type, methods


def decode_png(payload: bytes) -> np.ndarray:
    """Decode a 16-bit grey PNG to (H, W) uint16.

    :raises ValueError: it is another file, truncated or corrupt, or claims more than it holds.
    """
    height, width = png_size(payload)
    import cv2
    # The decoder gets what an image needs: text, profiles and animations can be bombs.
    needed = b''.join((SIGNATURE, *_image_chunks(payload)))
    image = cv2.imdecode(np.frombuffer(needed, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != (height, width) or image.dtype != np.uint16:
        raise ValueError(f'PNG of {width}x{height} pixels does not decode: truncated or corrupt')
    return image


def png_size(payload: bytes) -> tuple[int, int]:
    """Return height and width of a 16-bit grey PNG; errors as of :func:`decode_png`."""
    if bytes(payload[:8]) != SIGNATURE:
        raise ValueError('image is not a PNG: corrupt, or compressed otherwise than its format '
                         'field says')
    if len(payload) < 8 + _CHUNK.size + _HEADER.size:
        raise ValueError(f'PNG of {len(payload)} bytes has no header: truncated')
    (length, kind), fields = (_CHUNK.unpack_from(payload, 8),
                              _HEADER.unpack_from(payload, 8 + _CHUNK.size))
    width, height, bits, colour, *methods = fields
    check_size(width, height)
    if (bits, colour) != (16, 0):
        raise ValueError(f'PNG of {bits} bits and colour type {colour}: expected 16-bit grey, '
                         'as depth in millimetres needs')
    if (length, kind) != (_HEADER.size, b'IHDR') or methods[:2] != [0, 0] or methods[2] > 1:
        raise ValueError('PNG has an invalid header: corrupt')
    held = (len(payload) - 8) * MAX_DEFLATE_RATIO
    if 2 * width * height > held:
        raise ValueError(f'PNG of {len(payload)} bytes claims {width}x{height} pixels, more than '
                         'it can hold: truncated or corrupt')
    return height, width


def _image_chunks(payload: bytes) -> list[bytes]:
    """Return the chunks that hold the image, whole: IHDR, IDATs and IEND."""
    found, start, view = [], 8, memoryview(payload)
    for _ in range(MAX_CHUNKS):
        if start + _CHUNK.size + _CRC_SIZE > len(payload):
            raise ValueError('PNG has no end: truncated')
        length, kind = _CHUNK.unpack_from(payload, start)
        end = start + _CHUNK.size + length + _CRC_SIZE
        if end > len(payload):
            raise ValueError(f'PNG chunk claims {length} bytes, {len(payload) - start} are left: '
                             'truncated or corrupt')
        if kind in (b'IHDR', b'IDAT', b'IEND'):
            chunk = view[start:end]
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], 'big'):
                raise ValueError('PNG has a wrong checksum: corrupt')
            found.append(chunk)
        if kind == b'IEND':
            return found
        start = end
    raise ValueError(f'PNG of more than {MAX_CHUNKS} chunks: corrupt')


def check_size(width: int, height: int) -> None:
    """Raise ValueError unless a depth camera can have that many pixels."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f'compressed image claims {width}x{height} pixels: expected at least 1x1 '
                         f'and at most {MAX_PIXELS} in all; corrupt')
