# SPDX-License-Identifier: Apache-2.0
"""With config/fastdds.xml all large depth images pass from one process to another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from ros_helpers import wait_for
from sensor_msgs.msg import Image

PROFILES = str(Path(__file__).parents[2] / 'config' / 'fastdds.xml')
COUNT = 15
CAMERA = '''
import sys, time
import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
width, height, size, count = map(int, sys.argv[1:])
rclpy.init()
node = rclpy.create_node('large_camera')
camera = node.create_publisher(Image, 'large', qos_profile_sensor_data)
message = Image(width=width, height=height, step=width * size, encoding='32FC1')
message.data.frombytes(bytes(width * height * size))
message = serialize_message(message)
while not camera.get_subscription_count():
    time.sleep(0.05)
time.sleep(0.5)
for _ in range(count):
    camera.publish(message)
    time.sleep(0.1)
sys.stdin.read()  # until the reader has all
'''


@pytest.mark.parametrize('width, height, size', [(640, 480, 2), (1280, 720, 4), (3840, 2160, 4)])
def test_no_image_gets_lost(width, height, size):
    rclpy.init()
    node = rclpy.create_node('reader')
    received = []
    node.create_subscription(Image, 'large', lambda data: received.append(len(data)),
                             qos_profile_sensor_data, raw=True)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    camera = subprocess.Popen(
        [sys.executable, '-c', CAMERA, *map(str, (width, height, size, COUNT))],
        stdin=subprocess.PIPE, env=os.environ | {'FASTRTPS_DEFAULT_PROFILES_FILE': PROFILES,
                                                 'FASTDDS_DEFAULT_PROFILES_FILE': PROFILES})
    try:
        def all_came():
            executor.spin_once(timeout_sec=0.05)
            return len(received) == COUNT

        end = time.monotonic() + 60
        wait_for(lambda: all_came() or time.monotonic() > end, 90)
        assert len(received) == COUNT
        assert min(received) >= width * height * size
    finally:
        camera.communicate(timeout=10)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
