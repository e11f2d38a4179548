# SPDX-License-Identifier: Apache-2.0
"""The companion of a replayed bag, over real DDS."""
from __future__ import annotations

import signal
import subprocess
import sys

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from ros_helpers import spinning, wait_for
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from depthface_ros.ros.replay import NODE, PLAYER, connected, relay_transforms


@pytest.fixture
def ros():
    rclpy.init()
    yield
    rclpy.try_shutdown()


def test_recorded_transforms_are_passed_on_without_faces(ros):
    relay, robot = Node('relay'), Node('robot')
    relay_transforms(relay)
    heard = []
    robot.create_subscription(TFMessage, '/tf', heard.append, 100)
    recorded = robot.create_publisher(TFMessage, '/tf_recorded', 100)
    frames = ['base_link', 'face_f00001', 'gaze_f00001', 'camera_face']
    with spinning(relay, robot):
        wait_for(lambda: recorded.get_subscription_count() and relay.count_subscribers('/tf'))
        recorded.publish(TFMessage(transforms=[
            TransformStamped(child_frame_id='face_f00002')]))  # nothing is left of it
        recorded.publish(TFMessage(transforms=[
            TransformStamped(child_frame_id=frame) for frame in frames]))
        wait_for(lambda: heard)
    assert [transform.child_frame_id for message in heard for transform in message.transforms] == [
        'base_link', 'camera_face']


def test_the_player_is_resumed_only_when_the_node_listens(ros):
    companion, player = Node('companion'), Node(PLAYER)
    player.create_publisher(Image, '/depth', qos_profile_sensor_data)
    with spinning(companion, player):
        wait_for(lambda: companion.count_publishers('/depth'))
        assert not connected(companion, '/depth')
        node = Node(NODE)
        node.create_subscription(Image, '/depth', print, qos_profile_sensor_data)
        wait_for(lambda: connected(companion, '/depth'))
        assert companion.count_subscribers('/depth') == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_ends_the_companion_well(ros, number):
    """Ctrl-C signals the whole group, and launch its processes once more."""
    robot = Node('robot')
    with spinning(robot), subprocess.Popen(
            [sys.executable, '-m', 'depthface_ros.ros.replay', '--topic', '/depth', '--relay-tf'],
            stderr=subprocess.PIPE, text=True) as companion:
        wait_for(lambda: robot.count_subscribers('/tf_recorded'), 30)
        companion.send_signal(number)
        companion.send_signal(signal.SIGINT)
        _, printed = companion.communicate(timeout=20)
    assert companion.returncode == 0 and not printed, printed
