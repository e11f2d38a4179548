# SPDX-License-Identifier: Apache-2.0
"""What the node hears: depth images, each with the camera that took it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info, is_rectified
from depthface_ros.io.compressed_depth import decompress_depth
from depthface_ros.io.depth_encodings import median_depth
from depthface_ros.ros import conversions
from depthface_ros.ros.health import Health, Problems, RateLimit
from depthface_ros.ros.parameters import Parameters
from depthface_ros.ros.startup_log import describe_camera
from depthface_ros.ros.subscription import Listener, Silence

COMPRESSED = '/compressedDepth'  # how image_transport names a topic's compressed twin
IMPLAUSIBLE_DEPTH = 100.0  # m; a median beyond it means that the unit is wrong
CAMERA_INFO_PATIENCE = 0.2  # s; the first one may come a little after the first image
NEWS = 5.0  # s at least between two descriptions of what comes in
_HEAD_BYTES = 12  # of a serialised message: four that name the encoding, and its stamp


class DepthFrame(NamedTuple):
    """One depth image and its camera."""

    header: Header  # of the image
    depth: np.ndarray  # (H, W) uint16 millimetres or float32 metres
    intrinsics: Intrinsics  # the same object as long as the camera stays the same

    @property
    def stamp_ns(self) -> int:
        return conversions.nanoseconds(self.header.stamp)


class Inputs:
    """The node's subscriptions, from activate to deactivate.

    Messages are taken in serialised form: those that are dropped cost nothing more, and one that
    was cut off can be reported here, where rclpy's executor would end the program.

    :param on_image: called in the executor's thread with each image as it comes; `frame()`, which
        is for another thread, makes sense of it.
    """

    def __init__(self, node: Node, settings: Parameters, health: Health, problems: Problems,
                 on_image: Callable[[bytes], None]):
        self._problems = problems
        self._log = node.get_logger().info
        topic = node.resolve_topic_name('depth/image')
        compressed = topic.endswith(COMPRESSED) or settings.image_transport == 'compressedDepth'
        topic = topic.removesuffix(COMPRESSED)
        self._rectified = settings.rectified or is_rectified(topic)
        self._type = CompressedImage if compressed else Image
        self._camera_info, self._camera_info_content = None, b''
        self._camera_info_came = threading.Event()
        self._camera: tuple | None = None  # what the intrinsics were made of, and they
        self._checked: tuple | None = None  # what the log was last told of the input
        self._news = RateLimit(NEWS)
        self._images = Listener(node, self._type, topic + COMPRESSED * compressed, on_image,
                                health, problems)
        try:
            self._camera_infos = Listener(node, CameraInfo, 'depth/camera_info',
                                          self._hear_camera_info, health, problems)
        except Exception:
            self._images.close()
            raise
        self._silence = Silence(node, problems, self._images, self._camera_infos)
        for listener in (self._images, self._camera_infos):
            self._log(f'listening to {listener}')

    def close(self) -> None:
        """Hear no more."""
        self._images.close()
        self._camera_infos.close()

    def check(self, input_timeout: float) -> None:
        """Report what does not come, or not always; to be called at each heartbeat."""
        self._silence.check(input_timeout)

    def _hear_camera_info(self, data: bytes) -> None:
        """In the executor's thread."""
        content = data[_HEAD_BYTES:]
        if content != self._camera_info_content:
            try:
                self._camera_info = conversions.deserialised(data, CameraInfo)
            except ValueError as error:
                self._problems.report('camera_info', str(error))
                return
            self._camera_info_content = content
        self._camera_info_came.set()

    # Worker's thread ----------------------------------------------------------------------------

    def frame(self, data: bytes) -> DepthFrame:
        """The depth image in a serialised message and the camera that took it.

        :raises ValueError: there is none; the text says what was found and what was expected.
        """
        compressed = self._type is CompressedImage
        image = (conversions.deserialised(data, CompressedImage) if compressed
                 else conversions.received_image(data))
        frame_id = image.header.frame_id
        if not frame_id:
            raise ValueError('image without a frame_id: expected the optical frame of the camera; '
                             'set it in the camera driver')
        if not self._camera_info_came.wait(CAMERA_INFO_PATIENCE):
            raise ValueError(f'no camera_info yet on {self._camera_infos.topic}: expected one '
                             'beside each image; check the topic name and the camera driver')
        if compressed:
            depth, encoding = decompress_depth(image.data, image.format), image.format
        else:
            depth, encoding = conversions.depth_from_image(image), image.encoding
        intrinsics = self._intrinsics(*depth.shape)
        self._check(depth, encoding, frame_id, intrinsics)
        return DepthFrame(image.header, depth, intrinsics)

    def _intrinsics(self, height: int, width: int) -> Intrinsics:
        made_of = self._camera_info, height, width
        if self._camera is None or self._camera[0] != made_of:
            self._camera = made_of, intrinsics_from_camera_info(*made_of, self._rectified)
        return self._camera[1]

    def _check(self, depth: np.ndarray, encoding: str, frame_id: str,
               intrinsics: Intrinsics) -> None:
        """Say what comes in, once and whenever that changes, and warn of what looks wrong."""
        height, width = depth.shape
        found = encoding, frame_id, intrinsics, height, width
        if found != self._checked and self._news.allows('input'):
            self._checked = found
            self._log(f'image: {width}x{height} {encoding} in frame {frame_id}')
            self._log(f'camera: {describe_camera(intrinsics)}'
                      + (', rectified' if self._rectified else ''))
        if 'optical' not in frame_id:
            self._problems.report(
                frame_id, f'frame_id {frame_id!r} does not look like an optical frame: '
                'expected x right, y down, z forward (REP-103), else faces stand askew', once=True)
        median = median_depth(depth)
        if median is None:
            self._problems.report('empty', 'image without any valid depth: expected some; is the '
                                  'camera covered, or everything too close?')
        elif median > IMPLAUSIBLE_DEPTH:
            self._problems.report('unit', f'median depth is {median:.0f} m: expected metres in '
                                  f'{encoding}; the publisher seems to send millimetres')
