# SPDX-License-Identifier: Apache-2.0
"""Head poses with confidences and sigmas, and averages of several predictions of the same heads."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthface_ros.geometry.rotations import homogeneous, nearest_rotation


class Poses(NamedTuple):
    """Predictions of the pose network for N crops."""

    camera_from_face: np.ndarray  # (N, 4, 4)
    confidence: np.ndarray  # (N,) 0..1; NaN where the crop holds too few measurements
    rotation_std: np.ndarray  # (N,) rad
    position_std: np.ndarray  # (N,) m

    def of(self, heads: np.ndarray) -> Poses:
        """Return the poses of some heads, by index or mask."""
        return Poses(*(part[heads] for part in self))

    @property
    def finite(self) -> bool:
        """Whether all poses are finite: networks in half precision may overflow."""
        return all(np.isfinite(part).all() for part in self._replace(confidence=0))

    def replace(self, heads: np.ndarray, others: Poses) -> None:
        """Overwrite the poses of some heads."""
        for mine, other in zip(self, others):
            mine[heads] = other


def averaged(predictions: list[Poses]) -> Poses:
    """Return the average of several predictions of the same N heads.

    Rotations and positions have weights 1 / sigma^2. The mean rotation is the one nearest to the
    mean matrix (Hartley et al. 2013, 'Rotation Averaging', section 5.3). Sigmas are averaged as
    logs: the errors of predictions of one head are correlated, so their number does not reduce the
    sigma. The confidence is the least one: hands look like faces in most of their crops, faces in
    all of them.
    """
    camera_from_face, confidence, rotation_std, position_std = map(np.stack, zip(*predictions))
    weight = _normalised_precision(rotation_std)[..., None, None]
    rotation = (weight * camera_from_face[:, :, :3, :3]).sum(0)
    weight = _normalised_precision(position_std)[..., None]
    position = (weight * camera_from_face[:, :, :3, 3]).sum(0)
    return Poses(homogeneous(nearest_rotation(rotation), position),
                 np.nan_to_num(confidence).min(0),
                 np.exp(np.log(rotation_std).mean(0)), np.exp(np.log(position_std).mean(0)))


def _normalised_precision(std: np.ndarray) -> np.ndarray:
    """Return weights 1 / std^2 with a sum of 1 over the first axis."""
    precision = std ** -2.0
    return precision / precision.sum(0)
