# SPDX-License-Identifier: Apache-2.0
"""Head poses as the pose network tells them, and what several looks at the same heads make of it."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from depthface_ros.estimation.calibration import log_odds, probability
from depthface_ros.geometry.rotations import homogeneous, nearest_rotation


class Poses(NamedTuple):
    """What the pose network says of N crops."""

    camera_from_face: np.ndarray  # (N, 4, 4)
    confidence: np.ndarray  # (N,) 0..1
    rotation_std: np.ndarray  # (N,) rad
    position_std: np.ndarray  # (N,) m

    def of(self, heads: np.ndarray) -> Poses:
        """Those of some heads, by index or mask."""
        return Poses(*(part[heads] for part in self))

    @property
    def finite(self) -> bool:
        """Whether all are poses: networks in half precision may overflow."""
        return all(np.isfinite(part).all() for part in self._replace(confidence=0))

    def replace(self, heads: np.ndarray, others: Poses) -> None:
        """Put others in the place of those of some heads."""
        for mine, other in zip(self, others):
            mine[heads] = other


def averaged(looks: list[Poses]) -> Poses:
    """One answer for each of N heads out of several looks at them.

    Rotations and positions are averaged with weights 1 / sigma^2; the mean of rotations is the one
    nearest to the mean of their matrices (Hartley et al. 2013, 'Rotation Averaging', section 5.3).
    Of confidences the log odds are averaged, of sigmas the logs: looks at one head err alike, so
    that many say the same is no reason to be surer of it.
    """
    camera_from_face, confidence, rotation_std, position_std = map(np.stack, zip(*looks))
    rotation = (_shares(rotation_std)[..., None, None] * camera_from_face[:, :, :3, :3]).sum(0)
    position = (_shares(position_std)[..., None] * camera_from_face[:, :, :3, 3]).sum(0)
    return Poses(homogeneous(nearest_rotation(rotation), position),
                 probability(log_odds(np.nan_to_num(confidence)).mean(0)),
                 np.exp(np.log(rotation_std).mean(0)), np.exp(np.log(position_std).mean(0)))


def _shares(std: np.ndarray) -> np.ndarray:
    """Of a mean over the first axis, in inverse proportion to the variances."""
    weights = std ** -2.0
    return weights / weights.sum(0)
