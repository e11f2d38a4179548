# SPDX-License-Identifier: Apache-2.0
"""The node survives any input, and processes the next valid image."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('onnxruntime')

from depth_encoders import encode_png, encode_rvl, header
from rclpy.serialization import serialize_message
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    active_node,
    camera_info_message,
    image_message,
)
from sensor_msgs.msg import CompressedImage

from depthface_ros.ros import node as node_module

COUNT = 1000
ODD_NUMBERS = (0, 1, 3, 47, 65, 4096, 2**31 - 1, 2**31, 2**32 - 1)
ODD_FLOATS = (0.0, -1.0, 1e-300, 1e300, np.nan, np.inf, -np.inf)
ODD_TEXTS = ('', '16UC1', '32FC1', 'mono16', 'rgb8', '16UC1; compressedDepth png',
             '32FC1; compressedDepth rvl', ';', '\x00', 'ä' * 50)


def random_image(rng):
    """Return an image whose fields are each valid or odd."""
    depth = rng.integers(0, 65536, DEPTH.shape).astype(np.uint16)
    image = image_message(depth if rng.random() < 0.5 else depth.view(np.float16).astype('f4'), 1)
    for field in ('height', 'width', 'step'):
        if rng.random() < 0.3:
            setattr(image, field, int(rng.choice(ODD_NUMBERS)))
    image.is_bigendian = int(rng.integers(0, 256))
    image.header.stamp.sec = int(rng.integers(-2**31, 2**31))
    if rng.random() < 0.3:
        image.encoding = str(rng.choice(ODD_TEXTS))
    if rng.random() < 0.2:
        image.header.frame_id = str(rng.choice(ODD_TEXTS))
    return image


def random_camera_info(rng):
    info = camera_info_message()
    for field in ('height', 'width', 'binning_x', 'binning_y'):
        if rng.random() < 0.3:
            setattr(info, field, int(rng.choice(ODD_NUMBERS)))
    for field in ('x_offset', 'y_offset', 'height', 'width'):
        if rng.random() < 0.1:
            setattr(info.roi, field, int(rng.choice(ODD_NUMBERS)))
    for field in ('k', 'p'):
        if rng.random() < 0.3:
            getattr(info, field)[rng.integers(9)] = rng.choice(ODD_FLOATS)
    if rng.random() < 0.5:
        info.d = [float(value) for value in rng.choice(ODD_FLOATS, rng.integers(0, 20))]
    info.distortion_model = str(rng.choice(('plumb_bob', 'equidistant', *ODD_TEXTS)))
    return info


def random_compressed(rng):
    depth = rng.integers(0, 3000, DEPTH.shape).astype(np.uint16)
    payload = bytearray((encode_png if rng.random() < 0.5 else encode_rvl)(depth))
    for _ in range(rng.integers(0, 4)):
        payload[rng.integers(min(len(payload), 40))] = rng.integers(256)
    head = header(*(float(value) for value in rng.choice(np.float32(ODD_FLOATS), 2)))
    message = CompressedImage(format=str(rng.choice(ODD_TEXTS)), data=head + bytes(payload))
    message.header.frame_id = FRAME
    return message


def spoilt(data: bytes, rng) -> bytes:
    """Return a serialised message unchanged, truncated, with changed bytes, or as noise."""
    how = rng.integers(4)
    if how == 0:
        return data
    if how == 1:
        return data[:rng.integers(4, len(data))]
    if how == 2:
        noise = bytearray(data)
        for place in rng.integers(4, min(len(noise), 200), 5):
            noise[place] = rng.integers(256)
        return bytes(noise)
    return data[:4] + rng.bytes(rng.integers(0, 300))


GOOD = {'image': image_message(DEPTH, 2 * SECOND), 'compressed': CompressedImage(
    format='16UC1; compressedDepth png', data=header() + encode_png(DEPTH))}
GOOD['compressed'].header.frame_id = FRAME


@pytest.mark.filterwarnings('ignore:invalid value', 'ignore:overflow')
@pytest.mark.parametrize('kind, make', [
    ('image', random_image), ('camera_info', random_camera_info),
    ('compressed', random_compressed)])
def test_a_thousand_bad_messages_cost_the_next_good_image_nothing(monkeypatch, kind, make):
    estimator, rng = node_module.FaceEstimator, np.random.default_rng(7)
    transport = {'image_transport': 'compressedDepth'} if kind == 'compressed' else {}
    with active_node(monkeypatch, estimator=estimator, **transport) as peer:
        good = GOOD['compressed' if kind == 'compressed' else 'image']
        peer.send_info(camera_info_message())
        publisher = peer._info if kind == 'camera_info' else peer._image
        for _ in range(COUNT):
            publisher.publish(spoilt(serialize_message(make(rng)), rng))
            if kind == 'camera_info':
                peer.send(good)
            time.sleep(0.001)

        def settled():
            total = {name: int(peer.diagnostics()[f'{name} total']) for name in (
                'received', 'processed', 'dropped', 'rejected', 'lost')}
            return (total['received'] == total['processed'] + total['dropped'] + total['rejected']
                    and total['received'] + total['lost'] == COUNT and total)

        total = peer.wait_for(settled, 60)
        assert total['rejected'] > 50  # they were processed, not only dropped
        assert not any('Traceback' in message.status[0].message  # and each was reported
                       for message in peer.heard['diagnostics'])
        peer.send_info(camera_info_message())
        peer.send(good)
        peer.wait_for(lambda: int(peer.diagnostics()['processed total']) > total['processed'])
        assert peer.diagnostics()['state'] == 'active'
