# SPDX-License-Identifier: Apache-2.0
"""Results of studies that train many networks: a file for each row and seed, so a study can resume."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np


def result_name(row: str, seed: int | str) -> str:
    """Return the name of the files of a row."""
    return f'{row.replace(",", "").replace(" ", "-")}-{seed}'


def compute_once(path: Path, compute: Callable[[], dict]) -> None:
    """Compute figures unless their file exists, so a study can resume and its table be printed again."""
    if not path.exists():
        path.write_text(json.dumps(compute(), indent=1) + '\n')
        print(path.stem, path.read_text().replace('\n', ''), flush=True)


def results_of(folder: Path, row: str) -> dict[str, dict]:
    """Return the figures of a row by name, one for each finished seed."""
    return {path.stem: json.loads(path.read_text())
            for path in sorted(folder.glob(f'{result_name(row, "[0-9]*")}.json'))}


def mean_and_spread(figures: np.ndarray) -> str:
    """Format mean and standard deviation of a figure (S,) of S seeds."""
    spread = f' ± {figures.std(ddof=1):.2f}' if len(figures) > 1 else ''
    return f'{figures.mean():.2f}{spread}'


def change(values: list[list[float]], before: list[list[float]]) -> tuple[float, float, float]:
    """Return the mean of figures (S, F), its change against `before` (1, F), and the standard error.

    The S seeds of a fold share its people, so they are averaged first; the error is over the F folds.
    """
    of_folds = np.mean(values, axis=0)
    changes = of_folds - np.mean(before, axis=0)
    error = changes.std(ddof=1) / len(changes) ** 0.5 if len(changes) > 1 else np.nan
    return float(of_folds.mean()), float(changes.mean()), float(error)
