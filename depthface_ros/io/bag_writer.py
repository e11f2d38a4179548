# SPDX-License-Identifier: Apache-2.0
"""Write bags of ROS 2 messages without ROS."""
from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.writer import zstd
from rosbags.typesys import Stores, get_typestore


class BagWriter:
    """Write one compressed .mcap file, which appears when it is closed.

    :param topics: name -> message type, as 'tf2_msgs/msg/TFMessage'.
    :param level: of zstd, up to 22: higher levels take longer and write fewer bytes.
    :raises ValueError: the name of the file does not end with .mcap.
    """

    def __init__(self, file: str | Path, topics: dict[str, str], level: int = 3):
        file = Path(file)
        if file.suffix != '.mcap':
            raise ValueError(f'{file}: bags are written as .mcap')
        self._file, self._kinds = file, topics
        self._store = get_typestore(Stores.ROS2_JAZZY)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=file.parent, prefix=f'.{file.stem}_')
        self._writer = Writer(Path(self._folder.name) / 'bag', version=9,
                              storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._writer.storage.compressor = partial(  # pyright: ignore[reportAttributeAccessIssue]
            zstd.compress, level=level)
        self._connections = {topic: self._writer.add_connection(topic, kind, typestore=self._store)
                             for topic, kind in topics.items()}

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        shutil.move(next(Path(self._folder.name).glob('bag/*.mcap')), self._file)
        self._folder.cleanup()

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Write a serialised message."""
        self._writer.write(self._connections[topic], stamp_ns, data)

    def write_message(self, topic: str, stamp_ns: int, **values) -> None:
        """Write a message of the topic's type with these values, all of them."""
        self.write(topic, stamp_ns, self.serialised(self._kinds[topic], **values))

    def serialised(self, kind: str, **values) -> bytes:
        """Return a message as bytes."""
        return bytes(self._store.serialize_cdr(self.message(kind, **values), kind))

    def message(self, kind: str, **values):
        """Return a message, or a part of one: kind as 'std_msgs/msg/Header'."""
        return self._store.types[kind](**values)

    def xyz(self, kind: str, *values):
        """Return a Point, a Vector3 or a Quaternion."""
        return self.message(f'geometry_msgs/msg/{kind}', **dict(zip('xyzw', map(float, values))))

    def header(self, stamp_ns: int, frame_id: str):
        """Return a Header."""
        stamp = self.message('builtin_interfaces/msg/Time', sec=stamp_ns // 10 ** 9,
                             nanosec=stamp_ns % 10 ** 9)
        return self.message('std_msgs/msg/Header', frame_id=frame_id, stamp=stamp)

    def transform(self, stamp_ns: int, parent: str, child: str, translation, quaternion):
        """Return a TransformStamped: x, y, z (m) and quaternion xyzw of the child in its parent."""
        return self.message(
            'geometry_msgs/msg/TransformStamped', header=self.header(stamp_ns, parent),
            child_frame_id=child, transform=self.message(
                'geometry_msgs/msg/Transform', translation=self.xyz('Vector3', *translation),
                rotation=self.xyz('Quaternion', *quaternion)))
