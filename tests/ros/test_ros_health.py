# SPDX-License-Identifier: Apache-2.0
"""The worker processes the newest image, and the heartbeat counts events."""

from __future__ import annotations

import threading

import pytest

from depthface_ros.ros.health import ERROR, OK, WARN, Health, HealthConfig, Problems, RateLimit
from depthface_ros.ros.worker import NewestFirstWorker


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_worker_skips_to_the_newest_item_and_counts_what_it_skipped():
    started, go, done, dropped = threading.Event(), threading.Event(), [], []

    def work(item):
        started.set()
        assert go.wait(10)
        done.append(item)
        if item == 4:
            finished.set()

    finished = threading.Event()
    worker = NewestFirstWorker(work, lambda: dropped.append(1))
    worker.put(1)
    assert started.wait(10)
    for item in (2, 3, 4):  # these arrive while 1 is being processed
        worker.put(item)
    go.set()
    assert finished.wait(10)
    worker.stop()
    assert done == [1, 4] and len(dropped) == 2


def test_a_stopped_worker_drops_pending_items():
    started, go, done = threading.Event(), threading.Event(), []

    def work(item):
        started.set()
        assert go.wait(10)
        done.append(item)

    dropped = []
    worker = NewestFirstWorker(work, lambda: dropped.append(1))
    worker.put('in work')
    assert started.wait(10)
    worker.put('waits')
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    stopping.join(0.1)
    assert stopping.is_alive()  # it waits for the current item
    go.set()
    stopping.join(10)
    assert done == ['in work'] and len(dropped) == 1


def test_rates_are_of_the_time_since_the_previous_report():
    clock = Clock()
    health = Health(clock)
    for _ in range(30):
        health.count('received')
        health.processed(2, 0.010, 0.004)
    health.count('dropped')
    clock.now += 2.0
    report = health.report()
    assert report.rates == pytest.approx(
        {'received': 15, 'processed': 15, 'dropped': 0.5, 'rejected': 0, 'lost': 0})
    assert report.faces == 2 and report.verdict() == (OK, '')
    clock.now += 1.0
    report = health.report()
    assert report.rates['received'] == 0 and report.totals['received'] == 30
    assert report.faces == 0  # no image since


def test_latency_is_reported_as_median_and_95_percent():
    health = Health(Clock())
    for milliseconds in range(1, 102):
        health.processed(1, milliseconds * 1e-3, 0.001)
    assert health.report().latency_s == pytest.approx((0.051, 0.096))
    assert Health(Clock()).report().latency_s is None


def test_a_problem_makes_one_report_unhealthy_and_stays_on_record():
    health = Health(Clock())
    health.problem('the camera is covered')
    assert health.report().verdict() == (WARN, 'the camera is covered')
    report = health.report()
    assert report.verdict() == (OK, '') and report.last_problem == 'the camera is covered'


def test_an_error_outweighs_a_later_warning():
    health = Health(Clock())
    health.problem('no image', ERROR)
    health.problem('an odd image')
    assert health.report().verdict() == (ERROR, 'no image')


def one_second(received=30, processed=30, dropped=0, lost=0, latency_s=0.01):
    """Return the report of one second with these counts."""
    clock = Clock()
    health = Health(clock)
    for name, count in (('received', received), ('dropped', dropped), ('lost', lost)):
        health.count(name, count)
    for _ in range(processed):
        health.processed(1, latency_s, latency_s)
    clock.now += 1.0
    return health.report()


@pytest.mark.parametrize('happened, level, text', [
    ({}, OK, ''),
    ({'processed': 2}, WARN, '2.0 of 30.0 images'),
    ({'processed': 0}, ERROR, '0.0 of 30.0 images'),
    ({'received': 0, 'processed': 0}, OK, ''),  # a slow camera; silence is watched elsewhere
    ({'latency_s': 0.2}, WARN, '200 ms'),
    ({'latency_s': 0.7}, ERROR, '700 ms'),
    ({'processed': 10, 'dropped': 20}, WARN, '67% of the images are dropped'),
    ({'lost': 10}, WARN, '25% of the images got lost'),
    ({'lost': 90}, ERROR, '75% of the images got lost'),
    ({'latency_s': 3600.0}, WARN, 'stamped -3600 s from now'),  # a bag in the time of today
    ({'latency_s': -3600.0}, WARN, 'stamped +3600 s from now'),
], ids=str)
def test_the_verdict_names_the_problem(happened, level, text):
    found, message = one_second(**happened).verdict()
    assert found == level and (text in message if text else not message)


def test_the_thresholds_of_the_verdict_can_be_set():
    strict = HealthConfig(latency_warn=0.001, latency_error=0.005)
    assert one_second(latency_s=0.01).verdict(strict)[0] == ERROR


def test_no_rate_is_reported_while_simulated_time_stands_still_or_jumps_back():
    clock = Clock()
    health = Health(clock)
    for step in (0.0, -50.0):
        clock.now += step
        health.count('received', 30)
        assert health.report().rates['received'] == 0.0
    clock.now += 1.0
    health.count('received', 30)
    assert health.report().rates['received'] == pytest.approx(30)


def test_problems_repeat_in_the_log_seldom_and_in_each_heartbeat_unless_once():
    health, log = Health(Clock()), []
    problems = Problems(health, log.append, seconds=1e9)
    for _ in range(2):
        problems.report('input', 'a bad image')
        assert health.report().problem == 'a bad image'
    problems.report('frame', 'an odd frame', once=True)
    assert health.report().problem == 'an odd frame'
    problems.report('frame', 'an odd frame', once=True)
    assert health.report().problem == '' and log == ['a bad image', 'an odd frame']


def test_each_kind_of_message_is_repeated_at_most_once_in_its_time():
    clock = Clock()
    limit = RateLimit(5.0, clock)
    assert limit.allows('a') and limit.allows('b') and not limit.allows('a')
    clock.now += 4.9
    assert not limit.allows('a')
    clock.now += 0.2
    assert limit.allows('a') and not limit.allows('a')
    once = RateLimit(float('inf'), clock)
    assert once.allows('a')
    clock.now += 1e9
    assert not once.allows('a')


def test_repeated_and_late_images_are_dropped_but_not_for_lack_of_time():
    clock = Clock()
    health = Health(clock)
    health.count('received', 60)
    for _ in range(30):
        health.processed(1, 0.01, 0.01)
    health.count('repeated', 20)
    health.count('late', 10)
    clock.now += 1.0
    report = health.report()
    assert (report.totals['dropped'], report.totals['repeated'], report.totals['late']) == (
        30, 20, 10)
    assert report.verdict() == (OK, '')


@pytest.mark.parametrize('jump', [-3600.0, -1.5, 3600.0])
def test_a_clock_that_is_set_spoils_the_latency_of_no_later_image(jump):
    clock = Clock()
    health = Health(clock)
    for latency_s in [0.01] * 200 + [0.01 + jump] * 100:
        health.processed(1, latency_s, 0.01)
    clock.now += 1.0
    assert health.report().latency_s == pytest.approx((0.01 + jump,) * 2)
    health.count('received', 30)
    for _ in range(30):
        health.processed(1, 0.012, 0.01)
    clock.now += 1.0
    report = health.report()
    assert report.latency_s == pytest.approx((0.012, 0.012)) and report.verdict() == (OK, '')


def test_no_rate_is_reported_when_the_clock_is_set_ahead():
    clock = Clock()
    health = Health(clock)
    health.count('received', 30)
    health.processed(1, 0.01, 0.01)
    clock.now += 3600.0
    assert health.report().verdict() == (OK, '')


def test_texts_of_others_are_neither_kept_nor_repeated_whole():
    health, log = Health(Clock()), []
    problems = Problems(health, log.append)
    for i in range(1000):
        problems.report(f'f{i}' + 'x' * 100_000, f'frame f{i}' + 'x' * 100_000, once=True)
    kept = sum(map(len, problems._once._latest))
    assert kept <= 10_000 and sum(map(len, log)) < 300_000
    assert len(health.report().last_problem) < 3000


def test_a_line_in_the_log_is_printable():
    log = []
    Problems(Health(Clock()), log.append).report('input', 'encoding \x1b[31m[ERROR]\x07\x00')
    assert log[0].isprintable()


def test_an_old_kind_makes_room_for_a_new_one():
    clock = Clock()
    limit = RateLimit(5.0, clock)
    assert [limit.allows(str(i)) for i in range(101)] == [True] * 100 + [False]
    clock.now += 6.0
    assert limit.allows('100') and len(limit._latest) == 1
