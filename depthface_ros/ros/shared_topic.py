# SPDX-License-Identifier: Apache-2.0
"""Detection of several publishers on a topic of one camera."""

from __future__ import annotations

from rclpy.node import Node

from depthface_ros.ros.health import Problems
from depthface_ros.ros.subscription import full_name

FEWEST = 3  # alternations; one publisher that follows another makes one
DECAY = 0.8  # of the alternations counted, from one heartbeat to the next


class SharedTopic:
    """Warns once if publishers of a topic alternate; idle publishers are harmless.

    :param what: the messages, such as 'images'.
    """

    def __init__(self, node: Node, problems: Problems, topic: str, what: str):
        self._node, self._problems, self._topic, self._what = node, problems, topic, what
        self._total, self._recent = 0, 0.0

    def check(self, alternations: int, details: str = '') -> None:
        """Check the alternations counted so far; to be called at each heartbeat."""
        self._recent = DECAY * self._recent + alternations - self._total
        self._total = alternations
        if self._recent < FEWEST:
            return
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        if len(publishers) > 1:
            names = ', '.join(sorted({full_name(publisher) for publisher in publishers})[:5])
            self._problems.report(
                f'shared {self._what}', f'{len(publishers)} publishers on {self._topic} ({names}) '
                f'send {self._what} in turn{details}: expected one camera; run one node for each '
                'camera, or remap the topics', once=True)
