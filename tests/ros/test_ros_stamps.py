# SPDX-License-Identifier: Apache-2.0
"""Cameras whose stamps stand still, repeat, jump or are not set, over real DDS."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from builtin_interfaces.msg import Time
from ros_helpers import SECOND, active_node, calibrated_node, camera_info_message, image_message
from rosgraph_msgs.msg import Clock

TRACKER = {'tracker__sightings': 2, 'tracker__keep_s': 0.3, 'tracker__keep_images': 2}
WITH_PEOPLE, EMPTY = 24, 20  # images
STEP_S = 0.04
FAULTY = (6, 13, 20)  # of the images with people


def image(people: bool, number: int) -> np.ndarray:
    """Return an image of two people, or of none, before a noisy background."""
    depth = np.random.default_rng(number).integers(1100, 1900, (48, 64)).astype(np.uint16)
    if people:
        depth[10:30, 10:20], depth[10:30, 40:50] = 1000, 2000
    return depth


def sent(change=lambda now, i: now, copies=1):
    """Yield the messages of a camera: images whose stamps `change` has modified."""
    start = time.time_ns()
    for i in range(WITH_PEOPLE + EMPTY):
        now = start + round(i * STEP_S * 1e9)
        message = image_message(image(i < WITH_PEOPLE, i), 0)
        stamp = change(now, i)
        message.header.stamp = (stamp if isinstance(stamp, Time)
                                else Time(sec=stamp // SECOND, nanosec=stamp % SECOND))
        yield [message] * copies


def faulty(change):
    """Spoil the stamps of a few images."""
    return lambda now, i: change(now) if i in FAULTY else now


STREAMS = {
    'good': (lambda now, i: now, ''),
    'all zero': (lambda now, i: 0, 'no valid stamp'),
    'all negative': (lambda now, i: -SECOND * (i + 1), 'no valid stamp'),
    'nanoseconds beyond a second': (lambda now, i: Time(sec=5, nanosec=4 * SECOND + i),
                                    'no valid stamp'),
    'all alike': (lambda now, i: 1_700_000_000 * SECOND, 'stand still'),
    'zero now and then': (faulty(lambda now: 0), 'without a valid stamp'),
    'negative now and then': (faulty(lambda now: -SECOND), 'without a valid stamp'),
    'ahead by a second': (faulty(lambda now: now + SECOND), 'ahead of this clock'),
    'ahead by ten seconds': (faulty(lambda now: now + 10 * SECOND), 'ahead of this clock'),
    'far in the future': (faulty(lambda now: (2**31 - 1) * SECOND), 'ahead of this clock'),
    'back by half a second': (faulty(lambda now: now - SECOND // 2), 'come late'),
    'back by two seconds': (faulty(lambda now: now - 2 * SECOND), 'jumped'),
    'back to 1970': (faulty(lambda now: SECOND), 'jumped'),
    'set back by half a second': (lambda now, i: now - (i > 12) * SECOND // 2, 'set back'),
    'a recording of last year': (lambda now, i: now - 365 * 86400 * SECOND, 'from now'),
    'a short recording in a loop': (
        lambda now, i: 1_700_000_000 * SECOND + i % 8 * 40_000_000, 'looped'),
}

BY_ARRIVAL = ('no valid stamp', 'stand still', 'looped')


def play(peer, messages) -> float:
    """Send images at the rate of a camera; return when the last people were sent."""
    left = 0.0
    for i, copies in enumerate(messages):
        for message in copies:
            peer.send(message)
            time.sleep(STEP_S / len(copies))
        if i == WITH_PEOPLE - 1:
            left = time.monotonic()
    return left


def wait_for_images(peer, count: int) -> None:
    """Return when the node has so many, received or known to be lost on a busy machine."""
    peer.wait_for(lambda: sum(int(peer.diagnostics()[f'{name} total'])
                              for name in ('received', 'lost')) == count)


def every_image_is_counted_once(values: dict[str, str]) -> bool:
    """Whether the totals of a heartbeat add up; one may come while an image is being processed."""
    return int(values['received total']) == sum(
        int(values[f'{name} total']) for name in ('processed', 'dropped', 'rejected'))


def problems(peer) -> str:
    return '\n'.join(message.status[0].message for message in peer.heard['diagnostics'])


def transforms(peer) -> list[tuple[str, int]]:
    """Return frame and stamp of each face on /tf."""
    return [(item.child_frame_id, item.header.stamp.sec * SECOND + item.header.stamp.nanosec)
            for message in peer.heard['tf'] for item in message.transforms
            if item.child_frame_id.startswith('face_')]


@pytest.mark.parametrize('name', STREAMS)
def test_two_people_have_two_ids_and_leave_for_any_stamps(monkeypatch, name):
    change, note = STREAMS[name]
    with calibrated_node(monkeypatch, **TRACKER) as peer:
        play(peer, sent(change))
        wait_for_images(peer, WITH_PEOPLE + EMPTY)
        values = peer.wait_for(lambda: peer.diagnostics()['faces'] == '0' and peer.diagnostics())
        shown, count = transforms(peer), len(peer.heard['tf'])
        play(peer, [[image_message(image(False, 99), time.time_ns())]] * 3)
        assert len(peer.heard['tf']) == count  # nobody came back
        assert {frame for frame, _ in shown} == {'face_f00001', 'face_f00002'}
        assert len(shown) == len(set(shown))  # each stamp once
        assert len(shown) >= 2 * (WITH_PEOPLE - 2) * 0.7  # images are processed, not skipped
        assert note in problems(peer) and 'Traceback' not in problems(peer)
        if note != 'set back':  # after a second the stamps count again
            assert values['time of images'] == ('arrival' if note in BY_ARRIVAL else 'stamps')
        peer.wait_for(lambda: every_image_is_counted_once(peer.diagnostics()))


def test_each_image_twice_is_processed_and_published_once(monkeypatch):
    with calibrated_node(monkeypatch, **TRACKER) as peer:
        play(peer, sent(copies=2))
        images = WITH_PEOPLE + EMPTY
        wait_for_images(peer, 2 * images)
        values = peer.wait_for(lambda: peer.diagnostics()['faces'] == '0' and peer.diagnostics())
        assert int(values['repeated total']) > 0.7 * images
        shown = transforms(peer)
        assert len(shown) == len(set(shown)) and len({frame for frame, _ in shown}) == 2
        assert 'more than once' in problems(peer) and 'too slow' not in problems(peer)


def test_a_problem_of_stamps_is_reported_once(monkeypatch):
    with calibrated_node(monkeypatch, **TRACKER) as peer:
        play(peer, sent(lambda now, i: 1_700_000_000 * SECOND))
        wait_for_images(peer, WITH_PEOPLE + EMPTY)
        assert problems(peer).count('stand still') == 1


def test_a_simulation_that_starts_again_starts_tracking_again(monkeypatch):
    """Clock and stamps jump back together."""
    with active_node(monkeypatch, use_sim_time=True, **TRACKER) as peer:
        clock = peer.node.create_publisher(Clock, '/clock', 10)
        peer.wait_for(clock.get_subscription_count)
        peer.send_info(camera_info_message())
        for start in (1000, 10):
            for i in range(10):
                now = start * SECOND + i * SECOND // 20
                clock.publish(Clock(clock=Time(sec=now // SECOND, nanosec=now % SECOND)))
                time.sleep(0.03)
                peer.send(image_message(image(True, i), now))
                time.sleep(0.03)
        peer.wait_for(lambda: int(peer.diagnostics()['processed total']) == 20)
        frames = [frame for frame, _ in transforms(peer)]
        assert set(frames[-2:]) == {'face_f00003', 'face_f00004'} and len(set(frames)) == 4
        play(peer, [[image_message(image(False, i), 11 * SECOND + i * SECOND // 20)]
                    for i in range(15)])
        peer.wait_for(lambda: peer.diagnostics()['faces'] == '0')


def test_a_jump_of_the_clock_leaves_no_lasting_error(monkeypatch):
    """Ten images with stamps of an hour ago, as before a clock is synchronised."""
    with calibrated_node(monkeypatch, **TRACKER) as peer:
        for i in range(20):
            offset = 3600 * SECOND if i < 10 else 0
            peer.send(image_message(image(True, i), time.time_ns() - offset))
            time.sleep(STEP_S)
        peer.wait_for(lambda: int(peer.diagnostics()['processed total']) == 20)
        peer.wait_for(lambda: 'from now' not in peer.diagnostics()['message'], 2)
        assert float(peer.diagnostics()['stamp to publish p95 (ms)']) < 1000
