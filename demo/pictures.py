# SPDX-License-Identifier: Apache-2.0
"""Output files of the demo: a video, a contact sheet, a recording for RViz and Foxglove."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rclpy.serialization import serialize_message

from depthface_ros.estimation.types import Face
from depthface_ros.io.bag_writer import BagWriter
from depthface_ros.io.face_bag import MESH_TOPIC, TF_TOPIC, TOPICS
from depthface_ros.tools.overlay import VideoWriter, contact_sheet, draw_faces

SHEET = 9  # pictures


def write_pictures(folder: Path, sample, faces: dict[int, dict], face_model, show) -> None:
    """Write faces.mp4 and sheet.png, drawn from the received messages.

    :param faces: stamp as recorded -> id -> camera_from_face (4, 4) and vertices (V, 3) or None.
    :param show: called with the number of images drawn so far.
    """
    stamps = sorted(sample.depths)
    chosen = {stamps[i] for i in np.linspace(0, len(stamps) - 1, SHEET).round().astype(int)}
    video, pictures = VideoWriter(folder / 'faces.mp4', sample.rate), []
    for count, stamp in enumerate(stamps, 1):
        drawn = {name: Face(pose, vertices, np.zeros(0), np.nan, np.nan, np.nan)
                 for name, (pose, vertices) in faces.get(stamp, {}).items()
                 if vertices is not None}
        picture = draw_faces(sample.depths[stamp], sample.intrinsics, list(drawn.values()),
                             face_model, list(drawn))
        video.write(picture)
        if stamp in chosen:
            pictures.append(picture)
        show(count)
    video.close()
    cv2.imwrite(str(folder / 'sheet.png'), contact_sheet(pictures, 3, 360))


def write_bag(file: Path, transforms: list, markers: list[tuple[int, bytes]]) -> None:
    """Write an mcap file with all transforms and mesh markers at the times of their images.

    :param transforms: TFMessages.
    :param markers: image stamp in ns and serialised Marker, in the order of time.
    """
    stamps = [message.transforms[0].header.stamp for message in transforms]
    messages = [(stamp.sec * 10**9 + stamp.nanosec, TF_TOPIC, serialize_message(message))
                for stamp, message in zip(stamps, transforms)]
    messages += [(stamp, MESH_TOPIC, data) for stamp, data in markers]
    with BagWriter(file, TOPICS) as bag:
        for stamp, topic, data in sorted(messages, key=lambda message: message[0]):
            bag.write(topic, stamp, data)
