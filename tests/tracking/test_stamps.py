# SPDX-License-Identifier: Apache-2.0
"""Times of images increase and no stream stops, for any stamps."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depthface_ros.tracking.stamps import (
    PATIENCE,
    STEP_NS,
    Change,
    ImageTime,
    StampMonitor,
    fingerprint,
)

MS = 10 ** 6
SECOND = 10 ** 9
NOW = 1_700_000_000 * SECOND


def play(stamps_ns, monitor=None, arrival_ns=lambda i: None, content=lambda i: b'%d' % i):
    """Return times of images with these stamps; by default all differ, and arrival is unknown."""
    monitor = monitor or StampMonitor()
    return [monitor.check(stamp, content(i), arrival_ns(i)) for i, stamp in enumerate(stamps_ns)]


def live(i):
    """Arrival of the images of a live camera at 10 Hz."""
    return NOW + i * 100 * MS


def faults(times):
    return [time.fault for time in times]


def stamps(times):
    return [time.stamp_ns for time in times]


def steady(count, first=NOW, step=100 * MS):
    return [first + i * step for i in range(count)]


def test_good_stamps_are_used_as_they_are():
    assert play(steady(20)) == [ImageTime(stamp) for stamp in steady(20)]


@pytest.mark.parametrize('step_ms', [1, 33, 250, 300, 500, 1000, 60_000])
def test_any_camera_rate_is_good(step_ms):
    times = play(steady(20, step=step_ms * MS), arrival_ns=lambda i: NOW + i * step_ms * MS)
    assert stamps(times) == steady(20, step=step_ms * MS) and not any(faults(times))
    assert not any(time.note for time in times)


def test_a_repeated_image_is_skipped_each_time():
    twice = [stamp for stamp in steady(10) for _ in range(2)]
    times = play(twice, content=lambda i: b'%d' % (i // 2))
    assert faults(times) == ['', 'repeated'] * 10
    assert stamps(times[::2]) == steady(10)


def test_the_second_of_two_images_with_one_stamp_is_skipped_as_well():
    """Their contents differ, but a frame can be published once per stamp."""
    twice = [stamp for stamp in steady(10) for _ in range(2)]
    assert faults(play(twice)) == ['', 'repeated'] * 10


@pytest.mark.parametrize('stamp', [NOW, NOW - 3600 * SECOND, NOW + 3600 * SECOND])
def test_stamps_that_stand_still_give_way_to_the_time_of_arrival(stamp):
    times = play([stamp] * 10, arrival_ns=live)
    assert faults(times) == ['', 'repeated', 'repeated'] + [''] * 7
    if stamp <= NOW:
        assert stamps(times[3:]) == [live(i) for i in range(3, 10)]
    assert [time.kind for time in times if time.note] == ['repeated', 'repeated', 'standing']


def test_a_frozen_image_stream_goes_on_by_the_time_of_arrival():
    times = play([NOW] * 40, arrival_ns=live, content=lambda i: b'frozen')
    assert faults(times) == [''] + ['repeated'] * PATIENCE['repeated'] + [''] * 9


def test_images_that_are_never_stamped_are_timed_by_their_arrival():
    times = play([None] * 5, arrival_ns=live)
    assert stamps(times) == [live(i) for i in range(5)] and not any(faults(times))
    assert [time.kind for time in times] == [''] + ['never set'] * 4


def test_without_arrival_unstamped_images_are_counted_and_their_time_is_unknown():
    times = play([None] * 3)
    assert stamps(times) == [STEP_NS, 2 * STEP_NS, 3 * STEP_NS]
    assert not any(time.timed for time in times)


def test_an_arrival_that_stands_still_is_no_time():
    """As in a paused simulation."""
    times = play([None] * 4, arrival_ns=lambda i: NOW)
    assert [time.timed for time in times] == [True, False, False, False]
    assert np.all(np.diff(stamps(times)) > 0)


def test_an_unset_stamp_among_good_ones_is_skipped():
    mixed = [None if i % 3 == 1 else stamp for i, stamp in enumerate(steady(30))]
    times = play(mixed, arrival_ns=live)
    assert faults(times) == ['', 'unset', ''] * 10
    assert not any(time.change is Change.RESTART for time in times)


def test_a_first_image_without_stamp_does_no_harm():
    times = play([None, *steady(10, NOW + 70 * MS)], arrival_ns=live)
    assert stamps(times[1:]) == steady(10, NOW + 70 * MS) and not any(faults(times))
    assert not any(time.note for time in times)  # simulations start at zero


def test_a_driver_that_loses_its_clock_is_timed_by_arrival():
    times = play(steady(5) + [None] * 20, arrival_ns=live)
    assert faults(times) == [''] * 5 + ['unset'] * PATIENCE['unset'] + [''] * 11
    assert stamps(times[14:]) == [live(i) for i in range(14, 25)]


@pytest.mark.parametrize('ahead_ms', [1000, 1500, 10_000, 10 ** 9])
def test_one_stamp_that_jumps_ahead_of_the_clock_is_skipped_and_the_next_ones_are_not(ahead_ms):
    jumpy = steady(30)
    jumpy[7] += ahead_ms * MS
    jumpy[20] += ahead_ms * MS
    times = play(jumpy, arrival_ns=live)
    assert [i for i, fault in enumerate(faults(times)) if fault] == [7, 20]
    assert all(time.change is not Change.RESTART for time in times)


@pytest.mark.parametrize('ahead_ms', [500, 900, 1500, 10 ** 9])
def test_without_a_clock_a_jump_ahead_is_followed_and_taken_back(ahead_ms):
    """The images after it are not late."""
    jumpy = steady(20)
    jumpy[7] += ahead_ms * MS
    times = play(jumpy)
    assert not any(faults(times))
    assert times[7].change is Change.JUMP and times[8].change is Change.RESUME
    assert times[8].note and not times[7].note  # the same as a pause of the camera


def test_stamps_far_ahead_take_no_memory():
    monitor = StampMonitor()
    for i in range(5000):
        monitor.check(NOW + i * 33 * MS + (i % 3 == 2) * 10 ** 6 * SECOND, b'%d' % i)
    assert len(monitor._used) <= 100


def test_a_stamp_that_a_wrong_one_has_used_is_moved_by_a_nanosecond():
    jumpy = steady(20)
    jumpy[7] += 500 * MS
    accepted = stamps(play(jumpy))
    assert len(set(accepted)) == 20 and accepted[12] == jumpy[12] + 1


def test_a_pause_of_the_camera_is_no_fault():
    paused = steady(5) + steady(5, NOW + 30 * SECOND)
    times = play(paused, arrival_ns=lambda i: paused[i] + 20 * MS)
    assert not any(faults(times)) and not any(time.note for time in times)
    assert [time.change for time in times].count(Change.JUMP) == 1


def test_a_clock_that_is_set_ahead_for_good_is_followed():
    times = play(steady(5) + steady(5, NOW + 5 * SECOND), arrival_ns=live)
    assert faults(times) == [''] * 5 + ['ahead'] + [''] * 4


def test_a_late_image_is_skipped():
    assert faults(play([0, 100 * MS, 200 * MS, 150 * MS, 300 * MS])) == ['', '', '', 'late', '']


def test_stamps_that_fall_back_for_one_image_restart_and_resume():
    fallen = steady(20)
    fallen[7] -= 5 * SECOND
    times = play(fallen)
    assert times[7].change is Change.RESTART and times[8].change is Change.RESUME
    assert not any(faults(times))


def test_a_recording_that_starts_again_restarts_at_its_first_image():
    times = play(steady(20) * 2)
    assert not any(faults(times)) and times[20].change is Change.RESTART
    assert [time.change for time in times].count(Change.RESTART) == 1


@pytest.mark.parametrize('arrival_ns', [lambda i: None, live], ids=['recorded', 'live'])
def test_a_short_recording_in_a_loop_starts_anew_once_and_loses_no_more_images(arrival_ns):
    clip = steady(6, NOW - 3600 * SECOND)
    times = play(clip * 10, arrival_ns=arrival_ns)
    assert [i for i, fault in enumerate(faults(times)) if fault] == [6, 7]
    assert [time.kind for time in times if time.note] == ['late', 'late', 'loops']
    accepted = [time.stamp_ns for time in times if not time.fault]
    assert np.all(np.diff(accepted) > 0)


def test_a_clock_that_is_set_back_a_little_is_relied_on_again():
    set_back = steady(10) + steady(60, NOW + 500 * MS)
    times = play(set_back, arrival_ns=lambda i: set_back[i] + 30 * MS)
    assert faults(times).count('late') <= 4
    assert stamps(times[-30:]) == set_back[-30:]
    assert all(time.change is Change.NONE for time in times)


def test_stamps_that_stay_behind_the_time_of_arrival_cost_no_image():
    """They are half a second old when images arrive, and were not advancing before."""
    stamps_ns = [NOW - SECOND] * 4 + steady(60, NOW - 100 * MS)
    times = play(stamps_ns, arrival_ns=live)
    assert faults(times) == ['', 'repeated', 'repeated'] + [''] * 61


def test_images_of_a_second_clock_never_end_the_timeline_of_the_first():
    first, second = steady(20), steady(20, NOW - 3600 * SECOND)
    times = play([stamp for pair in zip(first, second) for stamp in pair])
    assert not any(faults(times))
    assert [time.change for time in times[2:]] == [Change.RESUME, Change.RESTART] * 19


def test_a_clock_that_goes_to_and_fro_has_two_timelines():
    """Two clocks alternate every ten images."""
    clocks = [steady(100), steady(100, NOW - 3600 * SECOND)]
    stamps_ns = [clocks[i // 10 % 2][i] for i in range(60)]
    times = play(stamps_ns)
    changes = [time.change for time in times[10::10]]
    assert not any(faults(times)) and Change.RESTART in changes
    assert stamps(times) == stamps_ns


odd_stamps = st.lists(st.one_of(
    st.none(), st.integers(-10, 2 ** 63), st.integers(0, 5 * SECOND),
    st.integers(0, 50).map(lambda i: i * 33 * MS)), max_size=80)


@given(odd_stamps, st.booleans(), st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0]))
@example([5, 4] * 40, True, 3, 1.0)
def test_times_increase_and_images_pass_for_any_stamps(stamps_ns, live_, pixels, jump):
    """Content has few values, so images repeat at random as well."""
    monitor, newest, skipped = StampMonitor(jump), None, 0
    rng = np.random.default_rng(0)
    aside = []
    for i, stamp in enumerate(stamps_ns):
        time = monitor.check(stamp, b'%d' % rng.integers(pixels + 1), live(i) if live_ else None)
        if time.fault:
            skipped += 1
            assert skipped <= max(PATIENCE.values()) and time.note or time.kind == 'late'
            continue
        skipped = 0
        assert type(time.stamp_ns) is int
        if time.change is Change.RESTART or time.change is Change.RESUME:
            aside.append(newest)
        elif newest is not None:
            assert time.stamp_ns > newest
        newest = time.stamp_ns


@given(st.lists(st.integers(0, 3 * SECOND), max_size=50))
def test_without_contents_no_image_counts_as_repeated(stamps_ns):
    assert 'repeated' not in faults(play(stamps_ns, content=lambda i: None))


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_fingerprints_of_images_with_noise_differ_and_those_of_copies_do_not(dtype):
    rng = np.random.default_rng(0)
    depth = (1000 + rng.normal(scale=2.0, size=(480, 640))).astype(dtype)
    other = (1000 + rng.normal(scale=2.0, size=(480, 640))).astype(dtype)
    assert fingerprint(depth) == fingerprint(depth.copy()) != fingerprint(other)
    assert fingerprint(np.full((48, 64), np.nan, np.float32)) == fingerprint(
        np.full((48, 64), np.nan, np.float32))
