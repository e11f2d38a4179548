# SPDX-License-Identifier: Apache-2.0
"""Detection of other publishers of the same face ids, such as a second node with equal ids."""

from __future__ import annotations

from collections import deque

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from depthface_ros.ros import conversions
from depthface_ros.ros.health import Problems
from depthface_ros.ros.subscription import full_name

TF_TOPIC = '/tf'
PERIOD = 5  # heartbeats; /tf is read during one of them, since it carries the whole robot


class IdConflicts:
    """Warns once if another node publishes frames of the faces that this node tracks.

    /tf is subscribed to only while faces are published and others publish there, and for one
    heartbeat in `PERIOD`. A transform is foreign if this node did not publish it, or if it
    comes twice.

    :param published: frame and stamp of the latest transforms of this node.
    """

    def __init__(self, node: Node, problems: Problems, published: deque[tuple[str, int]]):
        self._node, self._problems, self._published = node, problems, published
        self._newest: tuple[str, int] | None = None  # published before the last heartbeat
        self._received: set[tuple[str, int]] = set()  # while /tf is read
        self._subscription: Subscription | None = None
        self._heartbeat = 0
        self._warned = False

    def check(self) -> None:
        """Start or stop reading /tf; to be called at each heartbeat."""
        newest = self._published[-1] if self._published else None
        if self._subscription is not None:
            self.close()
        elif newest != self._newest and not self._warned:
            if self._heartbeat % PERIOD == 0 and self._node.count_publishers(TF_TOPIC) > 1:
                self._received = set()
                self._subscription = self._node.create_subscription(
                    TFMessage, TF_TOPIC, self._on_transforms, qos_profile_sensor_data, raw=True)
            self._heartbeat += 1
        self._newest = newest

    def close(self) -> None:
        """Stop reading /tf."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _on_transforms(self, data: bytes) -> None:
        if self._warned or b'face_' not in data:
            return
        try:
            message = conversions.deserialised(data, TFMessage)
        except ValueError:
            return
        own = {frame for frame, _ in tuple(self._published)}
        for item in message.transforms:
            key = conversions.frame_and_stamp(item)
            foreign = key not in self._published or key in self._received
            self._received.add(key)
            if item.child_frame_id in own and foreign:
                self._warn(item.child_frame_id)
                return

    def _warn(self, frame: str) -> None:
        self._warned = True
        me = f'{self._node.get_namespace().rstrip("/")}/{self._node.get_name()}'
        others = sorted({full_name(publisher) for publisher
                         in self._node.get_publishers_info_by_topic(TF_TOPIC)} - {me})
        self._problems.report(
            'ids', f'another node publishes {frame} on {TF_TOPIC}, too (there are '
            f'{", ".join(others[:5]) or "two nodes of this name"}): expected ids of one node each; '
            'set first_id to another thousand in each node: 1, 1001, 2001', once=True)

