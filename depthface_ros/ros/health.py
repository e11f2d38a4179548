# SPDX-License-Identifier: Apache-2.0
"""How the node is doing: counts, rates, latency, the latest problem and a verdict; without ROS."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from depthface_ros.settings import setting

COUNTS = ('received', 'processed', 'dropped', 'rejected', 'lost')
OK, WARN, ERROR = range(3)  # as diagnostic_msgs/DiagnosticStatus has them
FOREIGN_CLOCK = 10.0  # s between stamps and clock that no network takes; ...
AHEAD = -0.5  # ... and so much in the future nothing can be


@dataclass(frozen=True)
class HealthConfig:
    """From when on /diagnostics warns, and from when on it calls that an error."""

    rate_warn: float = setting(3.0, 'Hz; fewer images worked on are a warning.', 0.0, 1000.0)
    rate_error: float = setting(0.5, 'Hz; fewer are an error.', 0.0, 1000.0)
    latency_warn: float = setting(
        0.1, 'Seconds from stamp to publication; more for one image in 20 is a warning.',
        0.0, 60.0)
    latency_error: float = setting(0.5, 'Seconds; more is an error.', 0.0, 60.0)
    dropped_warn: float = setting(
        0.5, 'Share of the images that came while there was no time for them; more is a warning.',
        0.0, 1.0)
    dropped_error: float = setting(0.9, 'Share of them; more is an error.', 0.0, 1.0)
    lost_warn: float = setting(
        0.05, 'Share of the images that got lost on their way to the node; more is a warning.',
        0.0, 1.0)
    lost_error: float = setting(0.5, 'Share of them; more is an error.', 0.0, 1.0)


@dataclass(frozen=True)
class Report:
    """What one heartbeat tells. Rates are of the time since the previous report."""

    faces: int
    totals: dict[str, int]  # by name of COUNTS
    rates: dict[str, float]  # Hz, by name of COUNTS
    latency_s: tuple[float, float] | None  # image stamp to publication: median and 95 %
    work_s: tuple[float, float] | None  # the part of it in this node's hands
    problem: str  # the worst and latest since the previous report, or ''
    level: int  # of this problem
    last_problem: str  # the latest of all, or ''

    def verdict(self, config: HealthConfig = HealthConfig()) -> tuple[int, str]:
        """The level, and what is wrong with the worst of all that is wrong, or ''."""
        received, processed, dropped, _, lost = (self.rates[name] for name in COUNTS)
        found = [(self.level, self.problem)]
        if received > 0:
            found += [
                # In one second out of two a slow camera sends nothing: only what came counts.
                (_graded(-processed, -config.rate_warn, -config.rate_error),
                 f'{processed:.1f} of {received:.1f} images a second are worked on'),
                (_graded(dropped / received, config.dropped_warn, config.dropped_error),
                 f'{dropped / received:.0%} of the images are dropped: this machine is too slow '
                 'for the camera'),
                (_graded(lost / (lost + received), config.lost_warn, config.lost_error),
                 f'{lost / (lost + received):.0%} of the images got lost on their way')]
        if self.latency_s:
            median, slow = self.latency_s
            if not AHEAD < median < FOREIGN_CLOCK:
                found.append((WARN, (
                    f'images are stamped {-median:+.0f} s from now: expected this clock; for a '
                    'bag `ros2 bag play --clock` and use_sim_time, else synchronise the clocks')))
            else:
                found.append((_graded(slow, config.latency_warn, config.latency_error),
                              f'{slow * 1e3:.0f} ms from stamp to publication'))
        level, text = max(found, key=lambda item: item[0])
        # A problem says why, where the figures only say that.
        return level, self.problem or (text if level else '')


class Health:
    """Collects what happens in the node's threads; `report()` sums it up.

    :param clock: seconds, of the node: in a simulation rates are of simulated time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, window: int = 256):
        self._clock = clock
        self._lock = Lock()
        self._totals = Counter()
        self._before, self._before_time = Counter(), clock()
        self._latency_s, self._work_s = deque(maxlen=window), deque(maxlen=window)
        self._faces = 0
        self._problem, self._level, self._last_problem = '', OK, ''

    def count(self, name: str, more: int = 1) -> None:
        """More images that were received, dropped, rejected or lost."""
        with self._lock:
            self._totals[name] += more

    def processed(self, faces: int, latency_s: float, work_s: float) -> None:
        """One more image that was worked on to its end."""
        with self._lock:
            self._totals['processed'] += 1
            self._faces = faces
            self._latency_s.append(latency_s)
            self._work_s.append(work_s)

    def problem(self, text: str, level: int = WARN) -> None:
        """Remember what went wrong for the next report."""
        with self._lock:
            self._last_problem = text
            if level >= self._level:
                self._problem, self._level = text, level

    def forget_latency(self) -> None:
        """What was measured so far is no longer of interest: the node starts anew."""
        with self._lock:
            self._latency_s.clear()
            self._work_s.clear()

    def report(self) -> Report:
        """Sum up what happened since the previous report."""
        with self._lock:
            now = self._clock()
            seconds = now - self._before_time
            totals = {name: self._totals[name] for name in COUNTS}
            # Simulated time may stand still or jump back: nothing can be said then.
            rates = {name: (totals[name] - self._before[name]) / seconds if seconds > 0 else 0.0
                     for name in COUNTS}
            report = Report(self._faces if rates['processed'] else 0, totals, rates,
                            _median_and_95(self._latency_s), _median_and_95(self._work_s),
                            self._problem, self._level, self._last_problem)
            self._before, self._before_time = Counter(totals), now
            self._problem, self._level = '', OK
            return report


class RateLimit:
    """Says whether to repeat a message: each kind at most once in so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._latest: dict[str, float] = {}

    def allows(self, kind: str) -> bool:
        now = self._clock()
        if now - self._latest.get(kind, -np.inf) < self._seconds:
            return False
        self._latest[kind] = now
        return True


class Problems:
    """Puts what is wrong into the heartbeat, and into the log but of one kind seldom.

    :param warn: writes a line into the log.
    """

    def __init__(self, health: Health, warn: Callable[[str], None], seconds: float = 5.0):
        self._health, self._warn = health, warn
        self._repeat, self._once = RateLimit(seconds), RateLimit(float('inf'))

    def report(self, kind: str, text: str, once: bool = False, error: bool = False) -> None:
        """Tell of a problem; if `once`, only the first of its kind is one."""
        allowed = (self._once if once else self._repeat).allows(kind)
        if allowed or not once:
            self._health.problem(text, ERROR if error else WARN)
        if allowed:
            self._warn(text)


def _graded(value: float, warn: float, error: float) -> int:
    return ERROR if value > error else WARN if value > warn else OK


def _median_and_95(values) -> tuple[float, float] | None:
    return tuple(np.percentile(list(values), (50, 95)).tolist()) if values else None
