# SPDX-License-Identifier: Apache-2.0
"""How expressions move the vertices of the face mesh."""
from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np


@lru_cache(maxsize=1)
def expression_displacements() -> np.ndarray:
    """Return the displacements (52, V, 3) float32 m, face frame, by coefficients of 1.

    The model is linear: coefficients c (52,) move the vertices by sum_k c_k * displacements[k].
    Made by `python -m training expression-displacements`.
    """
    name = 'expression_displacements.npz'
    with (files('depthface_ros') / 'models' / name).open('rb') as file:
        arrays = np.load(file)
        return arrays['levels'].astype(np.float32) * arrays['scale'][:, None, None]
