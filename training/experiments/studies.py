# SPDX-License-Identifier: Apache-2.0
"""Figures of studies that train many networks: a file for each row and seed, so that one goes on when stopped."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np


def result_name(row: str, seed: int | str) -> str:
    """What files and folders of a row are called."""
    return f'{row.replace(",", "").replace(" ", "-")}-{seed}'


def keep(path: Path, compute: Callable[[], dict]) -> None:
    """Compute figures once: a study that was stopped goes on, and its table can be made again."""
    if not path.exists():
        path.write_text(json.dumps(compute(), indent=1) + '\n')
        print(path.stem, path.read_text().replace('\n', ''), flush=True)


def results_of(folder: Path, row: str) -> dict[str, dict]:
    """The figures of a row by name, one for each seed that is done."""
    return {path.stem: json.loads(path.read_text())
            for path in sorted(folder.glob(f'{result_name(row, "[0-9]*")}.json'))}


def mean_and_spread(figures: np.ndarray) -> str:
    """Of a figure (S,) for S seeds; a single one has no spread."""
    spread = f' ± {figures.std(ddof=1):.2f}' if len(figures) > 1 else ''
    return f'{figures.mean():.2f}{spread}'
