# SPDX-License-Identifier: Apache-2.0
"""Texts of messages neither fill log and diagnostics nor forge lines in them; over real DDS."""

from __future__ import annotations

import time

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from depth_encoders import encode_png, header
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
)
from sensor_msgs.msg import CompressedImage

FORGED = 'x\n\x1b[31m[ERROR] [1.0] [depthface]: forged'
LONG = 200_000


@pytest.fixture
def log(capfd):
    """A function that returns the lines of the node's log so far."""
    lines = []

    def read():
        lines.extend(capfd.readouterr().err.split('\n'))
        return [line for line in lines if line]

    return read


def diagnostics(peer) -> list[str]:
    """Return all texts of all heartbeats."""
    return [text for message in peer.heard['diagnostics'] for status in message.status
            for text in (status.message, status.hardware_id, *(v.value for v in status.values))]


def assert_harmless(peer, log) -> None:
    assert max(map(len, diagnostics(peer) + log())) < 1000
    assert all(text.isprintable() for text in diagnostics(peer) + log())
    assert all(line.startswith(('[INFO] [', '[WARN] [')) for line in log())  # none is forged


def images():
    """Images with a hostile text in each field that holds one."""
    for text in (FORGED, 'y' * LONG, '\x1b' * LONG):
        yield image_message(DEPTH, SECOND, text)
        bad = image_message(DEPTH, SECOND)
        bad.encoding = text
        yield bad


def test_texts_of_raw_images_are_quoted_and_cut(monkeypatch, log):
    with calibrated_node(monkeypatch) as peer:
        for i, message in enumerate(images(), 1):
            message.header.stamp.sec = i
            peer.send(message)
            peer.wait_for(lambda: int(peer.diagnostics()['received total']) == i)  # noqa: B023
            time.sleep(0.15)
        assert_harmless(peer, log)
        # A short frame_id may be odd; those that are no names are rejected.
        assert peer.diagnostics()['rejected total'] == '5'
        assert f'({LONG} characters)' in ''.join(diagnostics(peer))
        peer.send(image_message(DEPTH, 100 * SECOND))
        peer.wait_for(lambda: peer.heard['tf'])


@pytest.mark.parametrize('format_', [
    f'16UC1; {FORGED} png', '16UC1; compressedDepth ' + 'z' * LONG, '\x1b' * LONG, FORGED])
def test_the_format_of_a_compressed_image_is_quoted_and_cut(monkeypatch, log, format_):
    with calibrated_node(monkeypatch, image_transport='compressedDepth') as peer:
        message = CompressedImage(format=format_, data=header() + encode_png(DEPTH))
        message.header.frame_id = FRAME
        for second in (1, 2):
            message.header.stamp.sec = second
            peer.send(message)
        peer.wait_for(lambda: int(peer.diagnostics()['received total']) == 2)
        time.sleep(0.3)
        assert_harmless(peer, log)


def test_texts_of_camera_info_are_quoted_and_cut(monkeypatch, log):
    with active_node(monkeypatch) as peer:
        for i, text in enumerate((FORGED, 'y' * LONG), 1):
            info = camera_info_message()
            info.header.frame_id, info.distortion_model, info.d = text, text, [0.1] * 5
            peer.send_info(info)
            peer.send(image_message(DEPTH, i * SECOND))
            peer.wait_for(lambda: int(peer.diagnostics()['received total']) == i)  # noqa: B023
            time.sleep(0.15)
        assert_harmless(peer, log)
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, 100 * SECOND))
        peer.wait_for(lambda: peer.heard['tf'])


def test_many_different_frames_cost_a_line_or_two_and_no_memory(monkeypatch, log):
    with calibrated_node(monkeypatch) as peer:
        for i in range(1, 150):
            peer.send(image_message(DEPTH, i * SECOND, f'frame_{i}_' + 'w' * 100))
            time.sleep(0.01)
        peer.wait_for(lambda: int(peer.diagnostics()['received total']) == 149)
        assert len([line for line in log() if 'REP-103' in line]) == 1
        assert len([line for line in log() if 'frame_' in line]) < 10
        assert_harmless(peer, log)


def test_diagnostics_name_the_camera(monkeypatch):
    with active_node(monkeypatch) as peer:
        def camera():
            return peer.heard['diagnostics'][-1].status[0].hardware_id

        peer.wait_for(lambda: peer.heard['diagnostics'] and camera() == '/depth/image')
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: camera() == FRAME)
