# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the node: depth images, each with its time and intrinsics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import is_rectified
from depthface_ros.io.compressed_depth import TRANSPORTS, CompressedDepth, raw_topic
from depthface_ros.io.depth_encodings import median_depth, unit_problem
from depthface_ros.io.frame import frame_name
from depthface_ros.io.quoting import as_name, quoted
from depthface_ros.ros import conversions
from depthface_ros.ros.camera import Camera
from depthface_ros.ros.health import SKIPS, Health, Problems, RateLimit
from depthface_ros.ros.parameters import Parameters
from depthface_ros.ros.shared_topic import SharedTopic
from depthface_ros.ros.startup_log import describe_camera
from depthface_ros.ros.subscription import LatchedSubscription, Listener, Silence, type_name
from depthface_ros.tracking.stamps import ImageTime, StampMonitor, fingerprint

DESCRIPTION_PERIOD = 5.0  # s at least between two descriptions of the input in the log
LONGEST_FRAME_ID = 255  # characters; it is repeated in each transform


class DepthFrame(NamedTuple):
    """One depth image and its camera."""

    header: Header  # of the image; its stamp is the time below
    depth: np.ndarray  # (H, W) uint16 millimetres or float32 metres
    intrinsics: Intrinsics  # the same object as long as the camera stays the same
    time: ImageTime | None = None

    @property
    def stamp_ns(self) -> int:
        return conversions.nanoseconds(self.header.stamp)


class Inputs:
    """The node's subscriptions, from activate to deactivate.

    Messages are received in serialised form, so dropped ones cost no deserialisation. Truncated
    messages are reported here; rclpy's executor would end the program.

    :param stamps: of the tracker; gives the images their times.
    :param on_image: called in the executor's thread with each serialised image. `frame()`, which
        runs in another thread, decodes it.
    :param before: the subscriptions before the node was deactivated, None for the first time.
    """

    def __init__(self, node: Node, settings: Parameters, health: Health, problems: Problems,
                 stamps: StampMonitor, on_image: Callable[[bytes], None],
                 before: Inputs | None = None):
        self._clock, self._log = node.get_clock(), node.get_logger().info
        self._health, self._problems, self._stamps = health, problems, stamps
        self._unit_m = settings.depth_unit or None
        topic = node.resolve_topic_name('depth/image')
        raw = raw_topic(topic)
        if raw == topic and settings.image_transport in TRANSPORTS:
            topic = f'{topic}/{settings.image_transport}'
        self._type = Image if raw == topic else CompressedImage
        self._camera = Camera(problems, settings.rectified or is_rectified(raw),
                              before._camera if before else None)
        self._frame_ids = ['', '']  # the latest two that differ
        self._frame_changes = 0
        self._described: tuple | None = None  # the input that the log describes
        self._descriptions = RateLimit(DESCRIPTION_PERIOD)
        self._listen = lambda kind: Listener(node, kind, topic, on_image, health, problems)
        self._images = self._listen(self._type)
        try:
            self._camera_infos = Listener(node, CameraInfo, 'depth/camera_info',
                                          self._camera.on_camera_info, health, problems)
        except Exception:
            self._images.close()
            raise
        self._latched_infos = LatchedSubscription(
            node, CameraInfo, self._camera_infos.topic, self._camera.on_camera_info)
        self._watch = lambda: Silence(node, problems, self._images, self._camera_infos)
        self._silence = self._watch()
        self._shared_images, self._shared_infos = (
            SharedTopic(node, problems, listener.topic, what) for listener, what in (
                (self._images, 'images'), (self._camera_infos, 'camera_info')))
        health.camera = self._images.topic
        for listener in (self._images, self._camera_infos):
            self._log(f'listening to {listener}')

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in (self._images, self._camera_infos, self._latched_infos):
            subscription.close()

    def check(self, input_timeout: float) -> None:
        """Report silence, losses and shared topics; to be called at each heartbeat."""
        self._latched_infos.check()
        self._follow_type()
        self._silence.check(input_timeout, needs_info=not self._camera.known)
        frames = ', '.join(map(quoted, self._frame_ids))
        self._shared_images.check(self._images.alternations + self._frame_changes,
                                  f', the latest in frames {frames}' * (self._frame_changes > 1))
        self._shared_infos.check(self._camera.changes)

    def _follow_type(self) -> None:
        """Subscribe as the publishers send where they send the other type of image.

        Only the topics of image_transport have names that tell raw and compressed images apart.
        """
        sent = self._images.publisher_types()
        kind = next((kind for kind in (Image, CompressedImage) if {type_name(kind)} == sent), None)
        if self._images.count or kind in (None, self._type):
            return
        self._images.close()
        self._type = kind
        self._images = self._listen(kind)
        self._silence = self._watch()
        self._log(f'listening to {self._images}: its publisher sends this type')

    # Worker's thread ----------------------------------------------------------------------------

    def frame(self, data: bytes) -> DepthFrame | None:
        """Return the depth image in a serialised message, or None if it is skipped.

        :raises ValueError: it has none; the text describes the message and the expected one.
        """
        if self._type is CompressedImage:
            image = conversions.deserialised(data, CompressedImage)
            encoding = image.format
        else:
            image = conversions.received_image(data)
            encoding = image.encoding
        frame_id = frame_name(image.header.frame_id)
        self._check_frame_id(frame_id)
        if self._type is CompressedImage:
            compressed = CompressedDepth(image.data, image.format, self._unit_m)
            # The size is checked before the pixels are decoded.
            intrinsics = self._intrinsics(compressed.height, compressed.width, frame_id)
            depth = compressed.decode()
        else:
            depth = conversions.depth_from_image(image, self._unit_m)
            intrinsics = self._intrinsics(*depth.shape, frame_id)
        time = self._time(image.header.stamp, depth)
        if time.fault:
            self._health.count(time.fault)
            return None
        self._describe(depth, encoding, frame_id, intrinsics)
        self._check_depth(depth, encoding)
        header = Header(stamp=conversions.time_message(time.stamp_ns), frame_id=frame_id)
        return DepthFrame(header, depth, intrinsics, time)

    def _intrinsics(self, height: int, width: int, frame_id: str) -> Intrinsics:
        return self._camera.intrinsics(height, width, frame_id, self._camera_infos.topic)

    def _time(self, stamp, depth: np.ndarray) -> ImageTime:
        """Return the time of an image.

        :raises ValueError: the stamp is unset or lies in the future.
        """
        time = self._stamps.check(conversions.valid_nanoseconds(stamp), fingerprint(depth),
                                  self._clock.now().nanoseconds or None)
        self._health.time_source = self._stamps.source
        if time.fault and time.fault not in SKIPS:
            raise ValueError(time.note)
        if time.note:
            self._problems.report(f'stamps {time.kind}', time.note, once=True)
        return time

    def _check_frame_id(self, frame_id: str) -> None:
        if not frame_id:
            raise ValueError('image without a frame_id: expected the optical frame of the camera; '
                             'set it in the camera driver')
        if len(frame_id) > LONGEST_FRAME_ID:
            raise ValueError(f'frame_id {quoted(frame_id)}: expected the name of the optical '
                             f'frame, at most {LONGEST_FRAME_ID} characters')
        if 'optical' not in frame_id:
            self._problems.report(
                'frame', f'frame_id {quoted(frame_id)} does not look like an optical frame: '
                'expected x right, y down, z forward (REP-103), else faces stand askew', once=True)
        if frame_id != self._frame_ids[-1]:
            self._frame_ids = [self._frame_ids[-1], frame_id]
            self._frame_changes += 1
            self._health.camera = as_name(frame_id)

    def _describe(self, depth: np.ndarray, encoding: str, frame_id: str,
                  intrinsics: Intrinsics) -> None:
        """Log a description of the input, once and whenever it changes."""
        found = encoding, frame_id, intrinsics, depth.shape
        if found != self._described and self._descriptions.allows('input'):
            self._described = found
            height, width = depth.shape
            self._log(f'image: {width}x{height} {as_name(encoding)} in frame '
                      f'{as_name(frame_id)}')
            self._log(f'camera: {describe_camera(intrinsics)}'
                      + (', rectified' if self._camera.rectified else ''))

    def _check_depth(self, depth: np.ndarray, encoding: str) -> None:
        """Warn of implausible depths."""
        median = median_depth(depth)
        if median is None:
            self._problems.report('empty', 'image without any valid depth: expected some; is the '
                                  'camera covered, or everything too close?')
        elif problem := unit_problem(median, encoding):
            self._problems.report('unit', problem)
