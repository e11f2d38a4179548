# SPDX-License-Identifier: Apache-2.0
"""Computations that several processes share."""
from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.progress import track

Task, Result = TypeVar('Task'), TypeVar('Result')


def spread(function: Callable[[Task], Result], tasks: list[Task], workers: int,
           title: str) -> Iterator[Result]:
    """Yield the results in the order of the tasks, with a progress bar.

    :param function: of a module, as processes import it.
    :param workers: processes; one computes here.
    """
    if workers <= 1:
        yield from track(map(function, tasks), title, total=len(tasks))
        return
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from track(pool.imap(function, tasks), title, total=len(tasks))
