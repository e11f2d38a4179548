# SPDX-License-Identifier: Apache-2.0
"""Read ROS 1 bags (http://wiki.ros.org/Bags/Format/2.0), with or without an index.

A record is a header of fields `name=value` and data, each with its length (uint32) before it.
"""
from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from struct import error, unpack, unpack_from

from depthface_ros.io.storage.parts import decompress, find, scan_past_damage
from depthface_ros.io.storage.types import (
    MAX_PART_BYTES,
    Message,
    OpenedForParts,
    Part,
    Topic,
    message_type,
)

MAGIC = b'#ROSBAG V2.0\n'
MESSAGE, BAG, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
SECOND = 10 ** 9


class Ros1File(OpenedForParts):
    """A ROS 1 bag; see :class:`depthface_ros.io.storage.types.StorageFile`."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.damage: list[str] = []
        self._connections: dict[int, Topic] = {}
        self._counts: dict[int, int] = {}
        # start time, place and length of the data, compression, connections or None
        self._chunks: list[tuple[int, int, int, str, set[int] | None]] = []
        with self._opened():
            self._scan()
        self.topics: dict[Topic, int] = {}
        for connection, topic in self._connections.items():
            self.topics[topic] = self.topics.get(topic, 0) + self._counts.get(connection, 0)

    def parts(self, topics: Collection[Topic]) -> list[Part]:
        wanted = {number for number, topic in self._connections.items() if topic in topics}
        return [Part(start_ns, partial(self._load, place, length, compression, wanted))
                for start_ns, place, length, compression, connections in self._chunks
                if connections is None or connections & wanted]

    def _scan(self) -> None:
        """Note all chunks; pass damaged places."""
        for damage in scan_past_damage(len(MAGIC), self._size, self._scan_from,
                                       self._chunk_after, 'rosbag reindex'):
            self.damage.append(damage)

    def _chunk_after(self, place: int) -> int | None:
        """Return the place of the next chunk, whose header begins with one of its fields."""
        for found in find(self._file, (b'compression=', b'op=\x05', b'size='), place + 9):
            try:
                fields, data, length = self._record_at(found - 8)
                if fields['op'][0] == CHUNK and data + length <= self._size:
                    return found - 8
            except (ValueError, KeyError, IndexError, EOFError, error):
                continue
        return None

    def _scan_from(self, place: int) -> int | None:
        """Note the chunks; index records follow each. Return where the file is damaged."""
        chunk, index = None, {}
        try:
            while place < self._size:
                fields, data, length = self._record_at(place)
                opcode = fields['op'][0]
                if opcode == INDEX and chunk:
                    self._note_index(fields, self._bytes(data, length), index)
                else:
                    self._close(chunk, index)
                    chunk, index = None, {}
                    if opcode == CHUNK:
                        chunk = data, length, fields['compression'].decode()
                    elif opcode == CONNECTION:
                        self._define(fields, self._bytes(data, length))
                place = data + length
        except (ValueError, KeyError, IndexError, EOFError, error):
            return place
        finally:
            self._close(chunk, index)
        return place if place > self._size else None

    def _note_index(self, fields: dict, data: bytes, index: dict[int, int]) -> None:
        connection, count = unpack('<II', fields['conn'] + fields['count'])
        times = _times(data, count)
        if times:
            index[connection] = min(times)
            self._counts[connection] = self._counts.get(connection, 0) + len(times)

    def _close(self, chunk, index: dict[int, int]) -> None:
        """Note a chunk; read it where its index is missing or names unknown connections."""
        if chunk is None:
            return
        if not index or index.keys() - self._connections.keys():
            first_ns, counts = self._look_into(*chunk)
            if not index:
                index = dict.fromkeys(counts, first_ns)
                for connection, count in counts.items():
                    self._counts[connection] = self._counts.get(connection, 0) + count
        self._chunks.append((min(index.values(), default=0), *chunk, set(index) or None))

    def _look_into(self, place: int, length: int, compression: str) -> tuple[int, dict[int, int]]:
        """Define the connections of a chunk; return its first time and its numbers of messages."""
        first_ns, counts = 0, {}
        try:
            for fields, data in self._records(place, length, compression):
                if fields['op'][0] == CONNECTION:
                    self._define(fields, data)
                elif fields['op'][0] == MESSAGE:
                    connection, = unpack('<I', fields['conn'])
                    counts[connection] = counts.get(connection, 0) + 1
                    first_ns = min(first_ns or _time(fields), _time(fields))
        except Exception:  # it is reported when the chunk is loaded
            pass
        return first_ns, counts

    def _define(self, fields: dict[str, bytes], data: bytes) -> None:
        connection, = unpack('<I', fields['conn'])
        kind = _fields(data)['type'].decode()
        self._connections[connection] = Topic(fields['topic'].decode(), message_type(kind), 'ros1')

    def _load(self, place: int, length: int, compression: str, wanted: set[int]) -> list[Message]:
        with self._opened():
            records = list(self._records(place, length, compression))
        messages = []
        for fields, data in records:
            if fields['op'][0] == MESSAGE:
                connection, = unpack('<I', fields['conn'])
                if connection in wanted:
                    messages.append(Message(self._connections[connection], _time(fields), data))
        return messages

    def _records(self, place: int, length: int, compression: str
                 ) -> Iterator[tuple[dict[str, bytes], bytes]]:
        cut = place + length > self._size
        chunk = decompress(self._bytes(place, min(length, self._size - place)), compression, cut)
        start = 0
        while start < len(chunk):
            try:
                fields, data, size = _header(chunk[start:start + 8192])
                end = start + data + size
            except (ValueError, error):
                if cut:
                    return
                raise
            if end > len(chunk):
                if cut:
                    return
                raise ValueError('a message is longer than its chunk')
            yield fields, chunk[start + data:end]
            start = end

    def _record_at(self, place: int) -> tuple[dict[str, bytes], int, int]:
        """Return the header of a record, and place and length of its data."""
        header_bytes, = unpack('<I', self._bytes(place, 4))
        fields = _fields(self._bytes(place + 4, header_bytes))
        length, = unpack('<I', self._bytes(place + 4 + header_bytes, 4))
        return fields, place + 8 + header_bytes, length

    def _bytes(self, place: int, count: int) -> bytes:
        if count > MAX_PART_BYTES:
            raise ValueError(f'a record at byte {place} claims {count} bytes: expected at most '
                             f'{MAX_PART_BYTES}')
        self._file.seek(place)
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError(f'the file ends at byte {place + len(data)} in a record')
        return data


def _header(data: bytes) -> tuple[dict[str, bytes], int, int]:
    """Return the fields of a record's header, and place and length of its data."""
    header_bytes, = unpack_from('<I', data)
    fields = _fields(data[4:4 + header_bytes])
    length, = unpack_from('<I', data, 4 + header_bytes)
    return fields, 8 + header_bytes, length


def _fields(data: bytes) -> dict[str, bytes]:
    """Return the fields of a header: each `name=value` with its length before it."""
    fields, place = {}, 0
    while place < len(data):
        length, = unpack_from('<I', data, place)
        name, equals, value = data[place + 4:place + 4 + length].partition(b'=')
        if not equals:
            raise ValueError('a header field has no "="')
        fields[name.decode()] = value
        place += 4 + length
    return fields


def _time(fields: dict[str, bytes]) -> int:
    seconds, nanoseconds = unpack('<II', fields['time'])
    return seconds * SECOND + nanoseconds


def _times(data: bytes, count: int) -> list[int]:
    """Return the times of an index record: seconds, nanoseconds and a place per message."""
    numbers = unpack(f'<{len(data) // 12 * 3}I', data[:len(data) // 12 * 12])[:3 * count]
    return [seconds * SECOND + nanoseconds
            for seconds, nanoseconds in zip(numbers[::3], numbers[1::3])]
