# SPDX-License-Identifier: Apache-2.0
"""What of a recording to play beside a live node: all but the output of an earlier face node."""
from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from depthface_ros.io.bags.files import BagFiles

# Topics that a face node publishes, by their names in any namespace; and the clock of a player.
OUTPUTS = re.compile(r'^/humans/faces(/|$)|/depthface/(mesh|points|poses|expressions|debug_image|'
                     r'transition_event)$|^/clock$')
TF, RECORDED_TF = '/tf', '/tf_recorded'
FACE_FRAME = re.compile(rb'(face|gaze)_f\d{5}\0')  # as a frame_id ends in a serialised message
TRANSFORMS = 1000  # that are searched for frames of faces


class Playback(NamedTuple):
    """Arguments of `ros2 bag play`."""

    topics: list[str]  # to play
    remaps: list[str]  # where recorded transforms hold frames of faces, else empty


def playback(path: Path) -> Playback:
    """Return the topics of a recording without those of a face node that ran beside it.

    Transforms share one topic. Where recorded ones hold frames of faces, they are played to
    RECORDED_TF, so that only the others are passed on to TF.

    :raises ValueError: the recording cannot be read.
    """
    bag = BagFiles(path)
    names = sorted({topic.name for topic in bag.topics})
    outputs = [name for name in names if OUTPUTS.search(name) and name != '/clock']
    transforms = [topic for topic in bag.topics if topic.name == TF]
    has_faces = bool(transforms) and (bool(outputs) or any(
        FACE_FRAME.search(message.data)
        for message in islice(bag.messages(transforms), TRANSFORMS)))
    return Playback([name for name in names if not OUTPUTS.search(name)],
                    ['--remap', f'{TF}:={RECORDED_TF}'] if has_faces else [])
