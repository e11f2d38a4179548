# SPDX-License-Identifier: Apache-2.0
"""Measure the data stall: the fraction of time in which the optimiser waits for a batch."""
from __future__ import annotations

import time

import torch


class DataStall:
    """Accumulate the time between `request` and `receive`.

    A GPU still works while the process waits for the next batch. There, a stall is the time between
    two events of its queue, which differ only if the queue has run dry.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == 'cuda'
        self._spans: list[tuple] = []
        self._since = time.perf_counter()

    def request(self) -> None:
        self._requested = self._now()

    def receive(self) -> None:
        self._spans.append((self._requested, self._now()))

    def fraction(self) -> float:
        """Return the stalled fraction, 0..1, since the last call."""
        if self._on_gpu:
            torch.cuda.synchronize()
            waited = sum(start.elapsed_time(end) for start, end in self._spans) / 1000
        else:
            waited = sum(end - start for start, end in self._spans)
        now = time.perf_counter()
        fraction, self._since, self._spans = waited / (now - self._since), now, []
        return fraction

    def _now(self):
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
