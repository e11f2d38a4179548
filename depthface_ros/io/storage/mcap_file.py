# SPDX-License-Identifier: Apache-2.0
"""Read MCAP files (https://mcap.dev/spec), with their index or, where it is missing, without.

A record is an opcode of one byte, a length (uint64) and as many bytes. Chunks hold records.
"""
from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from struct import Struct, error, unpack_from
from zlib import crc32

from depthface_ros.io.storage.parts import decompress, find, message_data, scan_past_damage
from depthface_ros.io.storage.types import (
    MAX_PART_BYTES,
    READ_TYPES,
    Message,
    OpenedForParts,
    Part,
    Topic,
    message_type,
)

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = (
    2, 3, 4, 5, 6, 8, 11, 15)
_RECORD = Struct('<BQ')  # opcode, length
_CHUNK = Struct('<QQQI')  # start, end, size, CRC
_MESSAGE = Struct('<HIQQ')  # channel, sequence, log time, publish time
_FOOTER_BYTES = _RECORD.size + 20 + len(MAGIC)


class McapFile(OpenedForParts):
    """An MCAP file; see :class:`depthface_ros.io.storage.types.StorageFile`."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.damage: list[str] = []
        with self._opened():
            self._read_index()

    def _start(self) -> None:
        self.topics: dict[Topic, int] = {}
        self._schemas = {0: ('', '')}  # id -> name, encoding
        self._channels: dict[int, Topic] = {}
        self._counts: dict[int, int] = {}
        # start time, place, length, channels or None where they are unknown
        self._chunks: list[tuple[int, int, int, tuple[int, ...] | None]] = []
        self._loose: list[tuple[int, int, int, int]] = []  # time, channel, place, length

    def _read_index(self) -> None:
        self._start()
        try:
            indexed = self._read_summary()
        except (ValueError, error, UnicodeDecodeError, EOFError):
            indexed = False
        if not indexed:
            self._start()
            self._scan()
        for channel, topic in self._channels.items():
            self.topics[topic] = self.topics.get(topic, 0) + self._counts.get(channel, 0)

    def parts(self, topics: Collection[Topic]) -> list[Part]:
        wanted = {channel for channel, topic in self._channels.items() if topic in topics}
        chunks = [Part(start_ns, partial(self._load, place, length, wanted))
                  for start_ns, place, length, channels in self._chunks
                  if channels is None or not wanted.isdisjoint(channels)]
        return chunks + [Part(stamp_ns, partial(self._load_loose, stamp_ns, channel, place, length))
                         for stamp_ns, channel, place, length in self._loose if channel in wanted]

    def _read_summary(self) -> bool:
        """Read the index at the end; return False where it is missing, incomplete or wrong."""
        end = self._size - _FOOTER_BYTES
        footer = self._bytes(max(end, 0), _FOOTER_BYTES)
        if footer[-len(MAGIC):] != MAGIC or footer[0] != FOOTER:
            return False
        start, = unpack_from('<Q', footer, _RECORD.size)
        if not len(MAGIC) < start < end:
            return False
        chunk_count = None
        for opcode, body in _records(self._bytes(start, end - start, limit=self._size)):
            if opcode in (SCHEMA, CHANNEL):
                self._define(opcode, body)
            elif opcode == CHUNK_INDEX:
                start_ns, _, place, length, map_bytes = unpack_from('<QQQQI', body)
                channels = tuple(channel for channel, _ in Struct('<HQ').iter_unpack(
                    body[36:36 + map_bytes]))
                self._chunks.append((start_ns, place, length, channels or None))
            elif opcode == STATISTICS:
                messages, chunk_count, map_bytes = unpack_from('<Q14xI16xI', body)
                self._counts = dict(Struct('<HQ').iter_unpack(body[46:46 + map_bytes]))
                if messages and not (chunk_count and self._counts):
                    return False
        return chunk_count == len(self._chunks) and all(map(self._is_chunk, self._chunks))

    def _is_chunk(self, chunk) -> bool:
        _, place, length, _ = chunk
        return self._record_at(place) == (CHUNK, length - _RECORD.size)

    def _scan(self) -> None:
        """Go through all records from the start to the end; pass damaged places."""
        for damage in scan_past_damage(len(MAGIC), self._size, self._scan_from,
                                       self._chunk_after, 'mcap recover'):
            self.damage.append(damage)

    def _chunk_after(self, place: int) -> int | None:
        """Return the place of the next compressed chunk."""
        before = _RECORD.size + _CHUNK.size  # the name of the compression
        for found in find(self._file, (b'\x04\0\0\0zstd', b'\x03\0\0\0lz4'), place + before):
            opcode, length = self._record_at(found - before)
            if opcode == CHUNK and found - before + length <= self._size:
                return found - before
        return None

    def _scan_from(self, place: int) -> int | None:
        """Go through all records; return where the file is damaged or ends without a footer."""
        while place + _RECORD.size <= self._size:
            opcode, length = self._record_at(place)
            body = place + _RECORD.size
            if opcode in (FOOTER, DATA_END):
                return None
            if opcode in (SCHEMA, CHANNEL) and body + length <= self._size:
                self._define(opcode, self._bytes(body, length))
            elif opcode == CHUNK:
                self._scan_chunk(place, length + _RECORD.size)
            elif opcode == MESSAGE and _MESSAGE.size <= length <= self._size - body:
                channel, _, stamp_ns, _ = _MESSAGE.unpack(self._bytes(body, _MESSAGE.size))
                if channel not in self._channels or self._channels[channel].type in READ_TYPES:
                    self._loose.append((stamp_ns, channel, body, length))
                self._counts[channel] = self._counts.get(channel, 0) + 1
            elif opcode == 0:
                return place
            place = body + length
        return place

    def _scan_chunk(self, place: int, length: int) -> None:
        """Note a chunk and what it holds; a damaged one is reported when it is loaded."""
        start_ns, channels = 0, set()
        try:
            start_ns, records = self._chunk(place, length)
            for opcode, body in _records(records):
                if opcode in (SCHEMA, CHANNEL):
                    self._define(opcode, body)
                elif opcode == MESSAGE:
                    channel, = unpack_from('<H', body)
                    channels.add(channel)
                    self._counts[channel] = self._counts.get(channel, 0) + 1
        except Exception:
            channels = None
        self._chunks.append((start_ns, place, length, channels and tuple(channels)))

    def _define(self, opcode: int, body: memoryview | bytes) -> None:
        number, = unpack_from('<H', body)
        if opcode == SCHEMA:
            name, end = _text(body, 2)
            self._schemas[number] = name, _text(body, end)[0]
        elif number not in self._channels:
            schema, = unpack_from('<H', body, 2)
            name, end = _text(body, 4)
            encoding = _text(body, end)[0]
            self._channels[number] = Topic(name, message_type(self._schemas[schema][0]), encoding)

    def _load(self, place: int, length: int, wanted: set[int]) -> list[Message]:
        with self._opened():
            records = self._chunk(place, length)[1]
        messages = []
        for opcode, body in _records(records):
            if opcode == MESSAGE:
                channel, _, stamp_ns, _ = _MESSAGE.unpack_from(body)
                if channel in wanted:
                    messages.append(Message(self._channels[channel], stamp_ns,
                                            message_data(bytes(body[_MESSAGE.size:]))))
        return messages

    def _load_loose(self, stamp_ns: int, channel: int, place: int, length: int) -> list[Message]:
        with self._opened():
            data = self._bytes(place + _MESSAGE.size, length - _MESSAGE.size)
        return [Message(self._channels[channel], stamp_ns, message_data(data))]

    def _chunk(self, place: int, length: int) -> tuple[int, bytes]:
        """Return the start time and the records of a chunk, of a cut one those that are there."""
        cut = place + length > self._size
        body = self._bytes(place + _RECORD.size,
                           min(length, self._size - place) - _RECORD.size)
        start_ns, _, _, crc = _CHUNK.unpack_from(body)
        compression, end = _text(body, _CHUNK.size)
        size, = unpack_from('<Q', body, end)
        records = decompress(body[end + 8:end + 8 + size], compression, cut)
        if crc and not cut and crc32(records) != crc:
            raise ValueError(f'the chunk at byte {place} fails its checksum')
        return start_ns, records

    def _record_at(self, place: int) -> tuple[int, int]:
        self._file.seek(place)
        header = self._file.read(_RECORD.size)
        return _RECORD.unpack(header) if len(header) == _RECORD.size else (0, 0)

    def _bytes(self, place: int, count: int, limit: int = MAX_PART_BYTES) -> bytes:
        if count > limit:
            raise ValueError(f'a record at byte {place} claims {count} bytes: expected at most '
                             f'{limit}')
        self._file.seek(place, io.SEEK_SET)
        data = self._file.read(max(count, 0))
        if len(data) < count:
            raise EOFError(f'the file ends at byte {place + len(data)} in a record')
        return data


def _records(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield opcode and body of each whole record."""
    view, place = memoryview(data), 0
    while place + _RECORD.size <= len(view):
        opcode, length = _RECORD.unpack_from(view, place)
        place += _RECORD.size + length
        if place > len(view):
            return
        yield opcode, view[place - length:place]


def _text(data, place: int) -> tuple[str, int]:
    """Return a text with its length before it, and where it ends."""
    length, = unpack_from('<I', data, place)
    end = place + 4 + length
    if end > len(data):
        raise ValueError('a text is longer than its record')
    return bytes(data[place + 4:end]).decode(), end
