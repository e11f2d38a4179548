# SPDX-License-Identifier: Apache-2.0
"""What the ROS tests share: messages with depth, and a peer that talks to the node over DDS."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

FRAME = 'camera_depth_optical_frame'


def image_message(depth: np.ndarray, stamp_ns: int, frame_id: str = FRAME) -> Image:
    """The message for a depth image, (H, W) uint16 millimetres or float32 metres."""
    message = Image(height=depth.shape[0], width=depth.shape[1], step=depth.strides[0],
                    encoding='16UC1' if depth.dtype == np.uint16 else '32FC1')
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data.frombytes(depth.tobytes())
    return message


def camera_info_message(width: int = 64, height: int = 48, focal: float = 60.0) -> CameraInfo:
    """The camera_info of a rectified camera with its principal point in the middle."""
    info = CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5)
    info.header.frame_id = FRAME
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


class Peer:
    """Plays the camera and listens as any other program would."""

    def __init__(self):
        self.node = rclpy.create_node('peer')
        self.heard = {'tf': [], 'mesh': [], 'diagnostics': []}
        self._image = self.node.create_publisher(Image, 'depth/image', qos_profile_sensor_data)
        self._info = self.node.create_publisher(CameraInfo, 'depth/camera_info',
                                                qos_profile_sensor_data)
        self._change_state = self.node.create_client(ChangeState, '/depthface/change_state')
        for kind, topic, name in ((TFMessage, '/tf', 'tf'), (Marker, '/depthface/mesh', 'mesh'),
                                  (DiagnosticArray, '/diagnostics', 'diagnostics')):
            self.node.create_subscription(kind, topic, self.heard[name].append, 100)

    def wait_for(self, what, seconds: float = 10.0):
        """The value of `what()` once it is true; fails the test if that takes too long."""
        end = time.monotonic() + seconds
        while not (value := what()):
            assert time.monotonic() < end, f'nothing within {seconds} s'
            time.sleep(0.01)
        return value

    def wait_until_connected(self) -> None:
        self.wait_for(lambda: self._image.get_subscription_count()
                      and self._info.get_subscription_count()
                      and self.node.count_publishers('/tf')
                      and self.node.count_publishers('/depthface/mesh'))
        time.sleep(0.2)  # the other side may learn of it a moment later

    def send_info(self, info: CameraInfo) -> None:
        self._info.publish(info)
        time.sleep(0.1)  # it travels on another topic: let it arrive before the image

    def send(self, image: Image) -> None:
        self._image.publish(image)

    def change_state(self, transition_id: int) -> None:
        """Take the node through a transition, as `ros2 lifecycle set` does."""
        request = ChangeState.Request()
        request.transition.id = transition_id
        assert self.wait_for(self._change_state.call_async(request).result).success

    def diagnostics(self) -> dict[str, str]:
        """The newest heartbeat: the values, and the text of the status as 'message'."""
        if not self.heard['diagnostics']:
            return {}
        status = self.heard['diagnostics'][-1].status[0]
        return {pair.key: pair.value for pair in status.values} | {'message': status.message}


@contextmanager
def spinning(*nodes):
    """Serve the nodes' callbacks in a thread of its own; destroys the nodes at the end."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)

    def spin():
        try:
            executor.spin()
        except ExternalShutdownException:
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        for node in nodes:
            node.destroy_node()
