# SPDX-License-Identifier: Apache-2.0
"""The storage files of a recording: found, opened by their content, read as one."""
from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from depthface_ros.io.errors import reading
from depthface_ros.io.image_files import natural_order
from depthface_ros.io.storage import mcap_file, ros1_file, sqlite_file
from depthface_ros.io.storage.compressed_file import decompressed
from depthface_ros.io.storage.parts import ZSTD_MAGIC, in_time_order
from depthface_ros.io.storage.types import Message, StorageFile, Topic

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')
COMPRESSED_SUFFIX = '.zstd'
METADATA = 'metadata.yaml'
FORMATS = {mcap_file.MAGIC: mcap_file.McapFile, sqlite_file.MAGIC: sqlite_file.SqliteFile,
           ros1_file.MAGIC: ros1_file.Ros1File}


class BagFiles:
    """All storage files of one recording."""

    def __init__(self, path: Path):
        """Open a file or a folder.

        :raises ValueError: no file of it can be read; the text gives file, cause and way out.
        """
        files, self.damage, errors = storage_files(path), [], []
        self._files: list[StorageFile] = []
        for file in files:
            try:
                self._files.append(open_storage(file))
            except ValueError as error:
                errors.append(str(error))
        if not self._files:
            raise ValueError(errors[0])
        self.damage += errors
        self.topics: dict[Topic, int] = {}
        for storage in self._files:
            self.damage += storage.damage
            for topic, count in storage.topics.items():
                self.topics[topic] = self.topics.get(topic, 0) + count

    def messages(self, topics: Collection[Topic],
                 report: Callable[[str], None] = lambda damage: None) -> Iterator[Message]:
        """Yield the messages of these topics by recording time; report what is damaged."""
        parts = (part for storage in self._files for part in storage.parts(topics))
        return in_time_order(parts, report)


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a recording: the file itself, or those of a folder.

    `metadata.yaml` is not read, for storage files are complete without it.

    :raises ValueError: a folder holds none, or the files of several recordings.
    """
    if path.name == METADATA:
        path = path.parent
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir(), key=natural_order) if is_bag_name(file)]
    names = {file.name for file in files}
    # A player decompresses a file beside the compressed one.
    files = [file for file in files if file.name.removesuffix(COMPRESSED_SUFFIX) not in names
             or not file.name.endswith(COMPRESSED_SUFFIX)]
    if not files:
        raise ValueError(f'{path} holds {METADATA} but no storage file: expected '
                         f'{", ".join(BAG_SUFFIXES)} beside it; was the file moved or renamed?')
    recordings = {re.sub(r'_\d+$', '', file.name.partition('.')[0]) for file in files}
    if len(recordings) > 1 and not (path / METADATA).is_file():
        raise ValueError(f'{path} holds {len(files)} bags and no {METADATA}: name the files, one '
                         'or several')
    return files


def is_bag_name(path: Path) -> bool:
    """Return whether a file is named as recorders name them, compressed as a whole or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-2:] == ['.bag', '.active']:  # of a ROS 1 recorder that was killed
        return True
    if suffixes[-1:] == [COMPRESSED_SUFFIX]:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in BAG_SUFFIXES


def is_bag(path: Path) -> bool:
    """Return whether a file begins as a recording does, or is named as one."""
    if is_bag_name(path):
        return True
    with path.open('rb') as file:
        return file.read(16).startswith(tuple(FORMATS))


def open_storage(path: Path) -> StorageFile:
    """Open a storage file as the format that its first bytes name, whatever its extension.

    :raises ValueError: it is in no such format, or cannot be read.
    """
    with reading(str(path)):
        with path.open('rb') as file:
            beginning = file.read(16)
        if beginning.startswith(ZSTD_MAGIC):
            return _open_compressed(path)
        for magic, format_ in FORMATS.items():
            if beginning.startswith(magic):
                return format_(path)
        if not beginning:
            raise ValueError('the file is empty: nothing was recorded, or the disk was full')
        raise ValueError(f'it begins with {beginning[:8]!r}: expected an mcap, sqlite3 or ROS 1 '
                         'bag; if the file is damaged, try `mcap recover` or '
                         '`sqlite3 FILE .recover`')


def _open_compressed(path: Path) -> StorageFile:
    content, cut = decompressed(path, tuple(FORMATS))
    try:
        storage = open_storage(content)
    except BaseException:
        content.unlink()
        raise
    if cut:
        storage.damage.insert(0, f'{path} is cut off: what comes before is read')
    weakref.finalize(storage, content.unlink, missing_ok=True)
    return storage
