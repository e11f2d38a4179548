# SPDX-License-Identifier: Apache-2.0
"""Ids stay with people; false alarms get none; bags may loop."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthface_ros.estimation.types import Face
from depthface_ros.tracking.tracks import Tracker, TrackerConfig, in_image

FRAME_NS = 33_333_333  # 30 Hz


def face_at(x, y=0.0, z=1.0):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = x, y, z
    return Face(pose, np.zeros((1, 3), np.float32), np.zeros(52, np.float32), 0.9, 0.1, 0.01)


def ids(tracks):
    return [track.id for track in tracks]


def run(tracker, images, start_ns=0, step_ns=FRAME_NS):
    """Return the public ids after each image, a list of faces."""
    return [ids(tracker.update(faces, start_ns + i * step_ns)) for i, faces in enumerate(images)]


def test_a_face_is_public_at_its_second_sighting():
    assert run(Tracker(), [[face_at(0)]] * 3) == [[], ['f00001'], ['f00001']]


def test_one_miss_between_the_first_sightings_is_forgiven_two_are_not():
    assert run(Tracker(), [[face_at(0)], [], [face_at(0)]])[-1] == ['f00001']
    assert run(Tracker(), [[face_at(0)], [], [], [face_at(0)]])[-1] == []


def test_flickering_false_alarms_never_get_an_id():
    assert run(Tracker(), [[face_at(i % 3)] for i in range(30)]) == [[]] * 30


def test_a_short_occlusion_keeps_the_id():
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


def ids_of(tracker, first, second, mix):
    """Return the ids by image of two people on paths (N, 3) each."""
    found = []
    for i, (a, b) in enumerate(zip(first, second)):
        faces = [face_at(*a), face_at(*b)]
        if mix.random() < 0.5:
            faces.reverse()
        tracks = tracker.update(faces, i * FRAME_NS)
        position = {tuple(track.face.camera_from_face[:3, 3]): track.id
                    for track in tracks if track.seen}
        found.append(tuple(position.get(tuple(np.float32(where))) for where in (a, b)))
    return found


@pytest.mark.parametrize('speed', [0.3, 1.0, 2.0])
@pytest.mark.parametrize('apart', [0.1, 0.3])
def test_two_people_who_cross_keep_their_ids(speed, apart):
    """They pass `apart` metres behind each other, and poses err by 3 mm."""
    rng = np.random.default_rng(0)
    x = speed * np.arange(-20, 21) * FRAME_NS * 1e-9
    ways = np.stack([[x, 0 * x, 0 * x + 1], [-x, 0 * x, 0 * x + 1 + apart]]).transpose(0, 2, 1)
    found = ids_of(Tracker(), *ways + rng.normal(scale=0.003, size=ways.shape), rng)
    assert len(set(found[1:])) == 1 and None not in found[1]


def test_an_id_survives_walking_behind_another_person():
    """One stands, the other is hidden behind him for a quarter of a second."""
    tracker = Tracker()
    for i, x in enumerate(np.arange(-20, 21) * FRAME_NS * 1e-9):
        hidden = abs(x) < 0.125
        tracks = tracker.update([face_at(0)] + [face_at(x, z=1.3)] * (not hidden), i * FRAME_NS)
        assert i == 0 or ids(tracks) == ['f00001', 'f00002']
        assert [track.seen for track in tracks][1:] == ([] if i == 0 else [not hidden])


def test_a_face_is_expected_where_it_was_going():
    tracker = Tracker()
    for i in range(30):  # 0.6 m/s
        tracker.update([face_at(0.02 * i)], i * FRAME_NS)
    heads = tracker.head_candidates(30 * FRAME_NS)
    np.testing.assert_allclose(heads.centres, face_at(0.02 * 30).head_centre[None], atol=0.003)
    later = tracker.head_candidates(30 * FRAME_NS + 10 * 10 ** 9).centres  # out of sight it slows down
    np.testing.assert_allclose(later[0, 0] - heads.centres[0, 0], 0.6 * 0.5, atol=0.05)


def test_a_distant_new_face_does_not_inherit_a_lost_id():
    tracker = Tracker()
    run(tracker, [[face_at(0), face_at(1)]] * 2)
    tracks = tracker.update([face_at(0), face_at(1.5)], 2 * FRAME_NS)
    assert [track.seen for track in tracks] == [True, False]


def test_the_same_images_give_the_same_ids():
    rng = np.random.default_rng(0)
    images = [[face_at(*rng.normal(size=2)) for _ in range(rng.integers(4))] for _ in range(100)]
    images = [faces + [face_at(0), face_at(0.3)] for faces in images]
    assert run(Tracker(), images) == run(Tracker(), images)


def test_every_face_is_public_at_once_when_one_sighting_is_enough():
    tracker = Tracker(TrackerConfig(sightings=1))
    assert run(tracker, [[face_at(0), face_at(1)]]) == [['f00001', 'f00002']]


def test_where_time_is_unknown_missed_images_end_a_track():
    tracker = Tracker(TrackerConfig(keep_s=60.0, keep_images=4))
    run(tracker, [[face_at(0)]] * 2)
    kept = [bool(tracker.update([], FRAME_NS, timed=False)) for _ in range(6)]
    assert kept == [True] * 4 + [False] * 2


def test_a_face_that_an_image_does_not_show_is_not_in_it_though_stamps_are_equal():
    tracker = Tracker()
    run(tracker, [[face_at(0)]] * 2)
    tracks = tracker.update([], FRAME_NS)
    assert ids(tracks) == ['f00001'] and in_image(tracks, FRAME_NS) == []


def test_what_covers_a_face_does_not_move_it_unless_it_stays():
    tracker, covered = Tracker(), replace(face_at(0.06), support=0.1)
    run(tracker, [[replace(face_at(0), support=0.7)]] * 30)
    run(tracker, [[covered]] * 5, start_ns=30 * FRAME_NS)
    assert tracker.tracks[0].motion.camera_from_face[0, 3] < 0.01
    run(tracker, [[covered]] * 90, start_ns=35 * FRAME_NS)
    assert tracker.tracks[0].motion.camera_from_face[0, 3] > 0.055
