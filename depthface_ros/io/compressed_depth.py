# SPDX-License-Identifier: Apache-2.0
"""compressedDepth messages (PNG and RVL) to depth images, without ROS's own decoder.

Wire format: compressed_depth_image_transport of ros-perception/image_transport_plugins. Twelve
bytes of header (int32 and the float32 quantisation parameters A and B), then a 16-bit PNG, or
uint32 columns and rows and an RVL stream.
"""
from __future__ import annotations

import struct

import numpy as np

MAX_PIXELS = 4096 * 4096  # more than any depth camera has: a header that claims more is a lie
_HEADER = struct.Struct('<iff')
_SIZE = struct.Struct('<II')
_MAX_NIBBLES = 11  # of one number: 33 bits


def decompress_depth(data, format_: str) -> np.ndarray:
    """Decode the fields of a sensor_msgs/CompressedImage of transport compressedDepth.

    :param data: bytes, or any contiguous buffer.
    :param format_: such as '16UC1; compressedDepth png'; PNG where no method is named.
    :returns: (H, W) uint16 millimetres (0 invalid), or float32 metres (NaN invalid) where the
        encoding is 32FC1, which the transport quantises.
    :raises ValueError: what the message holds is not that, or it was truncated.
    """
    encoding, _, transport = (part.strip() for part in format_.partition(';'))
    if encoding not in ('16UC1', 'mono16', '32FC1'):
        raise ValueError(f'compressed encoding {encoding!r}: expected 16UC1, mono16 or 32FC1; '
                         'is this a compressedDepth topic?')
    data = bytes(data)
    if len(data) <= _HEADER.size:
        raise ValueError(f'{len(data)} bytes of compressed depth: expected a header of '
                         f'{_HEADER.size} bytes and an image')
    _, quant_a, quant_b = _HEADER.unpack_from(data)
    decode = decode_rvl_image if transport.lower().endswith('rvl') else _decode_png
    image = decode(data[_HEADER.size:])
    if encoding != '32FC1':
        return image
    if not (np.isfinite(quant_a) and np.isfinite(quant_b) and quant_a > 0):
        raise ValueError(f'quantisation parameters {quant_a}, {quant_b} of a 32FC1 image: '
                         'expected finite numbers, the first above 0')
    with np.errstate(divide='ignore'):  # inverse depth: z = A / (v - B)
        depth = np.float32(quant_a) / (image.astype(np.float32) - np.float32(quant_b))
    depth[image == 0] = np.nan
    return depth


def decode_rvl_image(payload: bytes) -> np.ndarray:
    """An RVL stream that begins with its columns and rows (uint32 each) to (H, W) uint16."""
    if len(payload) < _SIZE.size:
        raise ValueError(f'RVL image of {len(payload)} bytes: expected its size first; truncated?')
    width, height = _SIZE.unpack_from(payload)
    _check_size(width, height)
    return decode_rvl(payload[_SIZE.size:], width * height).reshape(height, width)


def decode_rvl(stream: bytes, pixels: int) -> np.ndarray:
    """Decode an RVL stream to (pixels,) uint16.

    Wilson 2017, 'Fast Lossless Depth Image Compression'. Numbers are groups of three bits, least
    significant first, one per nibble, whose fourth bit says that another follows. They mean, in
    turn: how many zeros; how many other pixels; and of each of those the difference to the one
    before, zigzag coded. Only the hops from run to run are a loop here.
    """
    words = np.frombuffer(stream, '<u4', len(stream) // 4)
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 15).ravel()
    ends = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], ends[:-1] + 1])
    nibbles = nibbles[:ends[-1] + 1] if len(ends) else nibbles[:0]
    lengths = ends + 1 - starts[:len(ends)]
    if not len(ends) or lengths.max() > _MAX_NIBBLES:
        raise ValueError('RVL stream holds no valid numbers: corrupt')
    place = np.arange(len(nibbles)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((nibbles & 7).astype(np.int64) << 3 * place, starts)

    headers, runs, done, at = [], [], 0, 0
    while done < pixels:
        if at + 1 >= len(numbers):
            raise ValueError(f'RVL stream ends after {done} of {pixels} pixels: truncated')
        zeros, others = int(numbers[at]), int(numbers[at + 1])
        headers.append(at)
        runs += [zeros, others]
        done += zeros + others
        at += 2 + others
    if done > pixels or at > len(numbers):
        raise ValueError(f'RVL stream holds runs of {done} pixels for an image of {pixels}: '
                         'corrupt or truncated')
    is_difference = np.ones(at, bool)
    is_difference[headers] = is_difference[np.add(headers, 1)] = False
    zigzag = numbers[:at][is_difference]
    depth = np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
    if depth.size and (depth.min() < 0 or depth.max() > 65535):
        raise ValueError('RVL stream holds depths outside 0..65535 mm: corrupt')
    image = np.zeros(pixels, np.uint16)
    image[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = depth
    return image


def _decode_png(payload: bytes) -> np.ndarray:
    # Size and kind are read before anything is allocated for what a header claims.
    if payload[:8] != b'\x89PNG\r\n\x1a\n' or len(payload) < 26:
        raise ValueError('compressed depth is not a PNG image: corrupt, or compressed otherwise '
                         'than its format field says')
    if b'IEND' not in payload[-64:]:  # decoders would fill the missing rows with zeros, silently
        raise ValueError('PNG of compressed depth has no end: truncated')
    width, height, bits, colour = struct.unpack_from('>IIBB', payload, 16)
    _check_size(width, height)
    if (bits, colour) != (16, 0):
        raise ValueError(f'PNG of {bits} bits and colour type {colour}: expected 16-bit grey')
    import cv2
    image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != (height, width) or image.dtype != np.uint16:
        raise ValueError(f'PNG of {width}x{height} pixels does not decode: truncated or corrupt')
    return image


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f'compressed image claims {width}x{height} pixels: expected at least 1x1 '
                         f'and at most {MAX_PIXELS} in all; corrupt')
