# SPDX-License-Identifier: Apache-2.0
"""Publishers without cost for the executor."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.publisher import Publisher

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks


def create_publisher(node: Node, kind: type, topic: str, depth: int) -> Publisher:
    """Create a reliable publisher without event callbacks.

    rclpy's default callbacks only log that a subscription requests another QoS, which the
    subscription logs as well. The executor visits all of them at each message. Without them it
    does not use publishers, so any thread may create and destroy them.
    """
    return node.create_publisher(
        kind, topic, depth, event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))
