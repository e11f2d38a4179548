# SPDX-License-Identifier: Apache-2.0
"""What every storage file offers: topics, and parts with messages."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

MAX_PART_BYTES = 1 << 27  # of a message or a chunk in memory: an 8K image of float metres
IMAGE, COMPRESSED, CAMERA_INFO = (
    f'sensor_msgs/msg/{name}' for name in ('Image', 'CompressedImage', 'CameraInfo'))
READ_TYPES = (IMAGE, COMPRESSED, CAMERA_INFO)  # messages of other types are not noted


class Topic(NamedTuple):
    """A topic with one type and one encoding; a file may hold several of one name."""

    name: str
    type: str  # as 'sensor_msgs/msg/Image', for ROS 1 too
    encoding: str  # 'cdr' or 'ros1'; others are listed but cannot be decoded


class Message(NamedTuple):
    """A serialised message and the time at which it was recorded."""

    topic: Topic
    stamp_ns: int
    data: bytes


class Part(NamedTuple):
    """A chunk of messages, or one message, that is loaded when its time has come."""

    start_ns: int
    load: Callable[[], list[Message]]  # raises any exception where the part is damaged


class OpenedForParts:
    """A file that is open only while something is read: a recording may have thousands of files."""

    def __init__(self, path: Path):
        self._path = path
        self._size = path.stat().st_size

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._path.open('rb') as self._file:
            yield


class StorageFile(Protocol):
    """One file of a recording."""

    topics: dict[Topic, int]  # number of messages; of other types than READ_TYPES it may be 0
    damage: list[str]  # found when the file was opened

    def parts(self, topics: Collection[Topic]) -> list[Part]:
        """Return the parts that may hold messages of these topics."""
        ...


def message_type(name: str) -> str:
    """Return the ROS 2 spelling of a message type: 'sensor_msgs/msg/Image'."""
    package, _, kind = name.rpartition('/')
    return f'{package.removesuffix("/msg")}/msg/{kind}'
