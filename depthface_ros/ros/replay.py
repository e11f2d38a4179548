# SPDX-License-Identifier: Apache-2.0
"""The companion of a replayed bag: resume the paused player, and pass on recorded transforms.

`ros2 bag play` does not wait for subscribers. So replay.launch.py starts it paused, and this
program resumes it once player and node are connected.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage

from depthface_ros.io.bags.playback import RECORDED_TF, TF

PLAYER, NODE = 'rosbag2_player', 'depthface'
SETTLE = 0.5  # s from the discovery of both ends here until they have discovered each other
RESUME = ('ros2', 'service', 'call', f'/{PLAYER}/resume', 'rosbag2_interfaces/srv/Resume', '{}')


def main(arguments: list[str] | None = None) -> int:
    """Run until the launch ends; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--topic', required=True, help='depth images')
    parser.add_argument('--namespace', default='', help='of the node')
    parser.add_argument('--relay-tf', action='store_true',
                        help='pass recorded transforms on, without frames of faces')
    options = parser.parse_args(arguments)
    rclpy.init(args=[])
    node = Node('depthface_replay', namespace=options.namespace)
    try:
        if options.relay_tf:
            relay_transforms(node)
        wait_until_connected(node, node.resolve_topic_name(options.topic))
        time.sleep(SETTLE)
        status = subprocess.run(RESUME, stdout=subprocess.DEVNULL).returncode
        if status:
            node.get_logger().error(f'the player could not be resumed: {" ".join(RESUME)} ended '
                                    f'with status {status}; press space in its terminal')
            return 1
        if options.relay_tf:
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


def wait_until_connected(node: Node, topic: str) -> None:
    """Wait until the player publishes a topic and the node subscribes to it."""
    while rclpy.ok():
        players = [info.node_name for info in node.get_publishers_info_by_topic(topic)]
        nodes = [info.node_name for info in node.get_subscriptions_info_by_topic(topic)]
        if PLAYER in players and NODE in nodes:
            return
        time.sleep(0.05)
    raise ExternalShutdownException


def relay_transforms(node: Node) -> None:
    """Publish recorded transforms on TF, except those of faces of an earlier run."""
    publisher = node.create_publisher(TFMessage, TF, QoSProfile(depth=100))

    def relay(message: TFMessage) -> None:
        kept = [transform for transform in message.transforms
                if not transform.child_frame_id.startswith(('face_', 'gaze_'))]
        if kept:
            publisher.publish(TFMessage(transforms=kept))
    node.create_subscription(TFMessage, RECORDED_TF, relay, QoSProfile(depth=100))


if __name__ == '__main__':
    sys.exit(main())
