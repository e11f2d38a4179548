# SPDX-License-Identifier: Apache-2.0
"""A noisy vector that rests or moves: two Kalman filters, each as probable as its predictions.

A filter for motion lets noise through at rest; one for rest lags behind motion. So both run, and
are mixed: interacting multiple models (Blom and Bar-Shalom 1988, 'The interacting multiple model
algorithm for systems with Markovian switching coefficients').

    at rest     the value drifts a little
    in motion   the velocity is constant but for random accelerations

The three axes have one variance. Plain floats: numpy takes five times as long for so few numbers.
"""
from __future__ import annotations

from math import exp, expm1, log
from typing import NamedTuple

Vector = tuple[float, float, float]
ZERO: Vector = (0.0, 0.0, 0.0)
REST_S, MOTION_S = 1.0, 0.5  # s; mean times for which heads rest, and move
JUMP = 5.0  # sigmas from where both models expect a value, beyond which it has jumped


class Estimate(NamedTuple):
    """Value and velocity of one model, and the covariance of both, per axis."""

    value: Vector
    velocity: Vector
    variance: float  # of the value
    covariance: float  # of value and velocity
    velocity_variance: float

    def rested(self, seconds: float, drift: float) -> Estimate:
        """Return the estimate some time later, at rest."""
        return Estimate(self.value, ZERO, self.variance + drift ** 2 * seconds, 0.0, 0.0)

    def moved(self, seconds: float, acceleration: float) -> Estimate:
        """Return the estimate some time later, in motion with white noise of acceleration."""
        power = acceleration ** 2
        return Estimate(
            _sum(1.0, self.value, seconds, self.velocity), self.velocity,
            self.variance + seconds * (2 * self.covariance + seconds * self.velocity_variance)
            + power * seconds ** 3 / 3,
            self.covariance + seconds * self.velocity_variance + power * seconds ** 2 / 2,
            self.velocity_variance + power * seconds)

    def corrected(self, residual: Vector, noise: float) -> Estimate:
        """Return the estimate after a measurement, by its residual and variance."""
        total = self.variance + noise
        gain, velocity_gain = self.variance / total, self.covariance / total
        return Estimate(_sum(1.0, self.value, gain, residual),
                        _sum(1.0, self.velocity, velocity_gain, residual),
                        self.variance - gain * self.variance,
                        self.covariance - gain * self.covariance,
                        self.velocity_variance - velocity_gain * self.covariance)


class TwoModels(NamedTuple):
    """The estimates of both models, and the probability of motion."""

    rest: Estimate
    motion: Estimate
    moving: float

    @classmethod
    def begin(cls, variance: float, speed: float) -> TwoModels:
        """Return those of a value of 0, with its variance, and one sigma of its velocity."""
        return cls(Estimate(ZERO, ZERO, variance, 0.0, 0.0),
                   Estimate(ZERO, ZERO, variance, 0.0, speed ** 2), 0.5)

    @property
    def mean(self) -> Estimate:
        """Both as one estimate."""
        return _mixed(1 - self.moving, self.rest, self.moving, self.motion)

    def relative_to(self, origin: Vector) -> TwoModels:
        """Return the same with values relative to another origin."""
        return self._replace(
            rest=self.rest._replace(value=_sum(1.0, self.rest.value, -1.0, origin)),
            motion=self.motion._replace(value=_sum(1.0, self.motion.value, -1.0, origin)))

    def updated(self, measured: Vector, noise: float, seconds: float, drift: float,
                acceleration: float) -> TwoModels | None:
        """Return the estimates after a measurement with its variance; None if the value has jumped.

        :param seconds: since the measurement before; > 0.
        :param drift: at rest, per square root of a second.
        :param acceleration: one sigma of the change of velocity within a second.
        """
        # What rested may have begun to move, and the reverse
        to_motion, to_rest = -expm1(-seconds / REST_S), -expm1(-seconds / MOTION_S)
        begun, ended = (1 - self.moving) * to_motion, self.moving * to_rest
        moving = begun + self.moving - ended
        rest = _mixed((1 - self.moving - begun) / (1 - moving), self.rest,
                      ended / (1 - moving), self.motion).rested(seconds, drift)
        motion = _mixed(begun / moving, self.rest, (self.moving - ended) / moving,
                        self.motion).moved(seconds, acceleration)
        # How well did each predict this measurement?
        rest_residual = _sum(1.0, measured, -1.0, rest.value)
        motion_residual = _sum(1.0, measured, -1.0, motion.value)
        rest_variance, motion_variance = rest.variance + noise, motion.variance + noise
        rest_square = _dot(rest_residual, rest_residual) / rest_variance
        motion_square = _dot(motion_residual, motion_residual) / motion_variance
        if min(rest_square, motion_square) > 3 * JUMP ** 2:
            return None
        odds = (log((1 - moving) / moving) + 1.5 * log(motion_variance / rest_variance)
                + 0.5 * (motion_square - rest_square))
        return TwoModels(rest.corrected(rest_residual, noise),
                         motion.corrected(motion_residual, noise),
                         1 / (1 + exp(min(max(odds, -30.0), 30.0))))


def _mixed(weight: float, one: Estimate, other_weight: float, other: Estimate) -> Estimate:
    """Return the mean and covariance of a mixture, with weights that add up to 1."""
    apart = _sum(1.0, one.value, -1.0, other.value)
    velocity_apart = _sum(1.0, one.velocity, -1.0, other.velocity)
    spread = weight * other_weight / 3
    return Estimate(
        _sum(weight, one.value, other_weight, other.value),
        _sum(weight, one.velocity, other_weight, other.velocity),
        weight * one.variance + other_weight * other.variance + spread * _dot(apart, apart),
        weight * one.covariance + other_weight * other.covariance
        + spread * _dot(apart, velocity_apart),
        weight * one.velocity_variance + other_weight * other.velocity_variance
        + spread * _dot(velocity_apart, velocity_apart))


def _sum(a: float, one: Vector, b: float, other: Vector) -> Vector:
    x, y, z = one
    u, v, w = other
    return a * x + b * u, a * y + b * v, a * z + b * w


def _dot(one: Vector, other: Vector) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
