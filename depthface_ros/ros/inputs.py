# SPDX-License-Identifier: Apache-2.0
"""What the node hears: depth images, each with the camera that took it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthface_ros.camera import Intrinsics
from depthface_ros.camera_info import intrinsics_from_camera_info, is_rectified
from depthface_ros.depth_image import median_depth
from depthface_ros.ros import bridge
from depthface_ros.ros.health import Problems
from depthface_ros.ros.parameters import Parameters

IMPLAUSIBLE_DEPTH = 100.0  # m; a median beyond it means that the unit is wrong
CAMERA_INFO_PATIENCE = 0.2  # s; the first one may come a little after the first image


class DepthFrame(NamedTuple):
    """One depth image and its camera."""

    header: Header  # of the image
    depth: np.ndarray  # (H, W) uint16 millimetres or float32 metres
    intrinsics: Intrinsics

    @property
    def stamp_ns(self) -> int:
        return bridge.nanoseconds(self.header.stamp)


class Inputs:
    """The node's subscriptions, from activate to deactivate.

    :param on_image: called in the executor's thread with each image as it comes; `frame()`, which
        is for another thread, makes sense of it.
    """

    def __init__(self, node: Node, settings: Parameters, problems: Problems,
                 on_image: Callable[[Image], None]):
        self._node, self._settings, self._problems = node, settings, problems
        self._on_image = on_image
        self._camera_info: CameraInfo | None = None
        self._camera_info_came = threading.Event()
        self._image_time = self._camera_info_time = time.monotonic()
        override = {'qos_overriding_options': QoSOverridingOptions.with_default_policies()}
        # Best effort matches reliable and best-effort cameras (REP-2003). The queue of a few
        # images is emptied at once: what is not worked on gets dropped, and counted, by the node.
        self._subscriptions = [
            node.create_subscription(kind, topic, callback, qos_profile_sensor_data, **override)
            for kind, topic, callback in (
                (Image, 'depth/image', self._hear_image),
                (CameraInfo, 'depth/camera_info', self._hear_camera_info))]
        self._image_topic, self._info_topic = (
            subscription.topic_name for subscription in self._subscriptions)
        self._rectified = settings.rectified or is_rectified(self._image_topic)
        node.get_logger().info(f'listening to {self._image_topic} and {self._info_topic}')

    def close(self) -> None:
        """Hear no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    # Executor's thread --------------------------------------------------------------------------

    def _hear_camera_info(self, camera_info: CameraInfo) -> None:
        self._camera_info = camera_info
        self._camera_info_time = time.monotonic()
        self._camera_info_came.set()

    def _hear_image(self, image: Image) -> None:
        self._image_time = time.monotonic()
        self._on_image(image)

    def check_silence(self) -> None:
        """Report a topic on which nothing has come for too long."""
        limit, now = self._settings.input_timeout, time.monotonic()
        for topic, latest in ((self._image_topic, self._image_time),
                              (self._info_topic, self._camera_info_time)):
            if now - latest > limit:
                self._problems.report(
                    topic, f'nothing on {topic} for {now - latest:.0f} s (publishers: '
                    f'{self._node.count_publishers(topic)}): expected a depth camera there; '
                    'remap the topic or start the camera')

    # Worker's thread ----------------------------------------------------------------------------

    def frame(self, image: Image) -> DepthFrame:
        """The depth image in a message and the camera that took it.

        :raises ValueError: there is none; the text says what was found and what was expected.
        """
        frame_id = image.header.frame_id
        if not frame_id:
            raise ValueError('image without a frame_id: expected the optical frame of the camera; '
                             'set it in the camera driver')
        if not self._camera_info_came.wait(CAMERA_INFO_PATIENCE):
            raise ValueError(f'no camera_info yet on {self._info_topic}: expected one '
                             'beside each image; check the topic name and the camera driver')
        intrinsics = intrinsics_from_camera_info(self._camera_info, image.height, image.width,
                                                 self._rectified)
        depth = bridge.depth_from_image(image)
        if 'optical' not in frame_id:
            self._problems.report(
                'frame', f'frame_id {frame_id!r} does not look like an optical frame: '
                'expected x right, y down, z forward (REP-103), else faces stand askew', once=True)
        self._check_median(depth, image.encoding)
        return DepthFrame(image.header, depth, intrinsics)

    def _check_median(self, depth: np.ndarray, encoding: str) -> None:
        median = median_depth(depth)
        if median is None:
            self._problems.report('empty', 'image without any valid depth: expected some; is the '
                                  'camera covered, or everything too close?')
        elif median > IMPLAUSIBLE_DEPTH:
            self._problems.report('unit', f'median depth is {median:.0f} m: expected metres in '
                                  f'{encoding}; the publisher seems to send millimetres')
