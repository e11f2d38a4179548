# SPDX-License-Identifier: Apache-2.0
"""Other nodes on the node's topics: second cameras, second publishers of its face ids."""

from __future__ import annotations

import time

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from geometry_msgs.msg import TransformStamped
from rclpy.qos import qos_profile_sensor_data
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
    known_node,
    spinning,
)
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage


def problems(peer) -> str:
    return '\n'.join(message.status[0].message for message in peer.heard['diagnostics'])


def send(peer, publishers, count: int, frames=(FRAME,), start: int = 1) -> None:
    """Send images by the publishers in turn; the frames belong to them."""
    for i in range(count):
        for j, publisher in enumerate(publishers):
            publisher.publish(image_message(
                DEPTH, (start + i) * SECOND + j, frames[j % len(frames)]))
            time.sleep(0.02)


@pytest.mark.parametrize('frames', [(FRAME,), ('cam1_optical_frame', 'cam2_optical_frame')])
def test_two_cameras_on_one_topic_are_warned_of_once(monkeypatch, frames):
    with calibrated_node(monkeypatch) as peer:
        second = peer.node.create_publisher(Image, 'depth/image', qos_profile_sensor_data)
        peer.wait_for(second.get_subscription_count)
        time.sleep(0.2)
        send(peer, [peer._image, second], 30, frames)
        peer.wait_for(lambda: '2 publishers on /depth/image (/peer)' in problems(peer))
        assert all(frame in problems(peer) for frame in frames if len(frames) > 1)
        time.sleep(0.3)
        assert problems(peer).count('in turn') == 1


def test_an_idle_publisher_and_a_successor_are_no_second_camera(monkeypatch):
    with calibrated_node(monkeypatch) as peer:
        second = peer.node.create_publisher(Image, 'depth/image', qos_profile_sensor_data)
        peer.wait_for(second.get_subscription_count)
        time.sleep(0.2)
        send(peer, [peer._image], 15)
        send(peer, [second], 15, start=20)
        peer.wait_for(lambda: int(peer.diagnostics()['received total']) == 30)
        time.sleep(0.3)
        assert 'publishers' not in problems(peer)


def test_one_camera_that_alternates_its_frame_is_no_second_publisher(monkeypatch):
    with calibrated_node(monkeypatch) as peer:
        send(peer, [peer._image] * 2, 15, ('cam1_optical_frame', 'cam2_optical_frame'))
        peer.wait_for(lambda: int(peer.diagnostics()['received total']) == 30)
        time.sleep(0.3)
        assert 'publishers' not in problems(peer)


def test_camera_infos_of_two_cameras_on_one_topic_are_warned_of(monkeypatch):
    with active_node(monkeypatch) as peer:
        second = peer.node.create_publisher(CameraInfo, 'depth/camera_info', 1)
        peer.wait_for(second.get_subscription_count)
        time.sleep(0.2)
        for _ in range(10):
            peer._info.publish(camera_info_message())
            time.sleep(0.03)
            second.publish(camera_info_message(focal=70.0))
            time.sleep(0.03)
        peer.wait_for(lambda: '2 publishers on /depth/camera_info' in problems(peer))


def transform(child: str, parent: str, stamp_ns: int) -> TFMessage:
    item = TransformStamped(child_frame_id=child)
    item.header.frame_id = parent
    item.header.stamp.sec, item.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    return TFMessage(transforms=[item])


def both(peer, publish, seconds: float = 1.5) -> None:
    """Let the node and another program publish for some time."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and 'first_id' not in problems(peer):
        number += 1
        peer.send(image_message(DEPTH, number * SECOND))
        publish(number * SECOND)
        time.sleep(0.02)


@pytest.mark.parametrize('parent, offset', [('other_optical_frame', 7), (FRAME, 0)],
                         ids=['another camera', 'the same camera'])
def test_another_publisher_of_the_same_face_is_warned_of_once(monkeypatch, parent, offset):
    with calibrated_node(monkeypatch) as peer:
        other = peer.node.create_publisher(TFMessage, '/tf', 100)
        both(peer, lambda stamp: other.publish(transform('face_f00001', parent, stamp + offset)))
        assert 'another node publishes face_f00001' in problems(peer)
        both(peer, lambda stamp: None, 0.5)
        assert problems(peer).count('first_id') == 1 and '/peer' in problems(peer)


@pytest.mark.parametrize('child', ['base_link', 'face_f01001', 'face_f00001_tool', 'face_'])
def test_other_frames_on_tf_are_no_conflict(monkeypatch, child):
    with calibrated_node(monkeypatch) as peer:
        other = peer.node.create_publisher(TFMessage, '/tf', 100)
        both(peer, lambda stamp: other.publish(transform(child, 'map', stamp)), 1.0)
        assert 'another node' not in problems(peer) and peer.heard['tf']


@pytest.mark.parametrize('first_id, conflict', [(1, True), (1001, False)])
def test_two_nodes_need_two_ranges_of_ids(monkeypatch, first_id, conflict):
    with calibrated_node(monkeypatch) as peer:
        second = known_node(monkeypatch, namespace='/cam2', first_id=first_id)
        second.trigger_configure()
        second.trigger_activate()
        image = peer.node.create_publisher(Image, '/cam2/depth/image', qos_profile_sensor_data)
        info = peer.node.create_publisher(CameraInfo, '/cam2/depth/camera_info', 1)
        with spinning(second):
            peer.wait_for(lambda: image.get_subscription_count() and info.get_subscription_count())
            time.sleep(0.2)
            info.publish(camera_info_message())
            time.sleep(0.1)
            both(peer, lambda stamp: image.publish(
                image_message(DEPTH, stamp, 'cam2_optical_frame')))
        assert ('first_id' in problems(peer)) == conflict


def test_tf_is_not_read_without_other_publishers(monkeypatch):
    with calibrated_node(monkeypatch) as peer:
        for number in range(1, 20):
            peer.send(image_message(DEPTH, number * SECOND))
            time.sleep(0.03)
            assert '/tf' not in {subscription.topic_name
                                 for subscription in tuple(peer.subject.subscriptions)}
        assert peer.heard['tf']
