# SPDX-License-Identifier: Apache-2.0
"""Playback of a recording omits the topics that a face node published in it."""
from __future__ import annotations

import pytest

pytest.importorskip('rosbags')

from depthface_ros.io.bag_writer import BagWriter
from depthface_ros.io.bags.playback import playback

CAMERA = '/camera/depth/image_raw'
KINDS = {'/tf': 'tf2_msgs/msg/TFMessage', '/humans/faces/tracked': 'std_msgs/msg/Header',
         CAMERA: 'std_msgs/msg/Header', '/robot/depthface/mesh': 'std_msgs/msg/Header',
         '/clock': 'std_msgs/msg/Header', '/mesh': 'std_msgs/msg/Header'}
STILL = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)


def record(file, topics, frames=()):
    with BagWriter(file, {topic: KINDS[topic] for topic in topics}) as bag:
        for stamp_ns, topic in enumerate(topics, 1):
            if topic == '/tf':
                bag.write_message(topic, stamp_ns, transforms=[
                    bag.transform(stamp_ns, 'map', frame, *STILL) for frame in frames])
            else:
                header = bag.header(stamp_ns, 'camera')
                bag.write_message(topic, stamp_ns, stamp=header.stamp, frame_id='camera')
    return file


def test_outputs_of_a_face_node_and_the_clock_are_not_played(tmp_path):
    plan = playback(record(tmp_path / 'all.mcap', list(KINDS), ['base_link']))
    assert plan.topics == [CAMERA, '/mesh', '/tf']
    assert plan.remaps == ['--remap', '/tf:=/tf_recorded']


@pytest.mark.parametrize('frames, has_faces', [
    (['base_link', 'face_camera', 'my_face_f00001x'], False), (['base_link', 'face_f00001'], True),
    (['gaze_f00012'], True)])
def test_transforms_are_filtered_only_where_faces_are_among_them(tmp_path, frames, has_faces):
    plan = playback(record(tmp_path / 'tf.mcap', [CAMERA, '/tf'], frames))
    assert plan.topics == [CAMERA, '/tf'] and bool(plan.remaps) == has_faces
