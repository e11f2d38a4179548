# SPDX-License-Identifier: Apache-2.0
"""Publishers that cost the executor nothing."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.publisher import Publisher

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks


def create_publisher(node: Node, kind: type, topic: str, depth: int) -> Publisher:
    """A reliable publisher without event callbacks.

    rclpy's default ones only log that a subscription asks for another QoS, which the subscription
    logs, too. But the executor goes through all of them whenever a message comes. And without
    them it need not know of publishers, so that they may come and go in any thread.
    """
    return node.create_publisher(
        kind, topic, depth, event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))
