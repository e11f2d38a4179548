# SPDX-License-Identifier: Apache-2.0
"""Health of the node: counts, rates, latency, the latest problem and a verdict; without ROS."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from depthface_ros.io.quoting import clipped
from depthface_ros.settings import setting

COUNTS = ('received', 'processed', 'dropped', 'rejected', 'lost')
SKIPS = ('repeated', 'late')  # reasons of dropped images other than lack of time
OK, WARN, ERROR = range(3)  # the levels of diagnostic_msgs/DiagnosticStatus
FOREIGN_CLOCK = 10.0  # s; a longer latency means that stamps and node use different clocks
AHEAD = -0.5  # s; a latency below this means that stamps lie in the future
CLOCK_JUMP = 1.0  # s; a larger change of the latency means that a clock was set
LONGEST_PERIOD = 10.0  # s of the node's clock between two reports, unless it jumped
MOST_KINDS, LONGEST_KIND = 100, 100  # kinds of messages that are kept, and characters of each


@dataclass(frozen=True)
class HealthConfig:
    """Limits beyond which /diagnostics warns or reports an error."""

    rate_warn: float = setting(3.0, 'Hz; a lower rate of processed images is a warning.', 0.0,
                               1000.0)
    rate_error: float = setting(0.5, 'Hz; a lower rate is an error.', 0.0, 1000.0)
    latency_warn: float = setting(
        0.1, 'Seconds from stamp to publication; more for one image in 20 is a warning.',
        0.0, 60.0)
    latency_error: float = setting(0.5, 'Seconds; more is an error.', 0.0, 60.0)
    dropped_warn: float = setting(
        0.5, 'Fraction of images dropped for lack of time; more is a warning.', 0.0, 1.0)
    dropped_error: float = setting(0.9, 'Fraction; more is an error.', 0.0, 1.0)
    lost_warn: float = setting(
        0.05, 'Fraction of images lost on their way to the node; more is a warning.', 0.0, 1.0)
    lost_error: float = setting(0.5, 'Fraction; more is an error.', 0.0, 1.0)


@dataclass(frozen=True)
class Report:
    """The content of one heartbeat. Rates are those since the previous report."""

    camera: str  # its frame, or the topic of its images
    time_source: str  # of the images: see StampMonitor.source
    faces: int
    totals: dict[str, int]  # by name of COUNTS and SKIPS
    rates: dict[str, float]  # Hz, by name of COUNTS
    skipped: float  # Hz, of all SKIPS
    latency_s: tuple[float, float] | None  # image stamp to publication: median and 95 %
    work_s: tuple[float, float] | None  # the part of the latency within this node
    problem: str  # the worst and latest since the previous report, or ''
    level: int  # of this problem
    last_problem: str  # the latest of all, or ''

    def verdict(self, config: HealthConfig = HealthConfig()) -> tuple[int, str]:
        """Return the level and the text of the worst fault, or '' if there is none."""
        received, processed, dropped, _, lost = (self.rates[name] for name in COUNTS)
        dropped -= self.skipped
        found = [(self.level, self.problem)]
        if received > 0:
            found += [
                # A slow camera sends nothing in some seconds, so only received images count.
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
        # A problem is the cause; the figures only show its effect.
        return level, self.problem or (text if level else '')


class Health:
    """Collects events of the node's threads; `report()` sums them up.

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
        self.camera, self.time_source = '', 'stamps'

    def count(self, name: str, more: int = 1) -> None:
        """Count images of one of COUNTS, or of SKIPS, which are dropped as well."""
        with self._lock:
            self._totals[name] += more
            if name in SKIPS:
                self._totals['dropped'] += more

    def processed(self, faces: int, latency_s: float, work_s: float) -> None:
        """Count an image that was processed completely."""
        with self._lock:
            self._totals['processed'] += 1
            self._faces = faces
            if self._latency_s and abs(latency_s - self._latency_s[-1]) > CLOCK_JUMP:
                self._latency_s.clear()  # a clock was set: earlier figures are not comparable
            self._latency_s.append(latency_s)
            self._work_s.append(work_s)

    def problem(self, text: str, level: int = WARN) -> None:
        """Keep a problem for the next report."""
        with self._lock:
            self._last_problem = text
            if level >= self._level:
                self._problem, self._level = text, level

    def forget_latency(self) -> None:
        """Drop the latencies measured so far, at a new start of the node."""
        with self._lock:
            self._latency_s.clear()
            self._work_s.clear()

    def report(self) -> Report:
        """Sum up the time since the previous report."""
        with self._lock:
            now = self._clock()
            seconds = now - self._before_time
            totals = {name: self._totals[name] for name in (*COUNTS, *SKIPS)}
            # Simulated time may stand still, and any clock may be set; no rate is defined then.
            per_second = 1 / seconds if 0 < seconds <= LONGEST_PERIOD else 0.0
            rates = {name: (total - self._before[name]) * per_second
                     for name, total in totals.items()}
            report = Report(
                self.camera, self.time_source, self._faces if rates['processed'] else 0, totals,
                {name: rates[name] for name in COUNTS}, sum(rates[name] for name in SKIPS),
                _median_and_95(self._latency_s), _median_and_95(self._work_s),
                self._problem, self._level, self._last_problem)
            self._before, self._before_time = Counter(totals), now
            self._problem, self._level = '', OK
            return report


class RateLimit:
    """Limits messages of each kind to one in so many seconds; infinity means once."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._latest: dict[str, float] = {}

    def allows(self, kind: str) -> bool:
        """Return whether a message of this kind may be written now, and count it as written."""
        now, kind = self._clock(), kind[:LONGEST_KIND]
        if now - self._latest.get(kind, -np.inf) < self._seconds:
            return False
        if len(self._latest) >= MOST_KINDS:  # bounds memory and log for any number of kinds
            self._latest = {kind: then for kind, then in self._latest.items()
                            if now - then < self._seconds}
            if len(self._latest) >= MOST_KINDS:
                return False
        self._latest[kind] = now
        return True


class Problems:
    """Puts problems into the heartbeat and, at a limited rate, into the log.

    :param warn: writes a line into the log.
    """

    def __init__(self, health: Health, warn: Callable[[str], None], seconds: float = 5.0):
        self._health, self._warn = health, warn
        self._repeat, self._once = RateLimit(seconds), RateLimit(float('inf'))

    def report(self, kind: str, text: str, once: bool = False, error: bool = False) -> None:
        """Report a problem; if `once`, only the first one of its kind.

        :param kind: from a fixed set; never a text of a message or file.
        """
        allowed = (self._once if once else self._repeat).allows(kind)
        if once and not allowed:
            return
        text = clipped(text)
        self._health.problem(text, ERROR if error else WARN)
        if allowed:
            self._warn(text)


def _graded(value: float, warn: float, error: float) -> int:
    return ERROR if value > error else WARN if value > warn else OK


def _median_and_95(values) -> tuple[float, float] | None:
    return tuple(np.percentile(list(values), (50, 95)).tolist()) if values else None
