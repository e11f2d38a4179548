# SPDX-License-Identifier: Apache-2.0
"""Ids stay with people; false alarms get none; bags may loop."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.estimator import Face
from depthface_ros.tracking import Tracker, TrackerConfig

FRAME_NS = 33_333_333  # 30 Hz


def face_at(x, y=0.0, z=1.0):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = x, y, z
    return Face(pose, np.zeros((1, 3), np.float32), np.zeros(52, np.float32), 0.9, 0.1, 0.01)


def ids(tracks):
    return [track.id for track in tracks]


def run(tracker, images, start_ns=0, step_ns=FRAME_NS):
    """The public ids after each of the images, each a list of faces."""
    return [ids(tracker.update(faces, start_ns + i * step_ns)) for i, faces in enumerate(images)]


def test_a_face_is_public_at_its_second_sighting():
    assert run(Tracker(), [[face_at(0)]] * 3) == [[], ['f00001'], ['f00001']]


def test_one_miss_between_the_first_sightings_is_forgiven_two_are_not():
    assert run(Tracker(), [[face_at(0)], [], [face_at(0)]])[-1] == ['f00001']
    assert run(Tracker(), [[face_at(0)], [], [], [face_at(0)]])[-1] == []


def test_flickering_false_alarms_never_get_an_id():
    assert run(Tracker(), [[face_at(i % 3)] for i in range(30)]) == [[]] * 30


def test_a_short_occlusion_keeps_the_id_and_says_that_the_face_is_not_seen():
    tracker = Tracker()
    run(tracker, [[face_at(0)]] * 2)
    held = tracker.update([], 2 * FRAME_NS)
    assert ids(held) == ['f00001'] and not held[0].seen and held[0].stamp_ns == FRAME_NS
    back = tracker.update([face_at(0.01)], 3 * FRAME_NS)
    assert ids(back) == ['f00001'] and back[0].seen


def test_a_face_that_stays_away_is_dropped_and_its_id_never_used_again():
    tracker = Tracker()
    run(tracker, [[face_at(0)]] * 2)
    history = run(tracker, [[]] * 12, start_ns=2 * FRAME_NS)
    dropped = history.index([])
    assert 0.3 < (dropped + 1) * FRAME_NS * 1e-9 < 0.4
    assert run(tracker, [[face_at(0)]] * 2, start_ns=20 * FRAME_NS)[-1] == ['f00002']


def test_a_slow_camera_does_not_lose_a_face_by_one_missed_image():
    history = run(Tracker(), [[face_at(0)], [face_at(0)], [], [face_at(0)]], step_ns=500_000_000)
    assert history[1:] == [['f00001']] * 3


@pytest.mark.parametrize('order', [1, -1])
def test_two_people_who_walk_past_each_other_at_arm_length_keep_their_ids(order):
    """One metre per second each, 0.3 m apart in depth, whatever the order in the lists."""
    steps = np.linspace(-0.5, 0.5, 31)
    images = [[face_at(x, z=1.0), face_at(-x, z=1.3)][::order] for x in steps]
    tracker = Tracker()
    for i, faces in enumerate(images):
        tracks = tracker.update(faces, i * FRAME_NS)
    by_id = {track.id: track.face.camera_from_face[2, 3] for track in tracks}
    first, second = (1.0, 1.3)[::order]
    assert by_id == {'f00001': pytest.approx(first), 'f00002': pytest.approx(second)}


def test_a_bag_that_loops_gives_new_ids():
    tracker = Tracker()
    assert run(tracker, [[face_at(0)]] * 2, start_ns=10 ** 10)[-1] == ['f00001']
    assert run(tracker, [[face_at(0)]] * 2, start_ns=0) == [[], ['f00002']]


def test_a_late_image_changes_nothing():
    tracker = Tracker()
    run(tracker, [[face_at(0)]] * 2)
    late = tracker.update([face_at(0.02)], 0)
    assert ids(late) == ['f00001'] and late[0].stamp_ns == FRAME_NS


def test_the_same_images_give_the_same_ids():
    rng = np.random.default_rng(0)
    images = [[face_at(*rng.normal(size=2)) for _ in range(rng.integers(4))] for _ in range(100)]
    images = [faces + [face_at(0), face_at(0.3)] for faces in images]
    assert run(Tracker(), images) == run(Tracker(), images)


def test_every_face_is_public_at_once_when_one_sighting_is_enough():
    assert run(Tracker(TrackerConfig(sightings=1)), [[face_at(0), face_at(1)]]) == [['f00001', 'f00002']]
