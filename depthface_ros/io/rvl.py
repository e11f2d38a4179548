# SPDX-License-Identifier: Apache-2.0
"""RVL streams to depth images: Wilson 2017, 'Fast Lossless Depth Image Compression'.

Numbers are groups of three bits, least significant first, one per nibble. The fourth bit of a
nibble marks that another follows. They mean, in turn: a count of zeros; a count of other pixels;
the difference of each of these pixels to the one before, zigzag coded.
"""
from __future__ import annotations

import struct

import numpy as np

from depthface_ros.io.png import check_size

_SIZE = struct.Struct('<II')
MAX_NIBBLES = 11  # of one number: 33 bits
BYTES_PER_PIXEL = 4  # at most: six nibbles of a difference, two of the run lengths before it
SLACK = 64  # bytes: the last words may be padded


def rvl_size(payload: bytes) -> tuple[int, int]:
    """Return height and width of an RVL image, which begins with columns and rows (uint32 each).

    :raises ValueError: no camera has that size, or the stream is longer than its pixels need.
    """
    if len(payload) < _SIZE.size:
        raise ValueError(f'RVL image of {len(payload)} bytes: expected its size first; truncated?')
    width, height = _SIZE.unpack_from(payload)
    check_size(width, height)
    most = BYTES_PER_PIXEL * width * height + SLACK
    if len(payload) - _SIZE.size > most:
        raise ValueError(f'RVL stream of {len(payload) - _SIZE.size} bytes claims {width}x{height} '
                         f'pixels: expected at most {most} bytes; corrupt')
    return height, width


def decode_rvl(payload: bytes) -> np.ndarray:
    """Decode an RVL image to (H, W) uint16; ValueError if it is corrupt or truncated."""
    height, width = rvl_size(payload)
    numbers = _numbers(payload[_SIZE.size:])
    runs, is_difference = _runs(numbers, height * width)
    zigzag = numbers[:len(is_difference)][is_difference]
    depth = np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
    if depth.size and (depth.min() < 0 or depth.max() > 65535):
        raise ValueError('RVL stream holds depths outside 0..65535 mm: corrupt')
    image = np.zeros(height * width, np.uint16)
    image[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = depth
    return image.reshape(height, width)


def _numbers(stream: bytes) -> np.ndarray:
    """Return the numbers of a stream, (N,) int64."""
    # Words are little-endian; their nibbles come most significant first.
    octets = np.frombuffer(stream, '<u4', len(stream) // 4).astype('>u4').view(np.uint8)
    nibbles = np.empty(2 * len(octets), np.uint8)
    nibbles[::2], nibbles[1::2] = octets >> 4, octets & 15
    ends = np.flatnonzero(nibbles < 8)
    lengths = np.diff(ends, prepend=-1)
    if not len(ends) or lengths.max() > MAX_NIBBLES:
        raise ValueError('RVL stream holds no valid numbers: corrupt')
    nibbles &= 7
    numbers = np.zeros(len(ends), np.int64)
    for i in range(lengths.max()):  # nibbles from the last one, the most significant, back
        longer = np.flatnonzero(lengths > i)
        numbers[longer] = numbers[longer] << 3 | nibbles[ends[longer] - i]
    return numbers


def _runs(numbers: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return run lengths, zeros and others in turn, and a mask of the numbers between them.

    Only the hops from run to run are a loop of Python.
    """
    headers, done, at = [], 0, 0
    while done < pixels:
        if at + 1 >= len(numbers):
            raise ValueError(f'RVL stream ends after {done} of {pixels} pixels: truncated')
        zeros, others = int(numbers[at]), int(numbers[at + 1])
        if not zeros and not others:
            raise ValueError('RVL stream holds a run of no pixels: corrupt')
        headers.append(at)
        done += zeros + others
        at += 2 + others
    if done > pixels or at > len(numbers):
        raise ValueError(f'RVL stream holds runs of {done} pixels for an image of {pixels}: '
                         'corrupt or truncated')
    headers = np.stack([headers, np.add(headers, 1)], axis=1).ravel()
    is_difference = np.ones(at, bool)
    is_difference[headers] = False
    return numbers[headers], is_difference
