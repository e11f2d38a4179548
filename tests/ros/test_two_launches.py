# SPDX-License-Identifier: Apache-2.0
"""Two cameras: the launch file started twice at once, as docs/guide/cameras.md says."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import pytest

for module in ('rclpy', 'tf2_msgs', 'onnxruntime', 'rosbags'):
    pytest.importorskip(module)
pytest.importorskip('launch_ros', reason='launch and launch_ros are not on PyPI')

import rclpy
from launched import ROOT, Launched, installed
from ros_helpers import Peer, camera_info_message, image_message, spinning
from sample_frames import sample_frames
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker

SIDES = ('front', 'rear')
HZ = 5


def settings_of_the_rear() -> str:
    """Return the parameter file that the page shows."""
    page = (ROOT / 'docs' / 'guide' / 'cameras.md').read_text()
    return re.search(r'```yaml\n(# rear\.yaml\n.*?)```', page, re.DOTALL)[1]


def half(depth, intrinsics):
    """Return a smaller image, which stock settings of DDS carry, and its camera_info."""
    depth = depth[::2, ::2].copy()
    height, width = depth.shape
    return depth, camera_info_message(width, height, intrinsics.fx / 2)


def ids_by_parent(peer: Peer) -> dict[str, set[int]]:
    """Return the ids on /tf of each camera's faces; their gaze frames hang on them."""
    ids = {side: set() for side in SIDES}
    for message in tuple(peer.heard['tf']):
        for transform in message.transforms:
            parent, child = transform.header.frame_id, transform.child_frame_id
            if child.startswith('gaze_'):
                assert parent == child.replace('gaze_', 'face_')
            else:
                ids[parent].add(int(child.removeprefix('face_f')))
    return ids


def test_two_launches_share_tf_without_a_collision(tmp_path):
    (tmp_path / 'rear.yaml').write_text(settings_of_the_rear())
    depth, info = half(*sample_frames(40)[0])
    rclpy.init()
    peer, cameras, meshes = Peer(), {}, {side: [] for side in SIDES}
    for side in SIDES:
        cameras[side] = (peer.node.create_publisher(Image, f'/{side}/depth/image', 2),
                         peer.node.create_publisher(CameraInfo, f'/{side}/depth/camera_info', 2))
        peer.node.create_subscription(Marker, f'/{side}/depthface/mesh', meshes[side].append, 10)
    with ExitStack() as stack:
        share = stack.enter_context(installed(tmp_path / 'install'))
        launched = [stack.enter_context(Launched(
            share / 'launch' / 'depthface.launch.py', f'depth_topic:=/{side}/depth/image',
            f'namespace:={side}', *arguments, log=tmp_path / side))
            for side, arguments in zip(SIDES, ([], [f'params_file:={tmp_path / "rear.yaml"}']))]
        stack.enter_context(spinning(peer.node))
        for side, launch in zip(SIDES, launched):
            launch.wait_for(f'listening to /{side}/depth/camera_info')
        for publishers in cameras.values():
            for publisher in publishers:
                peer.wait_for(publisher.get_subscription_count)
        for number in range(60 * HZ):
            for side, (image, camera_info) in cameras.items():
                message = image_message(depth, 10**18 + number * 10**9 // HZ, side)
                info.header = message.header
                camera_info.publish(info)
                image.publish(message)
            time.sleep(1 / HZ)
            if all(meshes.values()) and all(ids_by_parent(peer).values()):
                break
        names = peer.wait_for(lambda: len(found := {
            message.status[0].name for message in peer.heard['diagnostics']}) == 2 and found)
    rclpy.shutdown()

    ids = ids_by_parent(peer)
    assert ids['front'] and max(ids['front']) < 1001 <= min(ids['rear'])
    for side in SIDES:
        assert {mesh.header.frame_id for mesh in meshes[side]} == {side}
        assert {mesh.id for mesh in meshes[side] if mesh.action == Marker.ADD} <= ids[side]
    assert names == {f'{side}/depthface: faces' for side in SIDES}
    for side in SIDES:
        printed = (tmp_path / side).read_text()
        assert 'another node' not in printed and 'Traceback' not in printed
        assert 'process has finished cleanly' in printed
