# SPDX-License-Identifier: Apache-2.0
"""Motion of a tracked head: its pose and velocity, from the noisy poses of single images.

Heads rest or move. A filter for heads in motion lets noise through at rest; one for heads at rest
lags behind motion. So two Kalman filters run side by side, and each has the probability of its
predictions: interacting multiple models (Blom and Bar-Shalom 1988, 'The interacting multiple model
algorithm for systems with Markovian switching coefficients').

    at rest     the pose drifts a little
    in motion   the velocity is constant but for random accelerations

The noise of the poses is measured from their second differences, which motion hardly affects.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from depthface_ros.geometry.one_rotation import rotation_matrix, rotation_vector

MOMENTUM_S = 0.5  # s; time constant with which the velocity of an unseen head decays
REST_S, MOTION_S = 1.0, 0.5  # s; mean times for which heads rest, and move
# Of position, m, and rotation, rad: drift at rest per square root of a second, and one sigma of the
# velocity of a head that was seen once, per second.
REST_DRIFT = np.array([0.0006, 0.005])
FIRST_SPEED = np.array([0.3, 1.0])
# Noise between images, in sigmas of a face: of the first ones, and the range of what is measured.
FIRST_NOISE, LEAST_NOISE, MOST_NOISE = 0.5, 0.1, 1.5
FIRST_IMAGES, NOISE_S = 4, 1.0  # images for which the first value counts; s of the mean
MOVING_WEIGHT = 0.1  # of images of heads in motion in it
JUMP = 5.0  # sigmas from where both models expect a head, beyond which it begins anew


@dataclass(frozen=True, eq=False)
class Motion:
    """The filtered pose of a head, and its velocity; float64, axes of the camera frame.

    Arrays are of position (m) and rotation (rad), then of the models at rest and in motion, then of
    value and velocity. Values are relative to the filtered pose. The covariance is that of each
    axis.
    """

    camera_from_face: np.ndarray  # (4, 4), filtered
    mean: np.ndarray  # (2, 2, 2, 3)
    covariance: np.ndarray  # (2, 2, 2, 2)
    probability: np.ndarray  # (2, 2)
    noise: np.ndarray  # (2,) variance of poses of single images
    images: int  # that have measured it
    measured: np.ndarray  # (4, 4), the pose of the last image
    step: np.ndarray | None = None  # (2, 3) from the image before
    step_s: float = 0.0  # its seconds

    @classmethod
    def begin(cls, camera_from_face: np.ndarray, std: np.ndarray) -> Motion:
        """Return the motion of a head that one image has shown.

        :param camera_from_face: (4, 4), metres. std: (2,) sigmas of its position and rotation.
        """
        pose = np.array(camera_from_face, float)
        noise = np.square(FIRST_NOISE * np.asarray(std, float))
        covariance = np.zeros((2, 2, 2, 2))
        covariance[:, :, 0, 0] = noise[:, None]
        covariance[:, 1, 1, 1] = np.square(FIRST_SPEED)
        return cls(pose, np.zeros((2, 2, 2, 3)), covariance, np.full((2, 2), 0.5), noise,
                   FIRST_IMAGES, pose)

    @property
    def twist(self) -> np.ndarray:
        """Velocity of the face's origin, m/s, and angular velocity, rad/s: (6,)."""
        return _mixed(self.probability, self.mean[:, :, 1]).ravel()

    @property
    def twist_covariance(self) -> np.ndarray:
        """Covariance (6, 6) of :attr:`twist`."""
        velocity = self.mean[:, :, 1]
        deviation = velocity - _mixed(self.probability, velocity)[:, None]
        variance = self.covariance[:, :, 1, 1] + np.square(deviation).mean(axis=2)
        return np.diag(np.repeat((self.probability * variance).sum(axis=1), 3))

    def predicted(self, seconds: float) -> np.ndarray:
        """Return the pose (4, 4) some time later; motion fades over MOMENTUM_S."""
        move = -MOMENTUM_S * math.expm1(-seconds / MOMENTUM_S) * self.twist
        return _moved(self.camera_from_face, move.reshape(2, 3))

    def updated(self, camera_from_face: np.ndarray, std: np.ndarray, seconds: float,
                acceleration: np.ndarray) -> Motion:
        """Return the motion after the next image.

        Without time between the images velocities stay, and the pose is that of the image. A head
        that jumps begins anew.

        :param camera_from_face: (4, 4) in that image. std: (2,) sigmas of its position, m, and
            rotation, rad.
        :param acceleration: (2,) one sigma of the change of velocities within a second, m/s and
            rad/s.
        """
        pose = np.array(camera_from_face, float)
        if seconds <= 0:
            return replace(self, camera_from_face=pose, measured=pose, step=None)
        noise, step = self._measured_noise(pose, np.asarray(std, float), seconds)
        mean, covariance, prior = _mixed_models(self.mean, self.covariance, self.probability,
                                                seconds)
        mean, covariance = _predicted(mean, covariance, seconds, acceleration)
        residual = _difference(self.camera_from_face, pose)[:, None] - mean[:, :, 0]
        variance = covariance[:, :, 0, 0] + noise[:, None]
        squares = (residual * residual).sum(axis=2) / 3
        if (squares > JUMP ** 2 * variance).all(axis=1).any():
            return replace(Motion.begin(pose, std), noise=noise, images=self.images)
        gain = covariance[..., 0] / variance[..., None]  # (2, 2, 2)
        mean = mean + gain[..., None] * residual[:, :, None]
        covariance = covariance - gain[..., None] * covariance[:, :, :1]
        probability = _probability(prior, squares, variance)
        move = _mixed(probability, mean[:, :, 0])
        mean[:, :, 0] -= move[:, None]
        return Motion(_moved(self.camera_from_face, move), mean, covariance, probability, noise,
                      self.images + 1, pose, step, seconds)

    def _measured_noise(self, pose, std, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the noise (2,) with that of one more image, and the step (2, 3) to it.

        For noise of variance s^2, x2 - (1 + r) x1 + r x0 has (1 + (1 + r)^2 + r^2) times that
        variance, where r is the quotient of the times between the images.
        """
        step = _difference(self.measured, pose)
        noise = self.noise
        if self.step is not None:
            quotient = seconds / self.step_s
            second = step - quotient * self.step
            variance = (second * second).sum(axis=1) / (
                3 * (1 + (1 + quotient) ** 2 + quotient ** 2))
            weight = max(1 / (self.images + 1), -math.expm1(-seconds / NOISE_S))
            # Accelerations look like noise, so images of heads at rest count more.
            weight = weight * np.maximum(self.probability[:, 0], MOVING_WEIGHT)
            noise = noise + weight * (variance - noise)
        least, most = (LEAST_NOISE * std) ** 2, (MOST_NOISE * std) ** 2
        return np.minimum(np.maximum(noise, least), most), step


def pose_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return translation (m) and rotation vector (rad) between poses: (6,), camera axes."""
    return _difference(np.asarray(before, float), np.asarray(after, float)).ravel()


def _difference(before, after) -> np.ndarray:
    return np.array([after[:3, 3] - before[:3, 3],
                     rotation_vector(after[:3, :3] @ before[:3, :3].T)])


def _moved(camera_from_face, move) -> np.ndarray:
    pose = camera_from_face.copy()
    turned = rotation_matrix(move[1]) @ pose[:3, :3]
    # A Newton step to the nearest rotation; otherwise rounding errors would accumulate.
    pose[:3, :3] = turned @ (1.5 * np.eye(3) - 0.5 * turned.T @ turned)
    pose[:3, 3] += move[0]
    return pose


def _mixed(probability, values) -> np.ndarray:
    """Return the mean (2, 3) over the models of values (2, 2, 3)."""
    return (probability[:, None] @ values)[:, 0]


def _mixed_models(mean, covariance, probability, seconds: float):
    """Return mean, covariance and probability of the models after heads may have changed theirs."""
    to_motion, to_rest = -math.expm1(-seconds / REST_S), -math.expm1(-seconds / MOTION_S)
    joint = probability[:, :, None] * np.array([[1 - to_motion, to_motion],
                                                [to_rest, 1 - to_rest]])
    prior = joint.sum(axis=1)
    weight = (joint / prior[:, None]).swapaxes(1, 2)  # (2, to, from)
    mixed = (weight @ mean.reshape(2, 2, 6)).reshape(mean.shape)
    # The mean of squares less the square of the mean. Values are small: they are relative.
    squares = covariance + mean @ mean.swapaxes(2, 3) / 3
    covariance = ((weight @ squares.reshape(2, 2, 4)).reshape(covariance.shape)
                  - mixed @ mixed.swapaxes(2, 3) / 3)
    return mixed, covariance, prior


def _predicted(mean, covariance, seconds: float, acceleration):
    """Return mean and covariance some time later: white noise of velocity, and of acceleration."""
    transition = np.array([[[1.0, 0.0], [0.0, 0.0]], [[1.0, seconds], [0.0, 1.0]]])
    covariance = transition @ covariance @ transition.swapaxes(1, 2)
    covariance[:, 0, 0, 0] += seconds * REST_DRIFT ** 2
    covariance[:, 1] += (acceleration ** 2)[:, None, None] * np.array(
        [[seconds ** 3 / 3, seconds ** 2 / 2], [seconds ** 2 / 2, seconds]])
    return transition @ mean, covariance


def _probability(prior, squares, variance) -> np.ndarray:
    """Return the probability (2, 2) of the models, given mean squared residuals of their axes."""
    log = np.log(prior) - 1.5 * (np.log(variance) + squares / variance)
    # The smaller one is at least exp(-30), so that no model is lost for ever.
    moving = 1 / (1 + np.exp(np.minimum(np.maximum(log[:, 0] - log[:, 1], -30.0), 30.0)))
    return np.array([1 - moving, moving]).T
