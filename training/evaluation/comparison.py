# SPDX-License-Identifier: Apache-2.0
"""Two evaluations side by side: what changed by more than chance explains."""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from training.evaluation.figures import WITHIN

BEYOND_NOISE = 3.0  # standard errors: of some thousand figures one or two pass by chance

LEAST_FACES = 20  # in a group: the bootstrap knows little of the error of fewer


class Change(NamedTuple):
    """One figure of two evaluations."""

    name: str  # path in the tree, joined by ' / '
    before: float
    now: float
    sigmas: float  # the difference in its standard errors, as if the frames were others
    worse: bool


def changes(before: dict, now: dict) -> list[Change]:
    """Figures that differ beyond noise, the surest first."""
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
    """All [value, error] pairs of a tree by their paths, but those of a few faces only.

    Errors of guesses are left out: they tell of the frames, not of the estimates.
    """
    if tree.get('faces', LEAST_FACES) < LEAST_FACES:
        return
    for name, branch in tree.items():
        if isinstance(branch, dict):
            yield from figures(branch, (*path, name))
        elif isinstance(branch, list) and name != 'guess_error':
            yield ' / '.join((*path, name)), branch


def badness(name: str, value: float) -> float:
    """Return a number that is larger for worse figures: slopes should be 1, shares near their aim."""
    if name.endswith('correlation'):
        return -value
    if name.endswith('slope'):
        return abs(value - 1)
    for k, percent in WITHIN.items():
        if name.endswith(f'within_{k}_sigma'):
            return abs(value - percent)
    return value
