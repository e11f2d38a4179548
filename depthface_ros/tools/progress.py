# SPDX-License-Identifier: Apache-2.0
"""Show progress: a bar by rich where it is installed, else a line every five seconds."""
from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator


def progress(items: Iterable, total: int | None, what: str) -> Iterator:
    """Yield the items and show progress on stderr; `total` may be unknown."""
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        yield from _lines(items, total, what)
    else:
        yield from track(items, what, total, console=Console(stderr=True), transient=True)


def _lines(items: Iterable, total: int | None, what: str) -> Iterator:
    of_total = f' of {total}' if total else ''
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f'{what}: {done}{of_total}', file=sys.stderr, flush=True)
        yield item
