# SPDX-License-Identifier: Apache-2.0
"""Smoothing of faces: One Euro filters on pose and expression, a Kalman filter on the shape.

Casiez, Roussel and Vogel 2012, '1 euro filter: a simple speed-based low-pass filter for noisy
input in interactive systems': a first-order low-pass whose cutoff frequency rises with speed. It
removes jitter at rest and has little lag in motion. At constant speed the lag is at most
1 / (2 pi gain) of the unit, whatever the speed.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi

import numpy as np

from depthface_ros.estimation.types import Face
from depthface_ros.geometry.one_rotation import rotation_matrix, rotation_vector
from depthface_ros.geometry.rotations import in_frame
from depthface_ros.settings import setting
from depthface_ros.tracking.personal_expression import displacement, expression_of_mesh
from depthface_ros.tracking.personal_shape import PersonalShape, vertex_noise

# Sigmas of a pose up to which the gains are meant. Noisier faces seem to move, so their cutoffs
# rise less with speed.
USUAL_ROTATION_STD, USUAL_POSITION_STD = 0.010, 0.002  # rad, m


@dataclass(frozen=True)
class SmoothingConfig:
    """The trade-off of jitter and lag; a higher cutoff or gain means less lag."""

    enabled: bool = setting(True, 'Smooth faces over time; false publishes each as its image '
                            'shows it.')
    cutoff: float = setting(0.5, 'Hz; at rest, quicker changes are filtered out as noise.',
                            0.01, 100.0)
    speed_cutoff: float = setting(0.7, 'Hz; the same for changes of speed.', 0.01, 100.0)
    position_gain: float = setting(800.0, 'Hz by which the cutoff rises per metre per second of '
                                   'the face.', 0.0, 1e4)
    rotation_gain: float = setting(100.0, 'Hz per radian per second of the face.', 0.0, 1e4)
    shape_gain: float = setting(150.0, 'Hz per metre per second of a vertex in the face frame.',
                                0.0, 1e4)
    expression_gain: float = setting(12.0, 'Hz per full range per second of a coefficient.',
                                     0.0, 1e4)


class OneEuro:
    """The filter of one value: its step towards each new measurement."""

    def __init__(self, cutoff: float, gain: float, speed_cutoff: float):
        """Set the cutoffs in Hz and the gain in Hz per unit of value and second."""
        self._cutoff, self._gain, self._speed_cutoff = cutoff, gain, speed_cutoff
        self._velocity = 0.0

    def step(self, innovation: np.ndarray, seconds: float, trust: float = 1.0) -> np.ndarray:
        """Return what to add to the filtered value, (..., D).

        :param innovation: (..., D) measured less filtered value; each row has its own speed and
            cutoff.
        :param seconds: since the previous measurement; > 0.
        :param trust: factor on the gain.
        """
        self._velocity = self._velocity + _filter_gain(self._speed_cutoff, seconds) * (
            innovation / seconds - self._velocity)
        speed = np.sqrt(np.einsum('...i,...i->...', self._velocity, self._velocity))[..., None]
        return _filter_gain(self._cutoff + trust * self._gain * speed, seconds) * innovation


def _filter_gain(cutoff, seconds: float):
    """Return the weight of a new value in an exponential filter with this cutoff, Hz."""
    phase = 2 * pi * cutoff * seconds
    return phase / (phase + 1)


def _trust(std: float, usual_std: float) -> float:
    return usual_std / max(std, usual_std)


class FaceSmoother:
    """Smooths one face from image to image."""

    def __init__(self, face: Face, stamp_ns: int, config: SmoothingConfig = SmoothingConfig()):
        self.face, self._stamp_ns = face, stamp_ns  # the latest, smoothed
        self._position, self._rotation, self._shape, self._expression = (
            OneEuro(config.cutoff, gain, config.speed_cutoff) for gain in (
                config.position_gain, config.rotation_gain, config.shape_gain,
                config.expression_gain))
        vertices = in_frame(face.vertices, face.camera_from_face)
        self._shape_face = vertices - displacement(face.expression, len(vertices))
        self.personal_shape = PersonalShape(self._shape_face)

    def update(self, face: Face, stamp_ns: int) -> Face:
        """Return the smoothed face of the next image; only stamps measure time."""
        seconds = (stamp_ns - self._stamp_ns) * 1e-9
        if seconds <= 0:
            self.face = face  # the speed is unknown
            return face
        before, pose = self.face.camera_from_face, face.camera_from_face.copy()
        # in the tangent space at the filtered rotation: no signs to flip, no angles to wrap
        turn = rotation_vector(before[:3, :3].T @ pose[:3, :3])
        turned = before[:3, :3] @ rotation_matrix(self._rotation.step(
            turn, seconds, _trust(face.rotation_std, USUAL_ROTATION_STD)))
        # A Newton step to the nearest rotation; otherwise rounding errors would accumulate.
        pose[:3, :3] = turned @ (1.5 * np.eye(3) - 0.5 * turned.T @ turned)
        pose[:3, 3] = before[:3, 3] + self._position.step(
            pose[:3, 3] - before[:3, 3], seconds, _trust(face.position_std, USUAL_POSITION_STD))
        shape_face, expression = self._shape_and_expression(face, seconds)
        # The shape is placed in the smoothed pose, so that both are consistent.
        vertices = (shape_face @ pose[:3, :3].T + pose[:3, 3]).astype(face.vertices.dtype)
        self._stamp_ns = stamp_ns
        self.face = replace(face, camera_from_face=pose, vertices=vertices, expression=expression)
        return self.face

    def _shape_and_expression(self, face: Face, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the smoothed mesh (V, 3) m, face frame, and its expression (52,).

        The shape is filtered without the displacement by the expression, which moves faster.
        """
        vertices = in_frame(face.vertices, face.camera_from_face)
        measured = expression_of_mesh(face.expression, face.expression_measured, vertices,
                                      self.personal_shape.neutral, face.position_std)
        expression = self.face.expression + self._expression.step(
            (measured - self.face.expression)[:, None], seconds)[:, 0]
        count = len(vertices)
        self._shape_face = self._shape_face + self._shape.step(
            vertices - displacement(measured, count) - self._shape_face, seconds)
        shape = self.personal_shape.update(self._shape_face, vertex_noise(face), seconds)
        return shape + displacement(expression, count), expression
