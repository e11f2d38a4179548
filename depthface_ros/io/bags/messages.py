# SPDX-License-Identifier: Apache-2.0
"""Serialised messages of ROS 1 and 2 as objects.

The definitions are those of ROS itself. Those in a file may be missing, damaged or hostile.
"""
from __future__ import annotations

from functools import cache
from typing import Any

from depthface_ros.io.errors import reading
from depthface_ros.io.frame import frame_name
from depthface_ros.io.serialised_image import read_image
from depthface_ros.io.storage.types import IMAGE, Message


def decoded(message: Message) -> Any:
    """Return a message with the fields of its type; pixels stay where they are in its bytes.

    :raises ValueError: the message was cut off or is damaged, or rosbags is not installed.
    """
    topic = message.topic
    image = None
    if topic.type == IMAGE and topic.encoding == 'cdr':
        image = read_image(message.data)
    if image is not None:
        return image
    with reading(f'message of {len(message.data)} bytes does not decode as {topic.type}'):
        store = _typestore(topic.encoding)
        if topic.encoding == 'ros1':
            return store.deserialize_ros1(message.data, topic.type)
        return store.deserialize_cdr(message.data, topic.type)


def stamp_ns(message) -> int | None:
    """Return the stamp of a decoded message, None where it was not set or cannot be a time."""
    if hasattr(message, 'stamp'):
        seconds, nanoseconds = message.stamp
    else:
        seconds, nanoseconds = message.header.stamp.sec, message.header.stamp.nanosec
    time_ns = seconds * 10 ** 9 + nanoseconds
    return time_ns if seconds >= 0 and nanoseconds < 10 ** 9 and time_ns else None


def frame_id(message) -> str:
    """Return the frame of a decoded message."""
    return frame_name(message.frame_id if hasattr(message, 'frame_id')
                      else message.header.frame_id)


@cache
def _typestore(encoding: str):
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ValueError(f'bags need rosbags ({error}): pip install rosbags') from error
    return get_typestore(Stores.ROS1_NOETIC if encoding == 'ros1' else Stores.ROS2_JAZZY)
