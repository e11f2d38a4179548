# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording hold the depth images and the camera that took them."""
from __future__ import annotations

import os
import re
from itertools import islice

from depthface_ros.io.bags.files import BagFiles
from depthface_ros.io.bags.messages import decoded
from depthface_ros.io.compressed_depth import TRANSPORTS, is_depth_format, raw_topic
from depthface_ros.io.depth_encodings import is_depth_encoding
from depthface_ros.io.quoting import quoted
from depthface_ros.io.storage.types import CAMERA_INFO, COMPRESSED, IMAGE, Topic

ENCODINGS = ('cdr', 'ros1')
TRIED_MESSAGES = 5  # until one of a topic can be decoded
# Images that a face node publishes itself: with `ros2 bag record -a` they are in the bag.
OWN_TOPICS = re.compile(r'(^|/)humans/|/debug_image($|/)')

# What some cameras publish beside depth in an encoding of depth, by its name.
NO_DEPTH_NAMES = re.compile(
    r'(^|[/_])(ir|infra\d*|infrared|amplitude|intensity|confidence|disparity)([/_\d]|$)', re.I)


def depth_topic(bag: BagFiles) -> str:
    """Return the one topic of depth images, raw rather than compressed.

    Infrared and confidence may have an encoding of depth: topics of such a name come last.

    :raises ValueError: there is none, or there are several; the text lists the topics.
    """
    found = list(dict.fromkeys(
        topic.name for topic, count in bag.topics.items()
        if count and not OWN_TOPICS.search(topic.name) and _holds_depth(bag, topic)))
    found = [name for name in found if not NO_DEPTH_NAMES.search(name)] or found
    raw = [name for name in found if raw_topic(name) == name]
    found = raw + [name for name in found if not {name, raw_topic(name)} & set(raw)]
    found = _preferred_transports(found)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f'several depth topics ({", ".join(found)}): name one of them with '
                         '--topic')
    raise ValueError(f'no depth images: {topics_text(bag)}')


def image_topics(bag: BagFiles, name: str) -> list[Topic]:
    """Return the topics with images of this name.

    :raises ValueError: there is none that can be decoded.
    """
    found = [topic for topic in bag.topics if topic.name == name
             and topic.type in (IMAGE, COMPRESSED)]
    if not found:
        raise ValueError(f'no images on topic {name}: {topics_text(bag)}')
    readable = [topic for topic in found if topic.encoding in ENCODINGS]
    if not readable:
        raise ValueError(f'the images on {name} are encoded as {quoted(found[0].encoding)}: '
                         f'expected {" or ".join(ENCODINGS)}, as ROS recorders write')
    return readable


def info_topics(bag: BagFiles, image_topic: str, wanted: str | None = None) -> list[Topic]:
    """Return the topics of the camera_info that belongs to an image topic.

    It is the wanted one, the one in the namespace of the images, or the nearest in name.

    :raises ValueError: there is none, or several are equally near.
    """
    infos = {topic.name for topic, count in bag.topics.items()
             if topic.type == CAMERA_INFO and count and topic.encoding in ENCODINGS}
    name = wanted or nearest_info(raw_topic(image_topic), infos)
    if name not in infos:
        beside = raw_topic(image_topic).rpartition('/')[0] + '/camera_info'
        cause = (f'no camera_info on {wanted}' if wanted else
                 f'no camera_info on {beside}, where that of {image_topic} belongs'
                 + (f', and several others ({", ".join(sorted(infos))})' if infos else ''))
        raise ValueError(f'{cause}: name it with --info-topic or give --intrinsics; '
                         f'{topics_text(bag)}')
    return [topic for topic in bag.topics if topic.name == name and topic.type == CAMERA_INFO]


def nearest_info(image: str, infos: set[str]) -> str:
    """Return the camera_info topic nearest to an image topic in name, or '' without one.

    Nearest is the longest common beginning. Depth that was aligned to another camera
    (aligned_depth_to_color) belongs to the camera_info of that one.
    """
    beside = image.rpartition('/')[0] + '/camera_info'
    if beside in infos or len(infos) == 1:
        return beside if beside in infos else next(iter(infos))
    common = {info: len(os.path.commonprefix([image, info])) for info in infos}
    longest = max(common.values(), default=0)
    nearest = [info for info in infos if common[info] == longest]
    aligned = re.search(r'_to_([^/_]+)', image)
    if len(nearest) > 1 and aligned:
        nearest = [info for info in nearest if aligned[1] in info.split('/')]
    return nearest[0] if len(nearest) == 1 and longest > 1 else ''


def topics_text(bag: BagFiles) -> str:
    """Return a list of the topics for an error."""
    topics = sorted({f'{topic.name} ({topic.type.split("/")[-1]})' for topic in bag.topics})
    more = f' and {len(topics) - 30} more' if len(topics) > 30 else ''
    return f'its topics are {", ".join(topics[:30]) or "none"}{more}'


def _holds_depth(bag: BagFiles, topic: Topic) -> bool:
    """Return whether the first message of an image topic that can be decoded is depth."""
    if topic.type not in (IMAGE, COMPRESSED) or topic.encoding not in ENCODINGS:
        return False
    for message in islice(bag.messages([topic]), TRIED_MESSAGES):
        try:
            image = decoded(message)
        except ValueError:
            continue
        return (is_depth_encoding(image.encoding) if topic.type == IMAGE
                else is_depth_format(image.format))
    return False


def _preferred_transports(names: list[str]) -> list[str]:
    """Of several compressed twins of a topic, return the one that comes first in TRANSPORTS."""
    return [name for name in names if raw_topic(name) == name or name == next(
        twin for transport in TRANSPORTS
        if (twin := f'{raw_topic(name)}/{transport}') in names)]
