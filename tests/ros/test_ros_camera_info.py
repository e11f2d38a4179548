# SPDX-License-Identifier: Apache-2.0
"""camera_info that is latched, sent once, late or rarely, changes or does not match; over real DDS."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_helpers import (
    DEPTH,
    SECOND,
    KnownFaces,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
)
from sensor_msgs.msg import CameraInfo

from depthface_ros.ros import node as node_module

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def cameras(monkeypatch):
    """Collect the intrinsics of each processed image."""
    seen = []

    def remember(self, depth, intrinsics, original=KnownFaces.__call__, **options):
        seen.append(intrinsics)
        return original(self, depth, intrinsics, **options)

    monkeypatch.setattr(KnownFaces, '__call__', remember)
    return seen


def show(peer, second: int, depth=DEPTH) -> None:
    """Send an image; returns when its face is on /tf."""
    peer.send(image_message(depth, second * SECOND))
    peer.wait_for(lambda: any(message.transforms[0].header.stamp.sec == second
                              for message in peer.heard['tf']))


def problems(peer) -> str:
    return '\n'.join(message.status[0].message for message in peer.heard['diagnostics'])


def wait_for_a_face(peer) -> None:
    """Send images until a face is on /tf."""
    seconds = iter(range(1, 1000))

    def shown():
        peer.send(image_message(DEPTH, next(seconds) * SECOND))
        time.sleep(0.1)
        return peer.heard['tf']

    peer.wait_for(shown)


def test_a_latched_camera_info_from_before_the_node_is_received(monkeypatch):
    context = rclpy.Context()
    context.init()
    camera = rclpy.create_node('camera', context=context)
    camera.create_publisher(CameraInfo, 'depth/camera_info', LATCHED).publish(
        camera_info_message(focal=61.0))
    with active_node(monkeypatch) as peer:
        wait_for_a_face(peer)
        assert 'no image' not in problems(peer) and peer.diagnostics()['lost total'] == '0'
    camera.destroy_node()
    context.shutdown()


def test_a_latched_camera_info_of_a_driver_that_comes_back_replaces_the_first(
        monkeypatch, cameras):
    with active_node(monkeypatch) as peer:
        for focal in (61.0, 62.0):
            camera = peer.node.create_publisher(CameraInfo, 'depth/camera_info', LATCHED)
            camera.publish(camera_info_message(focal=focal))
            seconds = iter(range(round(focal) * 100, 10 ** 6))

            def used():
                peer.send(image_message(DEPTH, next(seconds) * SECOND))  # noqa: B023
                time.sleep(0.1)
                return cameras[-1].fx == focal  # noqa: B023

            peer.wait_for(used)
            peer.node.destroy_publisher(camera)


def test_durability_can_be_set(monkeypatch):
    override = {'qos_overrides./depth/camera_info.subscription.durability': 'transient_local'}
    with active_node(monkeypatch, connected=False, **override) as peer:
        camera = peer.node.create_publisher(CameraInfo, 'depth/camera_info', LATCHED)
        camera.publish(camera_info_message())
        peer.wait_for(camera.get_subscription_count)
        peer.wait_for(peer._image.get_subscription_count)
        wait_for_a_face(peer)


def test_one_camera_info_is_enough_and_its_silence_is_no_fault(monkeypatch):
    with calibrated_node(monkeypatch, input_timeout=0.3) as peer:
        end, second = time.monotonic() + 1.2, 0
        while time.monotonic() < end:
            second += 1
            show(peer, second)
        assert 'camera_info' not in problems(peer)
        assert peer.diagnostics()['rejected total'] == '0'


def test_camera_info_that_is_missing_is_an_error_until_it_comes(monkeypatch):
    with active_node(monkeypatch, input_timeout=0.3) as peer:
        for second in range(1, 6):  # images come first
            peer.send(image_message(DEPTH, second * SECOND))
            time.sleep(0.2)
        assert 'no camera_info for' in problems(peer)
        assert peer.heard['diagnostics'][-1].status[0].level == b'\x02'
        peer.send_info(camera_info_message())
        show(peer, 10)


def test_a_camera_info_that_changes_in_the_last_digit_is_the_same_camera(monkeypatch, cameras):
    with active_node(monkeypatch) as peer:
        cameras.clear()  # of the warm-up
        rng = np.random.default_rng(0)
        for second in range(1, 8):
            info = camera_info_message()
            info.d = [0.1, -0.05, 0.001, 0.0, 0.0]
            for name in ('k', 'p', 'd'):
                values = np.array(getattr(info, name))
                setattr(info, name, values * (1 + 1e-12 * rng.normal(size=values.shape)))
            peer.send_info(info)
            show(peer, second)
        assert len(cameras) == 7 and len(set(map(id, cameras))) == 1


@pytest.mark.parametrize('focal', [60.01, 60.001])
def test_another_calibration_is_used_at_once(monkeypatch, cameras, focal):
    """As after a crash and restart of the driver."""
    with active_node(monkeypatch) as peer:
        cameras.clear()  # of the warm-up
        peer.send_info(camera_info_message())
        show(peer, 1)
        peer.node.destroy_publisher(peer._info)
        peer._info = peer.node.create_publisher(CameraInfo, 'depth/camera_info', 1)
        peer.wait_for(peer._info.get_subscription_count)
        time.sleep(0.1)
        peer.send_info(camera_info_message(focal=focal))
        show(peer, 2)
        assert [camera.fx for camera in cameras] == [60.0, focal]


def test_one_camera_info_is_enough_for_a_node_that_is_activated_again(monkeypatch, cameras):
    with calibrated_node(monkeypatch) as peer:
        show(peer, 1)
        assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
        assert peer.change_state(Transition.TRANSITION_ACTIVATE)
        peer.wait_until_connected()
        show(peer, 2)
        peer.send_info(camera_info_message(focal=70.0))
        show(peer, 3)
        assert [camera.fx for camera in cameras[-3:]] == [60.0, 60.0, 70.0]


def test_drift_adds_up_to_another_camera(monkeypatch, cameras):
    with active_node(monkeypatch) as peer:
        for second in range(1, 12):
            peer.send_info(camera_info_message(focal=60.0 + 2e-5 * second))
            show(peer, second)
        assert 1 < len({camera.fx for camera in cameras}) < 8
        assert abs(cameras[-1].fx - (60.0 + 2e-5 * 11)) < 1e-4


def test_a_camera_info_of_another_frame_is_warned_of_once_and_used(monkeypatch):
    with active_node(monkeypatch) as peer:
        info = camera_info_message()
        for second in range(1, 4):
            info.header.frame_id = 'camera_color_optical_frame'
            info.k[2] += 1.0
            peer.send_info(info)
            show(peer, second)
        peer.wait_for(lambda: 'camera_color_optical_frame' in problems(peer))
        time.sleep(0.3)
        assert problems(peer).count('camera_color_optical_frame') == 1


@pytest.mark.parametrize('frame', ['', '/camera_depth_optical_frame'])
def test_no_frame_or_a_slash_before_it_is_no_other_frame(monkeypatch, frame):
    with active_node(monkeypatch) as peer:
        info = camera_info_message()
        info.header.frame_id = frame
        peer.send_info(info)
        show(peer, 1)
        time.sleep(0.3)
        assert 'camera_info' not in problems(peer)


def test_camera_info_at_another_rate_than_images_is_no_loss(monkeypatch):
    """Once a second, as some drivers send it."""
    with active_node(monkeypatch, input_timeout=0.5) as peer:
        for second in range(1, 40):
            if second % 20 == 1:
                peer.send_info(camera_info_message())
            show(peer, second)
        assert 'camera_info' not in problems(peer) and 'lost' not in problems(peer)


ODD = [
    ('k', [1e300, 0, 32, 0, 1e300, 24, 0, 0, 1]), ('k', [60, 0, 1e300, 0, 60, 24, 0, 0, 1]),
    ('k', [60, 0, np.nan, 0, 60, 24, 0, 0, 1]), ('k', [-60, 0, 32, 0, -60, 24, 0, 0, 1]),
    ('k', [1e-300, 0, 32, 0, 1e-300, 24, 0, 0, 1]), ('d', [1e300, 0.1, 0, 0, 0]),
    ('d', [np.inf, 0, 0, 0, 0]), ('d', [0.1] * 3), ('d', [1e38] * 8)]


@pytest.mark.filterwarnings('ignore:invalid value', 'ignore:overflow', 'ignore:divide')
def test_odd_numbers_cost_no_traceback_and_the_next_camera_info_is_used(monkeypatch):
    """The real estimator computes with them."""
    estimator = node_module.FaceEstimator
    with active_node(monkeypatch, estimator=estimator, engine='cpu') as peer:
        for second, (name, value) in enumerate(ODD, 1):
            info = camera_info_message()
            info.distortion_model = 'rational_polynomial' if len(value) == 8 else 'plumb_bob'
            if name == 'k':
                info.p = [0.0] * 12
            setattr(info, name, [float(number) for number in value])
            peer.send_info(info)
            peer.send(image_message(DEPTH, second * SECOND))
            peer.wait_for(lambda: sum(int(peer.diagnostics()[f'{name} total'])
                                      for name in ('processed', 'rejected')) == second)  # noqa: B023
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, 100 * SECOND))
        processed = peer.diagnostics()['processed total']
        peer.wait_for(lambda: peer.diagnostics()['processed total'] != processed)
        assert 'Traceback' not in problems(peer)
