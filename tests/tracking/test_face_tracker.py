# SPDX-License-Identifier: Apache-2.0
"""When the whole image is searched, and how detections become tracks."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from followed import Followed

from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.head_detector import DetectorConfig
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE
from depthface_ros.tracking.face_tracker import FaceTracker, merge_candidates
from depthface_ros.tracking.smoothing import SmoothingConfig
from depthface_ros.tracking.tracks import TrackerConfig

CAMERA = Intrinsics(50.0, 50.0, 32.0, 24.0)
DEPTH = np.ones((48, 64), np.float32)
MS = 10 ** 6
RAW = SmoothingConfig(enabled=False)


class Room(Followed):
    """Stands in for the networks: finds the pose of a head near a candidate."""

    config = EstimatorConfig()

    def __init__(self):
        self.people: dict[str, float] = {}  # name -> x of the head, m
        self.searches: list[int] = []  # the images that were searched
        self.image = -1
        self.nobody = face_at(9.0)

    def find_heads(self, depth, intrinsics):
        self.searches.append(self.image)
        centres = np.array([[x, 0, 1] for x in self.people.values()], np.float32).reshape(-1, 3)
        return HeadCandidates(centres, np.full(len(centres), 0.8))

    def __call__(self, depth, intrinsics, heads, stage_done):
        scores = np.broadcast_to(heads.detector_score, len(heads.centres))
        return [face_at(x, score) for x in self.people.values()
                for centre, score in zip(heads.centres, scores)
                if np.linalg.norm(centre - [x, 0, 1]) < 0.06][:len(self.people)]


def face_at(x, detector_score=0.5):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = np.array([x, 0, 1]) - HEAD_CENTRE_FACE
    return Face(pose, pose[None, :3, 3].copy(), np.zeros(52, np.float32), 0.9, 0.01, 0.01, detector_score)


def follow(tracker, images, first_ns=0, step_ns=33 * MS):
    """Return ids and positions after each image; people are dicts of name and x."""
    history = []
    for people in images:
        tracker.estimator.people = people
        tracker.estimator.image += 1
        tracks = tracker(DEPTH, CAMERA, first_ns + len(history) * step_ns)
        history.append({track.id: round(float(track.face.head_centre[0]), 3)
                        for track in tracks if track.seen})
    return history


def test_every_image_is_searched_without_faces_and_few_with_a_tracked_face():
    tracker = FaceTracker(Room())
    follow(tracker, [{}] * 5 + [{'ann': 0.0}] * 20)
    # found in image 5, public in 6; then each 0.2 s, which is the seventh image at 30 Hz
    assert tracker.estimator.searches == [0, 1, 2, 3, 4, 5, 6, 13, 20]


def test_how_often_counts_the_stamps_not_the_images():
    tracker = FaceTracker(Room())
    follow(tracker, [{'ann': 0.0}] * 9, step_ns=90 * MS)
    assert tracker.estimator.searches == [0, 1, 4, 7]
    slow = FaceTracker(Room())
    follow(slow, [{'ann': 0.0}] * 5, step_ns=250 * MS)
    assert slow.estimator.searches == [0, 1, 2, 3, 4]
    stopped = FaceTracker(Room())
    follow(stopped, [{'ann': 0.0}] * 5, step_ns=0)
    assert stopped.estimator.searches == [0, 1, 2, 3, 4]


def test_a_new_person_gets_an_id_within_the_search_interval_and_one_image():
    for late in range(7):
        alone, both = {'ann': 0.0}, {'ann': 0.0, 'bob': 0.5}
        history = follow(FaceTracker(Room()), [alone] * (10 + late) + [both] * 10)
        first = next(i for i, seen in enumerate(history) if len(seen) == 2)
        assert (first - (10 + late)) * 33 <= 200 + 33


def test_a_face_that_jumps_out_of_reach_of_its_crop_is_found_in_the_same_image():
    tracker = FaceTracker(Room(), TrackerConfig(smoothing=RAW))
    history = follow(tracker, [{'ann': 0.0}] * 4 + [{'ann': 0.12}] * 3)
    assert tracker.estimator.searches == [0, 1, 4]
    assert history[3:5] == [{'f00001': 0.0}, {'f00001': 0.12}]


def test_a_face_that_is_lost_is_searched_for_until_it_is_given_up():
    tracker = FaceTracker(Room())
    follow(tracker, [{'ann': 0.0, 'bob': 0.5}] * 4 + [{'ann': 0.0}] * 20)
    gone = 4 + 10  # 0.3 s after it was last seen
    assert tracker.estimator.searches[:2 + 10] == [0, 1, *range(4, gone)]
    assert len(tracker.estimator.searches) <= 2 + 10 + 2


def test_a_face_lost_and_found_keeps_its_id_and_one_that_stays_away_does_not():
    tracker = FaceTracker(Room())
    short = follow(tracker, [{'ann': 0.0}] * 3 + [{}] * 6 + [{'ann': 0.05}] * 3)
    assert [list(seen) for seen in short] == [[]] + [['f00001']] * 2 + [[]] * 6 + [['f00001']] * 3
    long = follow(tracker, [{}] * 12 + [{'ann': 0.05}] * 3, first_ns=12 * 33 * MS)
    assert [list(seen) for seen in long[12:]] == [[], ['f00002'], ['f00002']]


def test_two_people_who_cross_keep_their_ids():
    """Where one hides the other, only the nearer one is visible."""
    x = np.linspace(-0.5, 0.5, 31)
    images = [{'ann': a, 'bob': -a} if abs(a) > 0.04 else {'ann': a} for a in x]
    history = follow(FaceTracker(Room(), TrackerConfig(smoothing=RAW)), images)
    expected = [{'f00001': round(float(a), 3), 'f00002': round(float(-a), 3)} for a in x]
    assert history[1:13] == expected[1:13] and history[-13:] == expected[-13:]


def test_an_image_that_comes_late_changes_nothing_and_costs_nothing():
    tracker = FaceTracker(Room())
    follow(tracker, [{'ann': 0.0}] * 3, first_ns=10 ** 9)
    before = tracker(DEPTH, CAMERA, 10 ** 9 + 99 * MS)
    tracker.estimator.people = {'bob': 0.5}
    assert tracker(DEPTH, CAMERA, 10 ** 9) is before


def test_a_bag_that_starts_again_gives_new_ids_and_the_same_poses():
    tracker = FaceTracker(Room())
    way = [{'ann': x} for x in np.linspace(0, 0.3, 20)]
    first, second = (follow(tracker, way, first_ns=second * 10 ** 9) for second in (5, 1))
    assert [list(seen.values()) for seen in first] == [list(seen.values()) for seen in second]
    assert {*first[-1]} == {'f00001'} and {*second[-1]} == {'f00002'}


@pytest.mark.parametrize('part', ['camera_from_face', 'vertices', 'expression'])
def test_non_finite_numbers_cost_one_image(part, monkeypatch):
    tracker = FaceTracker(Room())
    follow(tracker, [{'ann': 0.0}] * 4)

    def broken(self, *_, **__):
        face = face_at(0.0)
        getattr(face, part)[..., 0] = np.nan
        return [face]

    with monkeypatch.context() as patch:
        patch.setattr(Room, '__call__', broken)
        assert follow(tracker, [{'ann': 0.0}], first_ns=4 * 33 * MS) == [{}]
    assert follow(tracker, [{'ann': 0.0}] * 2, first_ns=5 * 33 * MS) == [{'f00001': 0.0}] * 2


def test_the_configuration_may_change_on_the_way():
    tracker = FaceTracker(Room())
    follow(tracker, [{'ann': 0.0}] * 4)
    tracker.config = TrackerConfig(search_s=0.0, smoothing=RAW)
    history = follow(tracker, [{'ann': 0.05}] * 3, first_ns=10 ** 9)
    assert tracker.estimator.searches == [0, 1, 4, 5, 6] and history[-1] == {'f00001': 0.05}


def heads(*x, detector_score=0.8, **known):
    centres = np.array([[value, 0, 1] for value in x], np.float32).reshape(-1, 3)
    return HeadCandidates(centres, np.full(len(x), detector_score), **known)


def test_a_detection_of_a_tracked_head_updates_it():
    known = heads(0.0, 1.0, detector_score=0.4, tracked=True)
    both = merge_candidates(known, heads(0.02, 0.5, 1.1), DetectorConfig())
    # within the detector's error the predicted place counts; further off, the detected one
    np.testing.assert_allclose(both.centres[:, 0], [0.0, 1.1, 0.5])
    np.testing.assert_allclose(both.detector_score, 0.8)
    assert both.tracked.tolist() == [True, True, False]


@pytest.mark.parametrize('found', [heads(), heads(2.0)])
def test_a_tracked_head_that_is_not_detected_loses_its_score(found):
    both = merge_candidates(heads(0.0, detector_score=0.9, tracked=True), found, DetectorConfig(threshold=0.2))
    assert both.detector_score[0] == pytest.approx(0.2) and both.centres[0, 0] == 0
    cold = merge_candidates(heads(0.0, detector_score=0.1, tracked=True), found, DetectorConfig(threshold=0.2))
    assert cold.detector_score[0] == pytest.approx(0.1)


def test_merging_no_candidates_gives_none():
    assert merge_candidates(heads(tracked=True), heads(), DetectorConfig()).centres.shape == (0, 3)
    assert merge_candidates(heads(tracked=True), heads(0.5), DetectorConfig()).tracked.tolist() == [False]


ANN, NOBODY = {'ann': 0.0}, {}


def public_ids(tracker, images, stamps_ns):
    """Return the ids of the public tracks after each image."""
    ids = []
    for people, stamp_ns in zip(images, stamps_ns):
        tracker.estimator.people = people
        ids.append([track.id for track in tracker(DEPTH, CAMERA, stamp_ns)])
    return ids


@pytest.mark.parametrize('stamp_ns', [0, 10 ** 18])
def test_where_stamps_stand_still_missed_images_end_a_track(stamp_ns):
    ids = public_ids(FaceTracker(Room()), [ANN] * 5 + [NOBODY] * 4, [stamp_ns] * 9)
    assert ids == [[]] + [['f00001']] * 6 + [[]] * 2


def test_where_stamps_stand_still_faces_still_move():
    tracker = FaceTracker(Room())
    history = follow(tracker, [{'ann': 0.01 * i} for i in range(20)], step_ns=0)
    assert history[-1].keys() == {'f00001'} and 0.15 < history[-1]['f00001'] < 0.2


@pytest.mark.parametrize('seconds', [-3600, -5, -1.5, 1.0, 2.0, 3600])
def test_one_wrong_stamp_costs_no_id(seconds):
    stamps = [10 ** 13 + i * 33 * MS for i in range(30)]
    for i in (8, 20):
        stamps[i] += round(seconds * 10 ** 9)
    ids = public_ids(FaceTracker(Room()), [ANN] * 30, stamps)
    assert ids == [[]] + [['f00001']] * 29


@pytest.mark.parametrize('seconds', [-5, 2.0])
def test_after_one_wrong_stamp_people_who_leave_are_dropped(seconds):
    stamps = [10 ** 13 + i * 33 * MS for i in range(40)]
    stamps[8] += round(seconds * 10 ** 9)
    ids = public_ids(FaceTracker(Room()), [ANN] * 10 + [NOBODY] * 30, stamps)
    assert ids[9] == ['f00001'] and not any(ids[25:])


def test_a_short_clip_in_a_loop_keeps_its_ids_and_shows_its_faces():
    stamps = [10 ** 13 + i * 33 * MS for i in range(15)] * 10
    tracker = FaceTracker(Room())
    ids = public_ids(tracker, [ANN] * 150 + [NOBODY] * 45, stamps + stamps[:45])
    assert ids[1:150] == [['f00001']] * 149 and ids[-1] == []


def test_an_image_time_with_a_fault_changes_nothing():
    tracker = FaceTracker(Room())
    follow(tracker, [ANN] * 3)
    before = tracker(DEPTH, CAMERA, 99 * MS)
    time = tracker.stamps.check(99 * MS, b'other')
    tracker.estimator.people = NOBODY
    assert time.fault == 'repeated' and tracker.track(DEPTH, CAMERA, time) is before


class Counted(Room):
    """Counts what each image costs; a name in `covered` hides that person's face."""

    def __init__(self):
        super().__init__()
        self.looks: list[str] = []
        self.covered: set[str] = set()

    def __call__(self, depth, intrinsics, heads, stage_done):
        self.looks.append('pose network')
        return super().__call__(depth, intrinsics, heads, stage_done)

    def follow(self, depth, intrinsics, predicted, stage_done=None):
        before = len(self.looks)
        faces = super().follow(depth, intrinsics, predicted, stage_done)
        self.looks[before:] = ['followed']
        return [replace(face, support=0.2) if self.covered else face for face in faces]


def test_the_pose_network_looks_at_a_tracked_face_every_tenth_of_a_second():
    tracker = FaceTracker(Counted(), replace(TrackerConfig(), search_s=1.0))
    follow(tracker, [{'ann': 0.0}] * 14)
    assert tracker.estimator.looks[2:] == 3 * [*3 * ['followed'], 'pose network']


def test_it_does_in_every_image_of_a_slow_camera_or_if_the_user_says_so():
    slow, never = Counted(), Counted()
    follow(FaceTracker(slow), [{'ann': 0.0}] * 8, step_ns=100 * MS)
    follow(FaceTracker(never, replace(TrackerConfig(), verify_s=0.0)), [{'ann': 0.0}] * 8)
    assert {*slow.looks} == {*never.looks} == {'pose network'}


def test_it_does_in_every_noisy_image():
    tracker = FaceTracker(Counted())
    follow(tracker, [{'ann': 0.0}] * 3)
    track, = tracker._tracker.tracks
    tracker._tracker.tracks = [replace(track, face=replace(track.face, rotation_std=0.05))]
    follow(tracker, [{'ann': 0.0}], first_ns=3 * 33 * MS)
    assert tracker.estimator.looks[-1] == 'pose network'


def test_it_does_in_the_image_that_covers_a_face():
    tracker = FaceTracker(Counted())
    follow(tracker, [{'ann': 0.0}] * 4)
    tracker.estimator.covered = {'ann'}
    follow(tracker, [{'ann': 0.0}], first_ns=4 * 33 * MS)
    assert tracker.estimator.looks[-1] == 'pose network'


def test_a_face_that_is_predicted_behind_the_camera_is_not_followed():
    tracker = FaceTracker(Counted())
    follow(tracker, [{'ann': 0.0}] * 3)
    track, = tracker._tracker.tracks
    still, rotation = track.motion.filters
    towards = still._replace(motion=still.motion._replace(velocity=(0, 0, -100)), moving=1.0)
    motion = replace(track.motion, filters=(towards, rotation))
    tracker._tracker.tracks = [replace(track, motion=motion)]
    follow(tracker, [{'ann': 0.0}], first_ns=3 * 33 * MS)
    assert tracker.estimator.looks[-1] == 'pose network'
