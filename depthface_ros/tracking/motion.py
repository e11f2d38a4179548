# SPDX-License-Identifier: Apache-2.0
"""Motion of a tracked head: velocities from noisy poses, and the pose that they predict."""
from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from depthface_ros.geometry.one_rotation import rotation_matrix, rotation_vector

VELOCITY_S = 0.15  # s; time constant of the filter: differences of two images are noisy
MOMENTUM_S = 0.5  # s; time constant with which the velocity of an unseen head decays
# One sigma of the velocity of a head that was seen once: m/s and rad/s.
UNKNOWN_STD = np.repeat([0.5, 1.0], 3)


@dataclass(frozen=True, eq=False)
class Motion:
    """Velocity (m/s) of the face's origin and angular velocity (rad/s), axes of the camera frame.

    Both are exponential means of differences between images, over VELOCITY_S.
    """

    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))  # linear, then angular
    covariance: np.ndarray = field(default_factory=lambda: np.diag(UNKNOWN_STD ** 2))  # (6, 6)

    def updated(self, before: np.ndarray, after: np.ndarray, seconds: float) -> Motion:
        """Return the motion after poses camera_from_face (4, 4) of two images; itself if no time
        passed.

        The covariance follows from the deviations of single differences. An exponential mean with
        the weight a of the newest one has a / (2 - a) of the covariance of a single one.
        """
        if seconds <= 0:
            return self
        difference = pose_difference(before, after) / seconds
        weight = -math.expm1(-seconds / VELOCITY_S)
        deviation = difference - self.twist
        measured = weight / (2 - weight) * deviation[:, None] * deviation
        return Motion(self.twist + weight * deviation,
                      self.covariance + weight * (measured - self.covariance))

    def predicted(self, camera_from_face: np.ndarray, seconds: float) -> np.ndarray:
        """Return the pose (4, 4) float64 some time later; motion fades over MOMENTUM_S."""
        move = -MOMENTUM_S * math.expm1(-seconds / MOMENTUM_S) * self.twist
        pose = np.array(camera_from_face, float)
        pose[:3, :3] = rotation_matrix(move[3:]) @ pose[:3, :3]
        pose[:3, 3] += move[:3]
        return pose


def pose_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return translation (m) and rotation vector (rad) between poses: (6,), camera axes."""
    before, after = np.asarray(before, float), np.asarray(after, float)
    turn = rotation_vector(after[:3, :3] @ before[:3, :3].T)
    return np.concatenate([after[:3, 3] - before[:3, 3], turn])
