# SPDX-License-Identifier: Apache-2.0
"""Signals that end the node."""

from __future__ import annotations

import signal
import time

PATIENCE = 1.5  # s from a first signal to stop; a later one ends the process at once


class Stop:
    """Whether to stop, set by SIGINT, SIGTERM or SIGHUP.

    Ctrl-C in a terminal, systemd and docker may send one signal to the process and to its group.
    So a second one within PATIENCE is a copy of the first; a later one ends a process that hangs.
    """

    def __init__(self):
        self._since: float | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(signal.SIGHUP, self._on_signal)

    def __bool__(self) -> bool:
        return self._since is not None

    def finish(self) -> None:
        """Ignore signals from now on: while Python ends, a late copy would kill the process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number, frame) -> None:
        if self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
