# SPDX-License-Identifier: Apache-2.0
"""How much of the regions that expressions move is measured; others stay at rest."""
from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np

from depthface_ros.compiled import features as loops
from depthface_ros.compiled import takes
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import namespace

MOVES = 0.3  # a coefficient moves a side that has at least this fraction of its motion
# Measured fraction of the motion. Up to the first value the coefficient becomes 0. From the second
# on it is unchanged.
UNMEASURED, MEASURED = 0.05, 0.2


class ExpressionRegions(NamedTuple):
    """Squared motion of the triangles by expressions (`python -m training expression-regions`).

    motion: (52, T) for the T aligned triangles, those of the left half first. Each row has the sum
    1, or 0 if the coefficient moves no triangle.
    """

    motion: np.ndarray

    @classmethod
    def load(cls) -> ExpressionRegions:
        """Return the regions of this package."""
        with (files('depthface_ros') / 'models' / 'expression_regions.npz').open('rb') as file:
            return cls(np.load(file)['motion'].astype(np.float32))


class MeasuredExpressions:
    """Factors that shrink coefficients to rest where their regions are not measured.

    A coefficient that is its own mirror image, such as jawOpen, is measured from either side. Any
    other one needs each side that it moves. Half a mouth does not distinguish mouthLeft from a
    mouth that is off centre at rest.
    """

    def __init__(self, constant=np.asarray):
        """Prepare the regions; constant converts a numpy array for the computation."""
        motion = ExpressionRegions.load().motion
        half = motion.shape[1] // 2
        sides = np.zeros((2, *motion.shape), np.float32)
        sides[0, :, :half], sides[1, :, half:] = motion[:, :half], motion[:, half:]
        of_side = sides.sum(axis=2)
        weights = sides / np.maximum(of_side, 1e-6)[..., None]
        symmetric = FaceModel.load().expression_mirror == np.arange(len(motion))
        # A side that is not moved counts as measured where all are needed, else as unmeasured.
        unmoved = of_side < MOVES
        self._weights = constant(weights * ~unmoved[..., None])  # (2, 52, T)
        self._unmoved = constant((unmoved & (~symmetric | unmoved.all(0))).astype(np.float32))
        self._symmetric = constant(symmetric)

    def __call__(self, weights):
        """Return factors (N, 52) in 0..1 for weights (N, T) in 0..1 of the measured triangles."""
        if takes(weights):
            return loops.measured_regions(weights, self._weights, self._unmoved, self._symmetric,
                                          np.float32(UNMEASURED), np.float32(MEASURED))
        xp = namespace(weights)
        left, right = (xp.matmul(weights, xp.matrix_transpose(self._weights[side]))
                       + self._unmoved[side] for side in (0, 1))
        measured = xp.where(self._symmetric, xp.maximum(left, right), xp.minimum(left, right))
        return ((measured - UNMEASURED) / (MEASURED - UNMEASURED)).clip(0, 1)
