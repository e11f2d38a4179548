# SPDX-License-Identifier: Apache-2.0
"""Encoders of compressedDepth payloads, written from the format's description."""
from __future__ import annotations

import struct

import cv2
import numpy as np


def encode_rvl(image: np.ndarray) -> bytes:
    """Wilson's encoder, one pixel at a time, in the words of his paper."""
    nibbles = []

    def number(value):
        while True:
            nibble, value = value & 7, value >> 3
            nibbles.append(nibble | (8 if value else 0))
            if not value:
                return

    pixels, i, previous = image.ravel().astype(int).tolist(), 0, 0
    while i < len(pixels):
        start = i
        while i < len(pixels) and pixels[i] == 0:
            i += 1
        number(i - start)
        start = i
        while i < len(pixels) and pixels[i] != 0:
            i += 1
        number(i - start)
        for pixel in pixels[start:i]:
            delta, previous = pixel - previous, pixel
            number(2 * delta if delta >= 0 else -2 * delta - 1)
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int(''.join(f'{n:x}' for n in nibbles[k:k + 8]), 16) for k in range(0, len(nibbles), 8)]
    return struct.pack('<II', image.shape[1], image.shape[0]) + struct.pack(f'<{len(words)}I', *words)


def encode_png(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


def header(quant_a=0.0, quant_b=0.0) -> bytes:
    return struct.pack('<iff', 0, quant_a, quant_b)
