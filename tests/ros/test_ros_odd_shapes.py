# SPDX-License-Identifier: Apache-2.0
"""Images of one row or one column under a distorted camera, while the node tracks a face."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
for module in ('tf2_msgs', 'onnxruntime', 'rosbags'):
    pytest.importorskip(module)

from ros_helpers import Peer, camera_info_message, image_message, spinning
from sample_frames import sample_frames

PIXELS = 150_000  # as many as in the images before
ALLOWED_MB = 150  # above the peak before; the ray map of every pixel to the edge took 550


def peak_mb(pid: int) -> float:
    return int(re.search(r'VmHWM:\s*(\d+)', Path(f'/proc/{pid}/status').read_text())[1]) / 1024


@pytest.fixture
def good():
    """A depth image with faces, small enough for stock DDS, and the camera_info of a distorted lens."""
    depth, intrinsics = sample_frames(40)[0]
    depth = depth[::2, ::2].copy()
    info = camera_info_message(depth.shape[1], depth.shape[0], intrinsics.fx / 2)
    info.d = [0.02, -0.01, 1e-3, 1e-3, 0.0]
    return depth, info


@pytest.mark.parametrize('shape', [(1, PIXELS), (PIXELS, 1)])
def test_the_node_goes_on_after_such_images_and_stops_in_the_midst_of_them(good, shape, tmp_path):
    depth, info = good
    odd = np.full(shape, int(np.median(depth[depth > 0])), np.uint16)
    odd_info = camera_info_message(shape[1], shape[0], info.k[0])
    odd_info.d = info.d
    rclpy.init()
    peer, stamps = Peer(), iter(range(10**18, 2 * 10**18, 10**8))

    def send(image, camera_info):
        peer.send_info(camera_info)
        peer.send(image_message(image, next(stamps)))

    def shows_faces() -> bool:
        send(depth, info)
        time.sleep(0.1)
        return bool(peer.heard['tf'])

    def takes_odd_images() -> bool:
        send(odd, odd_info)
        return f'image: {shape[1]}x{shape[0]} ' in log.read_text()

    log = tmp_path / 'log'
    with log.open('w') as output, subprocess.Popen(
            [sys.executable, '-m', 'depthface_ros.ros', '--ros-args', '-p', 'engine:=cpu'],
            stdout=output, stderr=subprocess.STDOUT) as process, spinning(peer.node):
        peer.wait_for(lambda: peer.node.count_subscribers('depth/image'), 60)
        peer.wait_for(shows_faces, 60)
        before = peak_mb(process.pid)
        peer.wait_for(takes_odd_images, 30)
        peer.heard['tf'].clear()
        peer.wait_for(shows_faces, 60)
        assert peak_mb(process.pid) - before < ALLOWED_MB
        for _ in range(2):
            send(odd, odd_info)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
    rclpy.shutdown()
    printed = log.read_text()
    assert process.returncode == 0 and 'Traceback' not in printed, printed
