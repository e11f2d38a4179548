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
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from tf2_msgs.msg import TFMessage

from depthface_ros.io.bags.playback import RECORDED_TF, TF
from depthface_ros.stop import Stop

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
    stop = Stop()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node('depthface_replay', namespace=options.namespace)
    if options.relay_tf:
        relay_transforms(node)
    status = resume_when_connected(node, node.resolve_topic_name(options.topic), stop)
    while options.relay_tf and not status and not stop:
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.try_shutdown()
    stop.finish()
    return status


def resume_when_connected(node: Node, topic: str, stop: Stop) -> int:
    """Resume the player once it and the node share a topic; return the exit status."""
    while not stop and not connected(node, topic):
        time.sleep(0.05)
    if stop:
        return 0
    time.sleep(SETTLE)
    status = subprocess.run(RESUME, stdout=subprocess.DEVNULL).returncode
    if not status or stop:  # Ctrl-C ends both
        return 0
    node.get_logger().error(f'the player could not be resumed: {" ".join(RESUME)} ended '
                            f'with status {status}; try this command in a terminal')
    return 1


def connected(node: Node, topic: str) -> bool:
    """Return whether the player publishes a topic and the node subscribes to it."""
    players = [info.node_name for info in node.get_publishers_info_by_topic(topic)]
    nodes = [info.node_name for info in node.get_subscriptions_info_by_topic(topic)]
    return PLAYER in players and NODE in nodes


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
