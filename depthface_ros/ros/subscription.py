# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that match any camera and detect silence and losses."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions, QoSPolicyKind
from rclpy.subscription import Subscription

from depthface_ros.ros.health import Health, Problems

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

LOSS_WINDOW = 5.0  # s over which messages are compared
LOST_FRACTION = 0.1  # of the messages sent; more is reported
LONGEST_GAP = 1000  # messages of one publisher that can be missing between two others
FEWEST = 5  # messages that are not yet a loss: they may still be on their way
NO_NUMBER = 2 ** 64 - 1  # from a middleware that does not count messages
OVERRIDES = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
             QoSPolicyKind.DURABILITY]
REMEDY = ('with Fast DDS, give the camera driver config/fastdds.xml (launch argument fastdds:=true'
          ', see the README); over a network, send compressedDepth; or is this machine too busy?')


class Listener:
    """A subscription to serialised messages that counts them.

    Best effort matches reliable and best-effort cameras (REP-2003); `qos_overrides` parameters can
    change that. The short queue is emptied at once; the node drops and counts the messages that it
    has no time to process.
    """

    def __init__(self, node: Node, kind: type, topic: str, on_message: Callable[[bytes], None],
                 health: Health, problems: Problems):
        self._node, self._hand_over = node, on_message
        self._health, self._problems = health, problems
        self._type = type_name(kind)
        self.count = self.lost = 0
        self.alternations = 0  # decreases of the publishers' message numbers
        self._number: int | None = None  # of the latest message, where the middleware counts them
        # A profile of its own, since overrides are written into it.
        self._qos = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self._subscription = self._subscribe(kind, topic)
        self.topic = self._subscription.topic_name

    def _subscribe(self, kind: type, topic: str):
        options = {'raw': True,
                   'qos_overriding_options': QoSOverridingOptions(OVERRIDES)}
        events = {'incompatible_qos': self._on_incompatible_qos}
        # On Humble a callback receives only the message.
        on_message = (self._on_message if hasattr(Subscription, 'CallbackType')
                      else lambda data: self._on_message(data, {}))
        try:
            return self._node.create_subscription(
                kind, topic, on_message, self._qos, **options,
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_lost, **events))
        except UnsupportedEventTypeError:  # not every middleware counts lost messages
            return self._node.create_subscription(
                kind, topic, on_message, self._qos, **options,
                event_callbacks=SubscriptionEventCallbacks(**events))

    def __str__(self) -> str:
        reliability = self._qos.reliability.name.lower().replace('_', ' ')
        return f'{self.topic} ({self._type}, {reliability})'

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def publisher_types(self) -> set[str]:
        """Return the types that the publishers of this topic send."""
        return {publisher.topic_type
                for publisher in self._node.get_publishers_info_by_topic(self.topic)}

    def publishers(self) -> str:
        """Describe the publishers, and any known reason why their messages cannot arrive."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        faults = []
        for publisher in publishers:
            name = full_name(publisher)
            compatibility, reason = qos_check_compatible(publisher.qos_profile, self._qos)
            if publisher.topic_type != self._type:
                faults.append(f'{name} sends {publisher.topic_type}, expected {self._type}')
            elif compatibility == QoSCompatibility.ERROR:
                reason = reason.removeprefix('ERROR: ').strip('; \n')
                faults.append(f'{name} has an incompatible QoS: {reason}')
        return '; '.join([f'{len(publishers)} publisher{"s" * (len(publishers) != 1)}', *faults])

    def _on_message(self, data: bytes, info: dict) -> None:
        number = info.get('publication_sequence_number', NO_NUMBER)
        if NO_NUMBER not in (number, self._number) and self._number is not None:
            gap = number - self._number - 1
            # Otherwise one publisher follows another, or they alternate.
            if 0 < gap < LONGEST_GAP and self._node.count_publishers(self.topic) == 1:
                self._count_lost(gap)
            self.alternations += gap < 0
        self._number = number
        self.count += 1
        self._hand_over(data)

    def _on_lost(self, event) -> None:
        """Add the middleware's own count, which excludes messages that its queue dropped."""
        if self._number in (None, NO_NUMBER):
            self._count_lost(event.total_count_change)

    def _count_lost(self, count: int) -> None:
        self.lost += count
        if not self._type.endswith('CameraInfo'):
            self._health.count('lost', count)

    def _on_incompatible_qos(self, event) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self._problems.report(
            f'qos {self.topic}', f'a publisher on {self.topic} has an incompatible QoS, nothing '
            f'of it arrives: {policy}; expected what `ros2 topic info -v` shows for this '
            'subscription: change qos_overrides here or the QoS of the camera driver')


class LatchedSubscription:
    """Receives the messages that transient-local publishers keep for late subscribers.

    A volatile subscription never gets these, and a transient-local one matches no volatile
    publisher. So this one is made only where a publisher keeps messages.
    """

    def __init__(self, node: Node, kind: type, topic: str, on_message: Callable[[bytes], None]):
        self._node, self._kind, self._topic, self._hand_over = node, kind, topic, on_message
        self._subscription: Subscription | None = None

    def check(self) -> None:
        """Subscribe once there is such a publisher."""
        if self._subscription is None and any(
                publisher.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
                for publisher in self._node.get_publishers_info_by_topic(self._topic)):
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, self._hand_over,
                QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE,
                           durability=QoSDurabilityPolicy.TRANSIENT_LOCAL), raw=True,
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)


def type_name(kind: type) -> str:
    """Return the name of a message type, as sensor_msgs/msg/Image."""
    return f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'


def full_name(endpoint) -> str:
    """Return the name of the node of a publisher or subscription, with its namespace."""
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'


class Silence:
    """Checks two listeners for silence and losses, heartbeat after heartbeat.

    Uses the node's time, so that a paused simulation does not count as silence; jumps are limited.
    """

    LONGEST_STEP = 2.0  # s from one heartbeat to the next

    def __init__(self, node: Node, problems: Problems, images: Listener, infos: Listener):
        self._node, self._problems = node, problems
        self._images, self._infos = images, infos
        self._counts = {images: 0, infos: 0}
        self._silent_s = {images: 0.0, infos: 0.0}
        self._window = (self._now(), 0, 0, 0)
        self._time, self._wall_start = self._now(), time.monotonic()

    def check(self, limit_s: float, needs_info: bool = True) -> None:
        """Report a topic that was silent for longer than the limit, and lost images.

        :param needs_info: whether camera_info is still missing: one message is enough.
        """
        now, before = self._now(), self._time
        self._time = now
        if not now and time.monotonic() - self._wall_start > limit_s:
            self._problems.report(
                'clock', 'use_sim_time is set but nothing has come on /clock yet: start the '
                'simulation, play the bag with --clock, or unset it', error=True)
        for listener in (self._infos, self._images):  # of two problems the latter is shown
            came = listener.count != self._counts[listener]
            self._counts[listener] = listener.count
            # A simulation's time starts with a jump from zero.
            step = min(max(now - before, 0.0), self.LONGEST_STEP) if before else 0.0
            self._silent_s[listener] = 0.0 if came else self._silent_s[listener] + step
            expected = needs_info or listener is self._images
            if expected and self._silent_s[listener] >= limit_s:
                self._report_silence(listener)
        if not 0 <= now - self._window[0] < LOSS_WINDOW:
            self._report_loss()
            self._window = now, self._images.count, self._infos.count, self._images.lost

    def _report_silence(self, listener: Listener) -> None:
        what = 'image' if listener is self._images else 'camera_info'
        self._problems.report(
            listener.topic, f'no {what} for {self._silent_s[listener]:.0f} s: '
            f'{listener.publishers()} on {listener.topic}{self._candidates(listener, what)}; '
            'start the camera or remap the topic', error=True)

    def _candidates(self, listener: Listener, what: str) -> str:
        """Return other topics of the same type that the user may have meant."""
        if self._node.count_publishers(listener.topic):
            return ''
        kinds = {'image': ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'),
                 'camera_info': ('sensor_msgs/msg/CameraInfo',)}[what]
        own = self._node.get_name(), self._node.get_namespace()
        topics = [topic for topic, types in self._node.get_topic_names_and_types()
                  if 'depth' in topic.lower() and set(kinds) & {*types} and any(
                      (publisher.node_name, publisher.node_namespace) != own
                      for publisher in self._node.get_publishers_info_by_topic(topic))]
        return f'; there is {", ".join(sorted(topics))}' if topics else ''

    def _report_loss(self) -> None:
        _, images, infos, lost = self._window
        came = self._images.count - images
        # A camera sends both together, and a small camera_info is less easily lost than an image.
        missing = max(self._images.lost - lost, self._infos.count - infos - came)
        if came and missing > max(FEWEST, LOST_FRACTION * (came + missing)):
            self._problems.report('loss', f'{missing} of {came + missing} images were lost on '
                                  f'their way in the last {LOSS_WINDOW:.0f} s: {REMEDY}')

    def _now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9
