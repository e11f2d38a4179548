# SPDX-License-Identifier: Apache-2.0
"""Cameras connect, or the node reports why images do not arrive; over real DDS."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_helpers import (
    DEPTH,
    SECOND,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from depthface_ros.ros import subscription


@pytest.fixture
def peer(monkeypatch):
    with calibrated_node(monkeypatch) as peer:
        yield peer


def test_a_camera_info_that_was_cut_off_leaves_the_last_good_one_in_force(peer):
    peer.send_info(serialize_message(camera_info_message(focal=61.0))[:80])
    peer.wait_for(lambda: 'do not read as CameraInfo' in peer.last_problem())
    peer.show(image_message(DEPTH, 0), 1)


def test_a_quality_of_service_that_cannot_connect_is_reported(monkeypatch):
    override = {'qos_overrides./depth/image.subscription.reliability': 'reliable'}
    with active_node(monkeypatch, connected=False, input_timeout=0.3, **override) as peer:
        peer.wait_for(lambda: ('1 publisher; /peer has an incompatible QoS: Best effort publisher '
                               'and reliable subscription') in peer.last_problem())
        reliable = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.RELIABLE)
        camera = peer.node.create_publisher(Image, 'depth/image', reliable)
        peer.wait_for(camera.get_subscription_count)
        peer.send_info(camera_info_message())  # still best effort on both sides
        camera.publish(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: peer.heard['tf'])


def other_program(code: str) -> subprocess.Popen:
    """Run Python code in another process, with a `camera` that publishes on depth/image."""
    return subprocess.Popen([sys.executable, '-c', textwrap.dedent(f'''
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1] / 'support')!r})
        import rclpy
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, Image
        from ros_helpers import DEPTH, image_message
        rclpy.init()
        node = rclpy.create_node('camera')
        ''') + textwrap.dedent(code)])


def test_silence_is_reported_with_publishers_and_other_depth_topics(monkeypatch):
    with active_node(monkeypatch, input_timeout=0.3) as peer:
        peer.node.create_publisher(Image, '/other/depth/image_raw', 1)
        peer.wait_for(lambda: 'no image for' in peer.last_problem())
        assert peer.heard['diagnostics'][-1].status[0].level == b'\x02'
        peer.node.destroy_publisher(peer._image)
        peer.wait_for(lambda: '0 publishers on /depth/image; there is /other/depth/image_raw'
                      in peer.last_problem())
        with other_program('''
                wrong = node.create_publisher(CameraInfo, 'depth/image', 1)
                time.sleep(60)
                ''') as program:
            peer.wait_for(lambda: (
                '1 publisher; /camera sends sensor_msgs/msg/CameraInfo, expected '
                'sensor_msgs/msg/Image on /depth/image') in peer.last_problem(), 30)
            program.kill()


def test_images_that_get_lost_on_their_way_are_reported_with_the_remedy(peer, monkeypatch):
    monkeypatch.setattr(subscription, 'LOSS_WINDOW', 0.5)
    monkeypatch.setattr(subscription, 'FEWEST', 2)

    def half_of_the_images():
        peer.send_info(camera_info_message())
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, half_of_the_images.stamp_ns))
        half_of_the_images.stamp_ns += SECOND
        return 'images were lost' in peer.last_problem()

    half_of_the_images.stamp_ns = SECOND
    peer.wait_for(half_of_the_images)
    assert 'fastdds.xml' in peer.last_problem()


def test_images_for_which_no_queue_had_room_are_counted_as_lost(peer):
    peer.show(image_message(DEPTH, 0), 1)
    free = threading.Event()
    timer = peer.subject.create_timer(0.01, lambda: free.wait(10))  # keeps the node from subscription
    time.sleep(0.3)
    for second in range(2, 32):
        peer.send(image_message(DEPTH, second * SECOND))
    free.set()
    timer.cancel()
    peer.show(image_message(DEPTH, 0), 50)

    def total(name):
        return int(peer.diagnostics()[f'{name} total'])

    peer.wait_for(lambda: total('lost') and total('received') + total('lost') == 32)


def test_a_camera_that_is_killed_is_reported_and_its_successor_received(monkeypatch):
    with calibrated_node(monkeypatch, input_timeout=0.5) as peer:
        with other_program('''
                camera = node.create_publisher(Image, 'depth/image', qos_profile_sensor_data)
                for second in range(1, 10000):
                    camera.publish(image_message(DEPTH, second * 10**9))
                    time.sleep(0.01)
                ''') as camera:
            peer.wait_for(lambda: len(peer.heard['tf']) > 10, 30)
            camera.kill()
        peer.wait_for(lambda: 'no image for' in peer.diagnostics()['message'])
        peer.show(image_message(DEPTH, 0), 20000)
        peer.wait_for(lambda: 'no image' not in peer.diagnostics()['message']
                      and peer.diagnostics()['state'] == 'active')


def test_in_a_simulation_latency_and_silence_are_of_simulated_time(monkeypatch):
    with active_node(monkeypatch, use_sim_time=True, input_timeout=0.5) as peer:
        peer.wait_for(lambda: 'nothing has come on /clock' in peer.last_problem())
        clock = peer.node.create_publisher(Clock, '/clock', 10)
        peer.wait_for(clock.get_subscription_count)

        def tick(milliseconds):
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(milliseconds * 10**6, SECOND)
            clock.publish(message)
            time.sleep(0.05)

        tick(1_000_000)
        peer.send_info(camera_info_message())
        for count, now in enumerate(range(1_000_000, 1_000_500, 100), 1):
            tick(now)
            peer.send(image_message(DEPTH, (now - 20) * 10**6))
            peer.wait_for(lambda: peer.diagnostics().get('processed total') == str(count))
        assert 15 <= float(peer.diagnostics()['stamp to publish p50 (ms)']) < 100
        seen = len(peer.heard['diagnostics'])
        time.sleep(1.5)  # the simulation is paused: that is not silence
        assert not any('no image' in message.status[0].message
                       for message in peer.heard['diagnostics'][seen:])
        for now in range(1_001_000, 1_005_000, 200):
            tick(now)
        peer.wait_for(lambda: 'no image for' in peer.last_problem())
