# SPDX-License-Identifier: Apache-2.0
"""Whether batches come fast enough: the share of time in which the optimiser has nothing to do."""
from __future__ import annotations

import time

import torch


class Waiting:
    """Adds up the time between `ask` and `got`; on a GPU only what it spends with no work left.

    A GPU works on while the process waits for the next batch, so there two events tell when it
    came to each place: they lie apart only if its queue had run dry.
    """

    def __init__(self, device: torch.device):
        self._on_gpu = device.type == 'cuda'
        self._spans: list[tuple] = []
        self._since = time.perf_counter()

    def ask(self) -> None:
        self._asked = self._now()

    def got(self) -> None:
        self._spans.append((self._asked, self._now()))

    def share(self) -> float:
        """0..1, since the last time this was asked for."""
        if self._on_gpu:
            torch.cuda.synchronize()
            waited = sum(start.elapsed_time(end) for start, end in self._spans) / 1000
        else:
            waited = sum(end - start for start, end in self._spans)
        now = time.perf_counter()
        share, self._since, self._spans = waited / (now - self._since), now, []
        return share

    def _now(self):
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
