# SPDX-License-Identifier: Apache-2.0
"""Cameras of all kinds connect, or the node reports the reason; over real DDS."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from depth_encoders import encode_png, encode_rvl, header
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    KnownFaces,
    active_node,
    camera_info_message,
    image_message,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from depthface_ros.ros import node as node_module
from depthface_ros.ros import subscription

METRES = np.float32(DEPTH) / 1000


def changed(image: Image, **fields) -> Image:
    for name, value in fields.items():
        setattr(image, name, value)
    return image


def swapped(image: Image, dtype: str) -> Image:
    """Return the same image as a big-endian machine sends it."""
    data = np.frombuffer(image.data, f'<{dtype}').astype(f'>{dtype}').tobytes()
    return changed(image, is_bigendian=1, data=data)


def padded(image: Image, extra: int) -> Image:
    """Return the same image with padding bytes at the end of each row."""
    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
    rows = np.pad(rows, ((0, 0), (0, extra)), constant_values=77)
    return changed(image, step=image.step + extra, data=rows.tobytes())


def compressed(payload: bytes, format_: str, quantisation=(0.0, 0.0)) -> CompressedImage:
    message = CompressedImage(format=format_, data=header(*quantisation) + payload)
    message.header.frame_id = FRAME
    return message


def quantised() -> CompressedImage:
    """One metre, as the transport packs 32FC1: z = A / (v - B)."""
    quant_a, quant_b = 100 * 101.0, 1 - 100 * 101.0 / 10
    return compressed(encode_png(np.full_like(DEPTH, quant_a / 1.0 + quant_b)),
                      '32FC1; compressedDepth png', (quant_a, quant_b))


IMAGES = {
    '16UC1': image_message(DEPTH, 0),
    'mono16': changed(image_message(DEPTH, 0), encoding='mono16'),
    '32FC1': image_message(METRES, 0),
    '16UC1, big-endian': swapped(image_message(DEPTH, 0), 'u2'),
    '32FC1, big-endian': swapped(image_message(METRES, 0), 'f4'),
    '16UC1, rows padded by an odd number': padded(image_message(DEPTH, 0), 7),
    '32FC1, rows padded': padded(image_message(METRES, 0), 32),
    '32FC1 with NaN and infinity': image_message(
        np.where(np.eye(48, 64, dtype=bool), np.float32('nan'),
                 np.where(np.eye(48, 64, 5, dtype=bool), np.float32('inf'), METRES)), 0),
    'PNG': compressed(encode_png(DEPTH), '16UC1; compressedDepth png'),
    'PNG of an old publisher': compressed(encode_png(DEPTH), '16UC1; compressedDepth'),
    'RVL': compressed(encode_rvl(DEPTH), '16UC1; compressedDepth rvl'),
    '32FC1 in PNG': quantised(),
}


@pytest.fixture
def peer(monkeypatch):
    with active_node(monkeypatch) as peer:
        peer.send_info(camera_info_message())
        yield peer


def show(peer, image, second: int) -> None:
    """Send an image with this stamp; return when its face is on /tf."""
    image.header.stamp.sec = second
    peer.send(image)
    message = peer.wait_for(lambda: [m for m in peer.heard['tf']
                                     if m.transforms[0].header.stamp.sec == second])[0]
    assert message.transforms[0].transform.translation.z == pytest.approx(1.0, abs=1e-3)


def last_problem(peer) -> str:
    return peer.diagnostics().get('last problem', '')


def test_every_form_of_a_raw_image_shows_the_same_face(peer):
    forms = [name for name in IMAGES if isinstance(IMAGES[name], Image)]
    for second, name in enumerate(forms, 1):
        show(peer, IMAGES[name], second)
    assert peer.diagnostics()['rejected total'] == '0' and len(forms) == 8


def test_every_form_of_a_compressed_image_shows_the_same_face(monkeypatch):
    with active_node(monkeypatch, image_transport='compressedDepth') as peer:
        peer.send_info(camera_info_message())
        forms = [name for name in IMAGES if isinstance(IMAGES[name], CompressedImage)]
        for second, name in enumerate(forms, 1):
            show(peer, IMAGES[name], second)
        assert peer.diagnostics()['rejected total'] == '0' and len(forms) == 4


def test_a_png_of_the_compressed_transport_shows_the_same_face(monkeypatch):
    with active_node(monkeypatch, connected=False, image_transport='compressed') as peer:
        camera = peer.node.create_publisher(CompressedImage, 'depth/image/compressed', 1)
        peer.wait_for(lambda: camera.get_subscription_count()
                      and peer._info.get_subscription_count() and peer.node.count_publishers('/tf'))
        time.sleep(0.2)  # discovery on the other side may take a moment longer
        peer.send_info(camera_info_message())
        message = CompressedImage(format='16UC1; png compressed ', data=encode_png(DEPTH))
        message.header.frame_id, message.header.stamp.sec = FRAME, 1
        camera.publish(message)
        peer.wait_for(lambda: peer.heard['tf'])


def test_the_unit_of_depth_can_be_set(monkeypatch):
    with active_node(monkeypatch, depth_unit=0.0001) as peer:
        peer.send_info(camera_info_message())
        show(peer, image_message(10 * DEPTH, 0), 1)
        assert 'median depth' not in last_problem(peer)


def test_depth_in_another_unit_is_warned_of_with_the_parameter(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(np.full((48, 64), 65000, np.uint16), SECOND))
    peer.wait_for(lambda: 'depth_unit' in last_problem(peer))


@pytest.mark.parametrize('transport', ['compressedDepth', 'compressed'])
def test_a_topic_that_is_named_as_compressed_is_taken_as_such(monkeypatch, transport):
    monkeypatch.setattr(node_module, 'FaceEstimator', KnownFaces)
    rclpy.init(args=['--ros-args', '-r', f'depth/image:=/front/depth/{transport}'])
    node = node_module.FaceNode()
    node.trigger_configure()
    node.trigger_activate()
    endpoint, = node.get_subscriptions_info_by_topic(f'/front/depth/{transport}')
    assert endpoint.topic_type == 'sensor_msgs/msg/CompressedImage'
    node.destroy_node()
    rclpy.shutdown()


def test_the_camera_may_change_in_size_and_lens(peer, monkeypatch):
    seen = []

    def remember(self, depth, intrinsics, original=KnownFaces.__call__, **known):
        seen.append((depth.shape, intrinsics))
        return original(self, depth, intrinsics, **known)

    monkeypatch.setattr(KnownFaces, '__call__', remember)
    show(peer, image_message(DEPTH, 0), 1)
    show(peer, image_message(DEPTH, 0), 2)
    small = camera_info_message(32, 24, 30.0)
    peer.send_info(small)
    show(peer, image_message(DEPTH[:24, :32].copy(), 0), 3)
    small.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    peer.send_info(small)
    show(peer, image_message(DEPTH[:24, :32].copy(), 0), 4)
    assert [shape for shape, _ in seen] == [(48, 64), (48, 64), (24, 32), (24, 32)]
    first, again, other, distorted = (intrinsics for _, intrinsics in seen)
    assert first is again and (first.fx, other.fx) == (60.0, 30.0)
    assert not other.distortion and distorted.distortion[0] == 0.1


def test_a_camera_info_that_was_cut_off_leaves_the_last_good_one_in_force(peer):
    peer.send_info(serialize_message(camera_info_message(focal=61.0))[:80])
    peer.wait_for(lambda: 'do not read as CameraInfo' in last_problem(peer))
    show(peer, image_message(DEPTH, 0), 1)


def test_a_quality_of_service_that_cannot_connect_is_reported(monkeypatch):
    override = {'qos_overrides./depth/image.subscription.reliability': 'reliable'}
    with active_node(monkeypatch, connected=False, input_timeout=0.3, **override) as peer:
        peer.wait_for(lambda: ('1 publisher; /peer has an incompatible QoS: Best effort publisher '
                               'and reliable subscription') in last_problem(peer))
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
        peer.wait_for(lambda: 'no image for' in last_problem(peer))
        assert peer.heard['diagnostics'][-1].status[0].level == b'\x02'
        peer.node.destroy_publisher(peer._image)
        peer.wait_for(lambda: '0 publishers on /depth/image; there is /other/depth/image_raw'
                      in last_problem(peer))
        with other_program('''
                wrong = node.create_publisher(CameraInfo, 'depth/image', 1)
                time.sleep(60)
                ''') as program:
            peer.wait_for(lambda: (
                '1 publisher; /camera sends sensor_msgs/msg/CameraInfo, expected '
                'sensor_msgs/msg/Image on /depth/image') in last_problem(peer), 30)
            program.kill()


def test_images_that_get_lost_on_their_way_are_reported_with_the_remedy(peer, monkeypatch):
    monkeypatch.setattr(subscription, 'LOSS_WINDOW', 0.5)
    monkeypatch.setattr(subscription, 'FEWEST', 2)

    def half_of_the_images():
        peer.send_info(camera_info_message())
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, half_of_the_images.stamp_ns))
        half_of_the_images.stamp_ns += SECOND
        return 'images were lost' in last_problem(peer)

    half_of_the_images.stamp_ns = SECOND
    peer.wait_for(half_of_the_images)
    assert 'fastdds.xml' in last_problem(peer)


def test_images_for_which_no_queue_had_room_are_counted_as_lost(peer):
    show(peer, image_message(DEPTH, 0), 1)
    free = threading.Event()
    timer = peer.subject.create_timer(0.01, lambda: free.wait(10))  # keeps the node from subscription
    time.sleep(0.3)
    for second in range(2, 32):
        peer.send(image_message(DEPTH, second * SECOND))
    free.set()
    timer.cancel()
    show(peer, image_message(DEPTH, 0), 50)

    def total(name):
        return int(peer.diagnostics()[f'{name} total'])

    peer.wait_for(lambda: total('lost') and total('received') + total('lost') == 32)


def test_a_camera_that_is_killed_is_reported_and_its_successor_received(monkeypatch):
    with active_node(monkeypatch, input_timeout=0.5) as peer:
        peer.send_info(camera_info_message())
        with other_program('''
                camera = node.create_publisher(Image, 'depth/image', qos_profile_sensor_data)
                for second in range(1, 10000):
                    camera.publish(image_message(DEPTH, second * 10**9))
                    time.sleep(0.01)
                ''') as camera:
            peer.wait_for(lambda: len(peer.heard['tf']) > 10, 30)
            camera.kill()
        peer.wait_for(lambda: 'no image for' in peer.diagnostics()['message'])
        show(peer, image_message(DEPTH, 0), 20000)
        peer.wait_for(lambda: 'no image' not in peer.diagnostics()['message']
                      and peer.diagnostics()['state'] == 'active')


def test_in_a_simulation_latency_and_silence_are_of_simulated_time(monkeypatch):
    with active_node(monkeypatch, use_sim_time=True, input_timeout=0.5) as peer:
        peer.wait_for(lambda: 'nothing has come on /clock' in last_problem(peer))
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
        peer.wait_for(lambda: 'no image for' in last_problem(peer))
