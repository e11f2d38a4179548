# SPDX-License-Identifier: Apache-2.0
"""A thread that always processes the newest item, so that results are never stale."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Thread


class NewestFirstWorker:
    """Call `work(item)` in a thread of its own for the newest item handed over.

    An item that is still waiting when the next one comes is dropped, and `on_drop()` called.
    """

    def __init__(self, work: Callable, on_drop: Callable[[], None]):
        self._work, self._on_drop = work, on_drop
        self._condition = Condition()
        self._item = None
        self._running = True
        self._thread = Thread(target=self._run, name='depthface', daemon=True)
        self._thread.start()

    def put(self, item) -> None:
        """Hand over an item (anything but None); returns at once."""
        with self._condition:
            if self._item is not None:
                self._on_drop()
            self._item = item
            self._condition.notify()

    def stop(self) -> None:
        """Finish the item in work, drop the waiting one and end the thread."""
        with self._condition:
            self._running = False
            if self._item is not None:
                self._on_drop()
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._item is not None or not self._running)
                if not self._running:
                    return
                item, self._item = self._item, None
            self._work(item)
