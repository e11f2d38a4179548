# SPDX-License-Identifier: Apache-2.0
"""Mutations of bytes and texts, as by damaged disks, editing mistakes and attackers."""
from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib

import numpy as np

LENGTHS = (0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 40, (1 << 63) - 1)
WORDS = ('', '0', '-1', '1e999', '.nan', 'null', '[]', '{}', '"a"', 'true', '~', '&a [*a]', '!!x',
         '9' * 5000, '[' * 3000, '\x1b[31m', '- ' * 500, '\u2028', '1, 2, 3')


def mutated(content: bytes, rng: np.random.Generator, text: bool = False) -> bytes:
    """Return a copy with one to four mutations; mutations of texts also replace words."""
    for _ in range(rng.integers(1, 5)):
        kinds = (BYTE_CHANGES + TEXT_CHANGES * 3) if text else BYTE_CHANGES
        content = kinds[rng.integers(len(kinds))](content, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Return a position; about half of them lie near start or end, where headers are."""
    size = len(content)
    near = int(rng.integers(0, 1 + min(size, 400)))
    return int((near, size - near, rng.integers(0, size + 1), rng.integers(0, size + 1))[
        rng.integers(4)])


def _flip(content, rng):
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content, rng):
    return content[:_place(content, rng)]


def _remove(content, rng):
    place = _place(content, rng)
    return content[:place] + content[place + int(rng.integers(1, 200)):]


def _insert(content, rng):
    place = _place(content, rng)
    return content[:place] + rng.bytes(int(rng.integers(1, 100))) + content[place:]


def _zero(content, rng):
    place, count = _place(content, rng), int(rng.integers(1, 300))
    return content[:place] + bytes(min(count, len(content) - place)) + content[place + count:]


def _repeat(content, rng):
    place, count = _place(content, rng), int(rng.integers(1, 2000))
    return content[:place] + content[place:place + count] * 2 + content[place + count:]


def _length(content, rng):
    """Write a large number over four or eight bytes, in either byte order."""
    form = ('<I', '>I', '<Q', '<H')[rng.integers(4)]
    number = LENGTHS[rng.integers(len(LENGTHS))] & ((1 << 8 * struct.calcsize(form)) - 1)
    place = _place(content, rng)
    return content[:place] + struct.pack(form, number) + content[place + struct.calcsize(form):]


def _word(content, rng):
    """Replace a word or a number of a text."""
    words = list(re.finditer(rb'[\w.+-]+', content))
    if not words:
        return content
    word = words[rng.integers(len(words))]
    return (content[:word.start()] + WORDS[rng.integers(len(WORDS))].encode()
            + content[word.end():])


def _line(content, rng):
    """Remove, repeat or indent a line of a text."""
    lines = content.split(b'\n')
    place = int(rng.integers(len(lines)))
    lines[place:place + 1] = ([], [lines[place]] * 2, [b'  ' + lines[place]])[rng.integers(3)]
    return b'\n'.join(lines)


BYTE_CHANGES = [_flip, _cut, _remove, _insert, _zero, _repeat, _length, _length]
TEXT_CHANGES = [_word, _line]


def bombs() -> dict[str, bytes]:
    """Return small files that claim a large size or decompress to one."""
    def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
        return (struct.pack('>I', len(data) if length is None else length) + kind + data
                + struct.pack('>I', zlib.crc32(kind + data)))

    def png(width: int, height: int, *chunks: bytes) -> bytes:
        header = struct.pack('>IIBBBBB', width, height, 16, 0, 0, 0, 0)
        return b'\x89PNG\r\n\x1a\n' + b''.join((chunk(b'IHDR', header), *chunks,
                                                 chunk(b'IEND', b'')))

    def npz(header: str, data: bytes) -> bytes:
        file, text = io.BytesIO(), header.encode().ljust(118) + b'\n'
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('depth_mm.npy', b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text))
                             + text + data)
            archive.writestr('K.npy', _npy(np.array([9.0, 9.0, 4.0, 3.0])))
        return file.getvalue()

    def described(shape) -> str:
        return f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}"

    nested = ['a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]'] + [
        f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 9)]
    zeros = zlib.compress(bytes(1 << 26), 9)
    return {
        'length.png': png(8, 8, chunk(b'tEXt', b'', 2 ** 32 - 1)),
        'large.png': png(60000, 60000, chunk(b'IDAT', zeros)),
        'pixels.png': png(4096, 4096, chunk(b'IDAT', zeros)),
        'wide.png': png(2 ** 31 - 1, 1, chunk(b'IDAT', zeros[:999])),
        'claims.npz': npz(described((10 ** 6, 10 ** 4, 10 ** 4)), bytes(100)),
        'negative.npz': npz(described((-1, 4)), bytes(100)),
        'zeros.npz': npz(described((16, 2048, 2048)), bytes(1 << 27)),
        'long.npz': npz(described((1, 10_000)), bytes(20_000)),
        'header.npz': npz('[' * 110, bytes(100)),
        'camera.yaml': '\n'.join(nested).encode(),
        'camera.json': b'[' * 200_000,
        'params.yaml': ('a:\n  ros__parameters:\n    ' + '\n    '.join(nested)).encode()}


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def json_bytes(value) -> bytes:
    """Return JSON as bytes."""
    return json.dumps(value).encode()
