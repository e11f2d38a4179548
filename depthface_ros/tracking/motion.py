# SPDX-License-Identifier: Apache-2.0
"""Motion of a tracked head: its pose and velocity, from the noisy poses of single images.

Position and rotation pass filters for heads at rest and in motion (`two_models`). The noise of the
poses, in sigmas, is measured from their second differences, which motion hardly affects.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depthface_ros.geometry.one_rotation import moved_pose, rotation_vector
from depthface_ros.tracking.two_models import TwoModels

MOMENTUM_S = 0.5  # s; time constant with which the velocity of an unseen head decays
# Of position, m, and rotation, rad: drift at rest per square root of a second, and one sigma of the
# velocity of a head that was seen once, per second.
REST_DRIFT = (0.0006, 0.005)
FIRST_SPEED = (0.3, 1.0)
# Noise between images, in sigmas of a face: of the first ones, and the range of what is measured.
FIRST_NOISE, LEAST_NOISE, MOST_NOISE = 0.5, 0.1, 1.5
FIRST_IMAGES, NOISE_S = 4, 1.0  # images for which the first value counts; s of the mean
UNKNOWN = 1e6  # m^2 and rad^2, variance of a pose that says nothing
MOVING_WEIGHT = 0.1  # of images of heads in motion in it: their accelerations look like noise


@dataclass(frozen=True, eq=False)
class Motion:
    """The filtered pose of a head, and its velocity; axes of the camera frame.

    Pairs are of position, m, and rotation, rad. The filters' values are relative to the pose.
    """

    camera_from_face: np.ndarray  # (4, 4) float64, filtered
    filters: tuple[TwoModels, TwoModels]
    noise: tuple[float, float]  # of poses of single images, as a share of their variance
    images: int  # that have measured it
    measured: np.ndarray  # (4, 4) float64, the pose of the last image
    step: np.ndarray | None = None  # (2, 3) from the image before
    step_s: float = 0.0  # its seconds

    @classmethod
    def begin(cls, camera_from_face: np.ndarray, std: tuple[float, float]) -> Motion:
        """Return the motion of a head that one image has shown.

        :param camera_from_face: (4, 4), metres.
        :param std: sigmas of its position, m, and rotation, rad, per axis.
        """
        pose = np.array(camera_from_face, float)
        noise = FIRST_NOISE ** 2
        filters = (TwoModels.begin(noise * std[0] ** 2, FIRST_SPEED[0]),
                   TwoModels.begin(noise * std[1] ** 2, FIRST_SPEED[1]))
        return cls(pose, filters, (noise, noise), FIRST_IMAGES, pose)

    @property
    def twist(self) -> np.ndarray:
        """Velocity of the face's origin, m/s, and angular velocity, rad/s: (6,)."""
        position, rotation = self.filters
        return np.array(position.mean.velocity + rotation.mean.velocity)

    @property
    def twist_covariance(self) -> np.ndarray:
        """Covariance (6, 6) of :attr:`twist`."""
        return np.diag(np.repeat([part.mean.velocity_variance for part in self.filters], 3))

    def predicted(self, seconds: float) -> np.ndarray:
        """Return the pose (4, 4) some time later; motion fades over MOMENTUM_S."""
        move = -MOMENTUM_S * math.expm1(-seconds / MOMENTUM_S) * self.twist
        return moved_pose(self.camera_from_face, move[:3], move[3:])

    def updated(self, camera_from_face: np.ndarray, std: tuple[float, float], seconds: float,
                acceleration: tuple[float, float], covered: bool = False) -> Motion:
        """Return the motion after the next image.

        Without time between the images velocities stay, and the pose is that of the image. A head
        that jumps begins anew, unless something covers it: that was fitted in its place, and the
        head moves on as before.

        :param camera_from_face: (4, 4) in that image.
        :param std: sigmas of its position, m, and rotation, rad, per axis.
        :param acceleration: one sigma of the change of velocities within a second, m/s and rad/s.
        """
        pose = np.array(camera_from_face, float)
        if seconds <= 0:
            return replace(self, camera_from_face=pose, measured=pose, step=None)
        step = _difference(self.measured, pose)
        noise = self._measured_noise(step, std, seconds)
        residual = _difference(self.camera_from_face, pose).tolist()
        filters = self._filtered(residual, [noise[i] * std[i] ** 2 for i in range(2)], seconds,
                                 acceleration)
        after = Motion(self.camera_from_face, filters, noise, self.images + 1, pose, step, seconds)
        if None in filters and covered:
            filters = self._filtered(residual, (UNKNOWN, UNKNOWN), seconds, acceleration)
            after = replace(self, filters=filters, step=None)
        elif None in filters:
            return replace(Motion.begin(pose, std), noise=noise, images=self.images)
        moves = [part.mean.value for part in filters]
        return replace(after, camera_from_face=moved_pose(self.camera_from_face,
                                                          *map(np.array, moves)),
                       filters=tuple(part.relative_to(move)
                                     for part, move in zip(filters, moves)))

    def _filtered(self, residual, variance, seconds: float, acceleration) -> tuple:
        """Return both filters after a residual (2, 3) of some variances; None of one that jumps."""
        return tuple(self.filters[i].updated(residual[i], variance[i], seconds, REST_DRIFT[i],
                                             acceleration[i]) for i in range(2))

    def _measured_noise(self, step, std, seconds: float) -> tuple[float, float]:
        """Return the noise with that of one more image, a step (2, 3) from the one before.

        For noise of variance s^2, x2 - (1 + r) x1 + r x0 has (1 + (1 + r)^2 + r^2) times that
        variance, where r is the quotient of the times between the images.
        """
        if self.step is None:
            return self.noise
        quotient = seconds / self.step_s
        factor = 3 * (1 + (1 + quotient) ** 2 + quotient ** 2)
        newest = max(1 / (self.images + 1), -math.expm1(-seconds / NOISE_S))
        noise = []
        for (x, y, z), before, sigma, part in zip((step - quotient * self.step).tolist(),
                                                  self.noise, std, self.filters):
            measured = (x * x + y * y + z * z) / (factor * sigma ** 2)
            measured = min(max(measured, LEAST_NOISE ** 2), MOST_NOISE ** 2)
            weight = newest * max(1 - part.moving, MOVING_WEIGHT)
            noise.append(before + weight * (measured - before))
        return tuple(noise)


def pose_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return translation (m) and rotation vector (rad) between poses: (6,), camera axes."""
    return _difference(np.asarray(before, float), np.asarray(after, float)).ravel()


def _difference(before, after) -> np.ndarray:
    return np.array([after[:3, 3] - before[:3, 3],
                     rotation_vector(after[:3, :3] @ before[:3, :3].T)])

