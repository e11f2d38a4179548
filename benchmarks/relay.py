# SPDX-License-Identifier: Apache-2.0
"""Answer each image with a transform at once: the part of rclpy and DDS in a latency."""
from __future__ import annotations

import struct
import sys
from contextlib import suppress

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage


def main() -> int:
    rclpy.init()
    node = rclpy.create_node('relay')
    publisher = node.create_publisher(TFMessage, '/tf', 100)
    answer = TFMessage(transforms=[TransformStamped(child_frame_id=f'{name}_f00001')
                                   for name in ('face', 'gaze')])

    def on_image(data: bytes) -> None:
        for transform in answer.transforms:
            stamp = transform.header.stamp
            stamp.sec, stamp.nanosec = struct.unpack_from('<iI', data, 4)
        publisher.publish(answer)

    node.create_subscription(Image, 'depth/image', on_image, qos_profile_sensor_data, raw=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    return 0


if __name__ == '__main__':
    sys.exit(main())
