# SPDX-License-Identifier: Apache-2.0
"""Signals that end the node and the command line."""

from __future__ import annotations

import signal
import time

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 1.5  # s from a first signal to stop; a later one ends the process at once


class Stop:
    """Whether to stop, set by SIGINT, SIGTERM or SIGHUP.

    Ctrl-C in a terminal, systemd and docker may send one signal to the process and to its group.
    So a second one within PATIENCE is a copy of the first; a later one ends a process that hangs.
    """

    def __init__(self):
        self._since: float | None = None
        for number in SIGNALS:
            # nohup sets SIGHUP to be ignored
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def __bool__(self) -> bool:
        return self._since is not None

    def finish(self) -> None:
        """Ignore signals from now on: while Python ends, a late copy would kill the process."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number, frame) -> None:
        if self._since is None:
            self._since = time.monotonic()
            self._begin(number)
        elif time.monotonic() - self._since > PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _begin(self, number: int) -> None:
        """Act on the first signal."""


class Interruption(Stop):
    """A first signal of any kind raises KeyboardInterrupt, so that files are closed.

    A context: afterwards the handlers are those from before.
    """

    def __init__(self):
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.status = 0  # of the process that a signal ends, as a shell reports it
        super().__init__()

    def __enter__(self) -> Interruption:
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _begin(self, number: int) -> None:
        self.status = 128 + number
        raise KeyboardInterrupt
