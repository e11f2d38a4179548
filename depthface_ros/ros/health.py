# SPDX-License-Identifier: Apache-2.0
"""How the node is doing: counts, rates, latency and the latest problem; without ROS."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

COUNTS = ('received', 'processed', 'dropped', 'rejected')


@dataclass(frozen=True)
class Report:
    """What one heartbeat tells. Rates are of the time since the previous report."""

    faces: int
    totals: dict[str, int]  # by name of COUNTS
    rates: dict[str, float]  # Hz, by name of COUNTS
    latency_s: tuple[float, float] | None  # image stamp to publication: median and 95 %
    work_s: tuple[float, float] | None  # the part of it in this node's hands
    problem: str  # the latest since the previous report, or ''
    last_problem: str  # the latest of all, or ''

    @property
    def healthy(self) -> bool:
        return not self.problem


class Health:
    """Collects what happens in the node's threads; `report()` sums it up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, window: int = 256):
        self._clock = clock
        self._lock = Lock()
        self._totals = Counter()
        self._before, self._before_time = Counter(), clock()
        self._latency_s, self._work_s = deque(maxlen=window), deque(maxlen=window)
        self._faces = 0
        self._problem = self._last_problem = ''

    def count(self, name: str) -> None:
        """One more image that was received, dropped or rejected."""
        with self._lock:
            self._totals[name] += 1

    def processed(self, faces: int, latency_s: float, work_s: float) -> None:
        """One more image that was worked on to its end."""
        with self._lock:
            self._totals['processed'] += 1
            self._faces = faces
            self._latency_s.append(latency_s)
            self._work_s.append(work_s)

    def problem(self, text: str) -> None:
        """Remember what went wrong for the next report."""
        with self._lock:
            self._problem = self._last_problem = text

    def report(self) -> Report:
        """Sum up what happened since the previous report."""
        with self._lock:
            now = self._clock()
            seconds = max(now - self._before_time, 1e-6)
            totals = {name: self._totals[name] for name in COUNTS}
            rates = {name: (totals[name] - self._before[name]) / seconds for name in COUNTS}
            report = Report(self._faces if rates['processed'] else 0, totals, rates,
                            _median_and_95(self._latency_s), _median_and_95(self._work_s),
                            self._problem, self._last_problem)
            self._before, self._before_time, self._problem = Counter(totals), now, ''
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

    def report(self, kind: str, text: str, once: bool = False) -> None:
        """Tell of a problem; if `once`, the log has the first of its kind only."""
        self._health.problem(text)
        if (self._once if once else self._repeat).allows(kind):
            self._warn(text)


def _median_and_95(values) -> tuple[float, float] | None:
    return tuple(np.percentile(list(values), (50, 95)).tolist()) if values else None
