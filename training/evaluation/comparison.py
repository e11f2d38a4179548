# SPDX-License-Identifier: Apache-2.0
"""Compare two evaluations: report the figures that changed beyond their standard errors."""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from training.evaluation.figures import WITHIN

BEYOND_NOISE = 3.0  # standard errors; among some thousand figures one or two exceed it by chance

LEAST_FACES = 20  # in a group; bootstrapped errors of smaller groups are unreliable


class Change(NamedTuple):
    """One figure in two evaluations."""

    name: str  # path in the tree, joined by ' / '
    before: float
    now: float
    sigmas: float  # the difference in its standard errors, as for independent frames
    worse: bool


def changes(before: dict, now: dict) -> list[Change]:
    """Return the figures that differ by more than BEYOND_NOISE, the most significant first."""
    old = dict(figures(before))
    found = []
    for name, (value, error) in figures(now):
        if name not in old or not math.isfinite(value) or not math.isfinite(old[name][0]):
            continue
        difference = value - old[name][0]
        noise = math.hypot(error, old[name][1])
        sigmas = abs(difference) / noise if noise else math.inf * bool(difference)
        if difference and sigmas > BEYOND_NOISE:
            found.append(Change(name, old[name][0], value, sigmas,
                                badness(name, value) > badness(name, old[name][0])))
    return sorted(found, key=lambda change: -change.sigmas)


def figures(tree: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, list[float]]]:
    """Yield the path and [value, error] of each figure in a tree.

    Groups with fewer than LEAST_FACES faces are left out. So is `guess_error`, which depends on the
    frames alone, not on the estimates.
    """
    if tree.get('faces', LEAST_FACES) < LEAST_FACES:
        return
    for name, branch in tree.items():
        if isinstance(branch, dict):
            yield from figures(branch, (*path, name))
        elif isinstance(branch, list) and name != 'guess_error':
            yield ' / '.join((*path, name)), branch


def badness(name: str, value: float) -> float:
    """Return a number that is larger for worse figures.

    Slopes are compared with 1, and coverages with the percentages of a normal distribution.
    """
    if name.endswith('correlation') or 'explained_percent' in name:
        return -value
    if name.endswith('slope'):
        return abs(value - 1)
    for k, percent in WITHIN.items():
        if name.endswith(f'within_{k}_sigma'):
            return abs(value - percent)
    return value
