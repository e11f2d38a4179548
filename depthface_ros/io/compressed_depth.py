# SPDX-License-Identifier: Apache-2.0
"""Depth images in sensor_msgs/CompressedImage, without ROS's own decoders.

Two transports of ros-perception/image_transport_plugins carry depth. `compressedDepth` puts twelve
bytes (int32 and the float32 quantisation parameters A and B) before a 16-bit PNG, or before
uint32 columns and rows and an RVL stream. `compressed` sends the 16-bit PNG alone.
"""
from __future__ import annotations

import struct

import numpy as np

from depthface_ros.io.depth_encodings import canonical_encoding, in_unit
from depthface_ros.io.png import SIGNATURE, decode_png, png_size
from depthface_ros.io.rvl import decode_rvl, rvl_size

TRANSPORTS = ('compressedDepth', 'compressed')  # how image_transport names a topic's twins
_HEADER = struct.Struct('<iff')
_SHOWN = 60  # characters of others' texts
_ADVICE = ('listen to <image>/compressedDepth, or set the format of the compressed transport '
           'to png')


def raw_topic(topic: str) -> str:
    """Return the image topic that a topic is a compressed twin of, else the topic itself."""
    base, _, last = topic.rpartition('/')
    return base if base and last in TRANSPORTS else topic


def is_depth_format(format_: str) -> bool:
    """Return whether a `format` field names a depth encoding and a codec that keeps depth."""
    try:
        return bool(_encoding_and_codec(format_))
    except ValueError:
        return False


def decompress_depth(data, format_: str, unit_m: float | None = None) -> np.ndarray:
    """Decode the fields of a sensor_msgs/CompressedImage; see :class:`CompressedDepth`."""
    return CompressedDepth(data, format_, unit_m).decode()


class CompressedDepth:
    """A depth image that is not decoded yet: its `height` and `width` cost nothing.

    :param data: bytes, or any contiguous buffer.
    :param format_: such as '16UC1; compressedDepth png' or '16UC1; png compressed '; PNG where no
        codec is named.
    :param unit_m: metres per unit of the pixels, where it is not that of the encoding.
    :raises ValueError: no depth image, or it is truncated, or claims more pixels than it can hold.
    """

    def __init__(self, data, format_: str, unit_m: float | None = None):
        self._encoding, codec = _encoding_and_codec(format_)
        self._unit_m, self._quantisation, payload = unit_m, None, memoryview(data).cast('B')
        if payload[:len(SIGNATURE)] != SIGNATURE:  # of the transport compressedDepth
            if len(payload) <= _HEADER.size:
                raise ValueError(f'{len(payload)} bytes of compressed depth: expected a header of '
                                 f'{_HEADER.size} bytes and an image')
            self._quantisation = _HEADER.unpack_from(payload)[1:]
            payload = payload[_HEADER.size:]
        elif codec == 'rvl':
            raise ValueError(f'format {format_[:_SHOWN]!r} of a PNG image: expected png')
        if self._encoding == '32FC1':
            self._check_quantisation()
        size, self._decode = (rvl_size, decode_rvl) if codec == 'rvl' else (png_size, decode_png)
        self._payload = payload
        self.height, self.width = size(payload)

    def decode(self) -> np.ndarray:
        """Decode to (H, W) uint16 millimetres, or float32 metres, NaN or 0 invalid.

        :raises ValueError: truncated or corrupt.
        """
        image = self._decode(self._payload)
        if self._encoding != '32FC1':
            return in_unit(image, self._unit_m)
        a, b = np.array(self._quantisation, np.float32)
        with np.errstate(all='ignore'):  # inverse depth: z = A / (v - B)
            depth = image.astype(np.float32)
            depth -= b
            np.divide(a, depth, out=depth)
        depth[image == 0] = np.nan
        return in_unit(depth, self._unit_m)

    def _check_quantisation(self) -> None:
        if self._quantisation is None:
            raise ValueError('32FC1 image in a plain PNG: expected the transport compressedDepth, '
                             'which sends how it was quantised')
        a, b = self._quantisation
        if not (np.isfinite(a) and np.isfinite(b) and a > 0):
            raise ValueError(f'quantisation parameters {a}, {b} of a 32FC1 image: expected finite '
                             'numbers, the first above 0')


def _encoding_and_codec(format_: str) -> tuple[str, str]:
    """Return an encoding of `DTYPES`, and png or rvl; ValueError where `format` names neither."""
    encoding, _, transport = (part.strip(' \0') for part in format_.partition(';'))
    lossy = next((name for name in ('jpeg', 'jpg', 'webp', 'tiff', 'h264', 'hevc', 'zstd', 'theora')
                  if name in format_.lower()), None)
    if lossy:
        raise ValueError(f'format {format_[:_SHOWN]!r}: {lossy} is no codec for depth here: '
                         f'{_ADVICE}')
    if encoding.lower() in ('', 'png', 'compresseddepth', 'compresseddepth png', 'png compressed'):
        encoding = '16UC1'  # a 16-bit grey PNG, which is checked, can be nothing else
    try:
        encoding = canonical_encoding(encoding)
        if encoding not in ('16UC1', 'mono16', '32FC1'):
            raise ValueError(f'encoding {encoding!r} is not compressed by any transport')
    except ValueError as error:
        raise ValueError(f'format {format_[:_SHOWN]!r}: {error}; or {_ADVICE}') from None
    return encoding, 'rvl' if transport.lower().endswith('rvl') else 'png'
