# SPDX-License-Identifier: Apache-2.0
"""Every form of depth image that cameras publish shows the same face; over real DDS."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from depth_encoders import encode_png, encode_rvl, header
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    KnownFaces,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
)
from sensor_msgs.msg import CompressedImage, Image

from depthface_ros.ros import node as node_module

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
    with calibrated_node(monkeypatch) as peer:
        yield peer


def test_every_form_of_a_raw_image_shows_the_same_face(peer):
    forms = [name for name in IMAGES if isinstance(IMAGES[name], Image)]
    for second, name in enumerate(forms, 1):
        peer.show(IMAGES[name], second)
    assert peer.diagnostics()['rejected total'] == '0' and len(forms) == 8


def test_every_form_of_a_compressed_image_shows_the_same_face(monkeypatch):
    with calibrated_node(monkeypatch, image_transport='compressedDepth') as peer:
        forms = [name for name in IMAGES if isinstance(IMAGES[name], CompressedImage)]
        for second, name in enumerate(forms, 1):
            peer.show(IMAGES[name], second)
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
    with calibrated_node(monkeypatch, depth_unit=0.0001) as peer:
        peer.show(image_message(10 * DEPTH, 0), 1)
        assert 'median depth' not in peer.last_problem()


def test_depth_in_another_unit_is_warned_of_with_the_parameter(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(np.full((48, 64), 65000, np.uint16), SECOND))
    peer.wait_for(lambda: 'depth_unit' in peer.last_problem())


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


@pytest.mark.parametrize('name, image', [('Image', IMAGES['PNG']),
                                         ('CompressedImage', IMAGES['16UC1'])])
def test_a_topic_of_any_name_is_received_as_its_publisher_sends_it(monkeypatch, name, image):
    transport = 'raw' if name == 'Image' else 'compressed'
    other = rclpy.Context()
    with active_node(monkeypatch, connected=False, image_transport=transport) as peer:
        peer.node.destroy_publisher(peer._image)
        topic = peer.subject._inputs._images.topic
        rclpy.init(context=other)
        driver = rclpy.create_node('driver', context=other)
        camera = driver.create_publisher(type(image), topic, 1)
        peer.wait_for(lambda: camera.get_subscription_count() and peer.node.count_publishers('/tf')
                      and peer._info.get_subscription_count())
        time.sleep(0.2)  # discovery on the other side may take a moment longer
        peer.send_info(camera_info_message())
        image.header.stamp.sec = 1
        camera.publish(image)
        peer.wait_for(lambda: peer.heard['tf'])
        driver.destroy_node()
    rclpy.shutdown(context=other)


def test_the_camera_may_change_in_size_and_lens(peer, monkeypatch):
    seen = []

    def remember(self, depth, intrinsics, original=KnownFaces.__call__, **known):
        seen.append((depth.shape, intrinsics))
        return original(self, depth, intrinsics, **known)

    monkeypatch.setattr(KnownFaces, '__call__', remember)
    peer.show(image_message(DEPTH, 0), 1)
    peer.show(image_message(DEPTH, 0), 2)
    small = camera_info_message(32, 24, 30.0)
    peer.send_info(small)
    peer.show(image_message(DEPTH[:24, :32].copy(), 0), 3)
    small.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    peer.send_info(small)
    peer.show(image_message(DEPTH[:24, :32].copy(), 0), 4)
    assert [shape for shape, _ in seen] == [(48, 64), (48, 64), (24, 32), (24, 32)]
    first, again, other, distorted = (intrinsics for _, intrinsics in seen)
    assert first is again and (first.fx, other.fx) == (60.0, 30.0)
    assert not other.distortion and distorted.distortion[0] == 0.1
