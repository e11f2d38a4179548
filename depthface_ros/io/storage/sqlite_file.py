# SPDX-License-Identifier: Apache-2.0
"""Read the sqlite3 files of rosbag2, cut and damaged ones as far as their pages go."""
from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path

from depthface_ros.io.errors import one_line
from depthface_ros.io.storage.parts import message_data
from depthface_ros.io.storage.types import (
    MAX_PART_BYTES,
    READ_TYPES,
    Message,
    Part,
    Topic,
    message_type,
)

MAGIC = b'SQLite format 3\x00'
JOURNALS = ('-journal', '-wal')


class SqliteFile:
    """A sqlite3 file; see :class:`depthface_ros.io.storage.types.StorageFile`."""

    def __init__(self, path: Path):
        """Open the file, which stays as it is.

        :raises ValueError, sqlite3.Error: it holds no tables of rosbag2.
        """
        self.damage: list[str] = []
        self._database = self._open(path)
        self._database.execute('PRAGMA writable_schema = ON')  # opens files that are cut, too
        self._database.execute('PRAGMA trusted_schema = OFF')
        tables = {name for name, in self._database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {'topics', 'messages'} <= tables:
            raise ValueError(f'it holds no table "topics" or "messages", but '
                             f'{", ".join(sorted(tables)) or "none"}: expected a rosbag2 file')
        self._topics = {number: Topic(name, message_type(kind), encoding)
                        for number, name, kind, encoding in self._database.execute(
                            'SELECT id, name, type, serialization_format FROM topics')}
        self._rows = self._read_rows()
        self.topics = dict.fromkeys(self._topics.values(), 0)
        for _, topic, _ in self._rows:
            self.topics[self._topics[topic]] += 1

    def parts(self, topics: Collection[Topic]) -> list[Part]:
        wanted = {number for number, topic in self._topics.items() if topic in topics}
        return [Part(stamp_ns, partial(self._load, number, self._topics[topic], stamp_ns))
                for number, topic, stamp_ns in self._rows if topic in wanted]

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open the file, or a copy of it where a journal must be rolled back first."""
        if any(os.path.exists(f'{path}{suffix}') for suffix in JOURNALS):
            self._folder = tempfile.TemporaryDirectory(prefix='depthface_')
            for suffix in ('', *JOURNALS):
                if os.path.exists(f'{path}{suffix}'):
                    shutil.copyfile(f'{path}{suffix}', f'{self._folder.name}/bag.db3{suffix}')
            self.damage.append('the recording was not closed: its journal is applied to a copy')
            return sqlite3.connect(f'{self._folder.name}/bag.db3')
        return sqlite3.connect(f'{path.resolve().as_uri()}?mode=ro&immutable=1', uri=True)

    def _read_rows(self) -> list[tuple[int, int, int]]:
        """Return id, topic and time of messages of READ_TYPES, up to where the table is damaged."""
        wanted = {number for number, topic in self._topics.items() if topic.type in READ_TYPES}
        rows = []
        try:
            for row in self._database.execute('SELECT id, topic_id, timestamp FROM messages'):
                if row[1] in wanted and isinstance(row[2], int):
                    rows.append(row)
        except sqlite3.Error as error:
            self.damage.append(f'{one_line(error)} after {len(rows)} messages: the file was cut '
                               'off or is damaged; what comes before is read')
        return rows

    def _load(self, number: int, topic: Topic, stamp_ns: int) -> list[Message]:
        size, = self._database.execute('SELECT length(data) FROM messages WHERE id = ?',
                                       (number,)).fetchone()
        if size > MAX_PART_BYTES:
            raise ValueError(f'message {number} has {size} bytes: expected at most '
                             f'{MAX_PART_BYTES}')
        data, = self._database.execute('SELECT data FROM messages WHERE id = ?',
                                       (number,)).fetchone()
        return [Message(topic, stamp_ns, message_data(bytes(data)))]
