# SPDX-License-Identifier: Apache-2.0
"""Messages of parts in the order of time, and decompression that a chunk cannot make expensive."""
from __future__ import annotations

import bz2
import heapq
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import BinaryIO

from depthface_ros.io.errors import one_line
from depthface_ros.io.quoting import quoted
from depthface_ros.io.storage.types import MAX_PART_BYTES, Message, Part

MAX_WAITING_BYTES = 1 << 26  # of messages from parts that overlap in time
SEARCH_BLOCK = 1 << 20  # bytes
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


def in_time_order(parts: Iterable[Part], report: Callable[[str], None]) -> Iterator[Message]:
    """Yield the messages of parts by recording time; report damaged parts and skip them.

    Parts that overlap are merged as far as `MAX_WAITING_BYTES` reach.
    """
    waiting: list[tuple[int, int, Message]] = []
    number, waiting_bytes = count(), 0
    for part in sorted(parts, key=lambda part: part.start_ns):
        while waiting and (waiting[0][0] < part.start_ns or waiting_bytes > MAX_WAITING_BYTES):
            message = heapq.heappop(waiting)[2]
            waiting_bytes -= len(message.data)
            yield message
        try:
            loaded = part.load()
        except Exception as error:  # of zstd, lz4, struct, sqlite3 and others
            report(one_line(error))
            continue
        for message in loaded:
            heapq.heappush(waiting, (message.stamp_ns, next(number), message))
            waiting_bytes += len(message.data)
    while waiting:
        yield heapq.heappop(waiting)[2]


def zstd_module():
    """Return the module for zstd: of the standard library, or its backport.

    :raises ValueError: the backport is missing.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd
        return zstd
    try:
        from backports import zstd
    except ImportError as error:
        raise ValueError(f'zstd needs {error.name}: pip install rosbags') from error
    return zstd


def decompress(data: bytes, compression: str, cut: bool = False) -> bytes:
    """Decompress a chunk, at most `MAX_PART_BYTES` of it.

    :param compression: 'none' or '', 'zstd', 'lz4' or 'bz2'.
    :param cut: the end of the data is missing; return what comes before.
    :raises ValueError: the compression is unknown, or the chunk is larger.
    """
    if compression in ('', 'none'):
        return data
    if compression == 'zstd':
        decompressor = zstd_module().ZstdDecompressor()
    elif compression == 'lz4':
        try:
            from lz4.frame import LZ4FrameDecompressor
        except ImportError as error:
            raise ValueError(f'lz4 needs {error.name}: pip install rosbags') from error
        decompressor = LZ4FrameDecompressor()
    elif compression == 'bz2':
        decompressor = bz2.BZ2Decompressor()
    else:
        raise ValueError(f'compression {quoted(compression)}: expected none, zstd, lz4 or bz2')
    result = decompressor.decompress(data, MAX_PART_BYTES)
    if not (cut or decompressor.eof):
        raise ValueError('compressed data are incomplete, or of more than '
                         f'{MAX_PART_BYTES >> 20} MB')
    return result


def scan_past_damage(start: int, size: int, scan_from: Callable[[int], int | None],
                     next_chunk: Callable[[int], int | None], repair: str) -> Iterator[str]:
    """Scan a file of `size` bytes from `start` to its end; yield a sentence per damaged place.

    :param scan_from: scans from a place; returns where the file is damaged, or None at its end.
    :param next_chunk: returns the first chunk behind a damaged place, or None.
    :param repair: the command that repairs such files.
    """
    place = scan_from(start)
    while place is not None:
        following = next_chunk(place)
        end = 'the end' if following is None else f'byte {following}'
        yield (f'the file is damaged from byte {min(place, size)} to {end}: '
               f'the rest is read (`{repair}` repairs it)')
        place = None if following is None else scan_from(following)


def find(file: BinaryIO, patterns: tuple[bytes, ...], start: int) -> Iterator[int]:
    """Yield the places of patterns in a file from a place on: where a damaged file may go on."""
    overlap = max(map(len, patterns)) - 1
    search = re.compile(b'|'.join(map(re.escape, patterns)))
    while True:
        file.seek(start)
        block = file.read(SEARCH_BLOCK)
        for match in search.finditer(block):
            yield start + match.start()
        if len(block) < SEARCH_BLOCK:
            return
        start += SEARCH_BLOCK - overlap


def message_data(data: bytes) -> bytes:
    """Return a message as it was published; recorders with compression mode MESSAGE compress each.

    No serialised message begins with the four bytes that mark zstd.
    """
    return decompress(data, 'zstd') if data[:4] == ZSTD_MAGIC else data
