# SPDX-License-Identifier: Apache-2.0
"""Smoothing of meshes and expressions: One Euro filters, and a Kalman filter of the shape.

Casiez, Roussel and Vogel 2012, '1 euro filter: a simple speed-based low-pass filter for noisy
input in interactive systems': a first-order low-pass whose cutoff frequency rises with speed. It
removes jitter at rest and has little lag in motion. At constant speed the lag is at most
1 / (2 pi gain) of the unit, whatever the speed. Poses are filtered in `motion`.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import ClassVar

import numpy as np

from depthface_ros.compiled import compiled, in_order
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.rotations import in_frame
from depthface_ros.settings import setting
from depthface_ros.tracking.motion import Motion
from depthface_ros.tracking.personal_expression import displacement, expression_of_mesh
from depthface_ros.tracking.personal_shape import PersonalShape, vertex_noise


@dataclass(frozen=True)
class SmoothingConfig:
    """The trade-off of jitter and lag; a higher acceleration, cutoff or gain means less lag."""

    # Settings of earlier releases: accepted, with a warning, and without effect.
    REMOVED: ClassVar = ('position_gain', 'rotation_gain')

    enabled: bool = setting(True, 'Smooth faces over time; false publishes each as its image '
                            'shows it.')
    position_acceleration: float = setting(
        0.4, 'Metres per second by which the velocity of a head changes within a second, one '
        'sigma.', 0.01, 100.0)
    rotation_acceleration: float = setting(
        2.0, 'Radians per second by which its angular velocity does.', 0.01, 1000.0)
    cutoff: float = setting(0.5, 'Hz; quicker changes of a still mesh or expression are filtered '
                            'out as noise.', 0.01, 100.0)
    speed_cutoff: float = setting(0.7, 'Hz; the same for changes of speed.', 0.01, 100.0)
    shape_gain: float = setting(150.0, 'Hz per metre per second of a vertex in the face frame.',
                                0.0, 1e4)
    expression_gain: float = setting(12.0, 'Hz per full range per second of a coefficient.',
                                     0.0, 1e4)

    @property
    def acceleration(self) -> tuple[float, float]:
        """Those of position and rotation."""
        return self.position_acceleration, self.rotation_acceleration


class OneEuro:
    """The filter of N vectors, each with its own speed and cutoff; float32."""

    def __init__(self, cutoff: float, gain: float, speed_cutoff: float):
        """Set the cutoffs in Hz and the gain in Hz per unit of value and second."""
        self._settings = np.float32([cutoff, gain, speed_cutoff])
        self._velocity: np.ndarray | None = None

    def step(self, innovation: np.ndarray, seconds: float) -> np.ndarray:
        """Return what to add to the filtered values, (D, N).

        :param innovation: (D, N) measured less filtered values.
        :param seconds: since the previous measurement; > 0.
        """
        if self._velocity is None:
            self._velocity = np.zeros_like(innovation)
        self._velocity, step = _one_euro(self._velocity, innovation, np.float32(seconds),
                                         self._settings)
        return step


@compiled
def _one_euro(velocity, innovation, seconds, settings):
    """Return the velocities (D, N) after an innovation, and the step towards it.

    The weight of a new value in an exponential filter with a cutoff in Hz is w / (w + 1), where
    w = 2 pi cutoff seconds.
    """
    cutoff, gain, speed_cutoff = settings
    one, radians = np.float32(1), np.float32(2 * pi) * seconds
    weight = radians * speed_cutoff / (radians * speed_cutoff + one)
    velocity = velocity + weight * (innovation / seconds - velocity)
    square = velocity[0] * velocity[0]
    for axis in range(1, len(velocity)):
        square = square + velocity[axis] * velocity[axis]
    phase = radians * (cutoff + gain * np.sqrt(square))
    return velocity, phase / (phase + one) * innovation


class FaceSmoother:
    """Smooths mesh and expression of one face from image to image."""

    def __init__(self, face: Face, camera_from_face: np.ndarray, stamp_ns: int,
                 config: SmoothingConfig = SmoothingConfig()):
        """Begin with a face, placed in its filtered pose (4, 4)."""
        self._stamp_ns = stamp_ns
        self._shape, self._expression = (OneEuro(config.cutoff, gain, config.speed_cutoff)
                                         for gain in (config.shape_gain, config.expression_gain))
        vertices = in_frame(face.vertices, face.camera_from_face)
        self._shape_face = vertices - displacement(face.expression, len(vertices))
        self.personal_shape = PersonalShape(self._shape_face)
        self.face = placed(face, vertices, face.expression, camera_from_face)  # the latest

    def update(self, face: Face, camera_from_face: np.ndarray, stamp_ns: int) -> Face:
        """Return the smoothed face of the next image in a filtered pose (4, 4).

        Only stamps measure time. An image at the same time replaces the face.
        """
        seconds = (stamp_ns - self._stamp_ns) * 1e-9
        if seconds <= 0:
            self.face = face  # the speed is unknown
            return face
        shape_face, expression = self._shape_and_expression(face, seconds)
        self._stamp_ns = stamp_ns
        self.face = placed(face, shape_face, expression, camera_from_face)
        return self.face

    def _shape_and_expression(self, face: Face, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the smoothed mesh (V, 3) m, face frame, and its expression (52,).

        The shape is filtered without the displacement by the expression, which moves faster.
        """
        vertices = in_frame(face.vertices, face.camera_from_face)
        measured = expression_of_mesh(face.expression, face.expression_measured, vertices,
                                      self.personal_shape.neutral, face.position_std)
        expression = self.face.expression + self._expression.step(
            (measured - self.face.expression)[None], seconds)[0]
        count = len(vertices)
        innovation = vertices - displacement(measured, count) - self._shape_face
        self._shape_face = self._shape_face + self._shape.step(innovation.T, seconds).T
        shape = self.personal_shape.update(self._shape_face, vertex_noise(face), seconds)
        return shape + displacement(expression, count), expression


def prepare() -> None:
    """Compile, or load, and compute what the first face would wait for."""
    template = FaceModel.load().template.copy()  # may be written, as meshes of faces
    face = Face(np.eye(4, dtype=np.float32), template, np.zeros(len(EXPRESSION_NAMES), np.float32),
                1.0, 0.01, 0.001)
    motion = Motion.begin(face.camera_from_face, (0.001, 0.01))
    FaceSmoother(face, motion.predicted(0.1), 0).update(face, motion.camera_from_face, 1)


def placed(face: Face, vertices_face: np.ndarray, expression: np.ndarray,
           camera_from_face: np.ndarray) -> Face:
    """Return a face with a mesh (V, 3) m, face frame, in a pose (4, 4), so that they agree."""
    pose = camera_from_face.astype(np.float32)
    return replace(face, camera_from_face=pose, expression=expression,
                   vertices=np.stack(_in_camera(in_order(vertices_face.T), pose), axis=1))


@compiled
def _in_camera(points, pose):
    """Return x, y and z (V,) in the camera frame of points (3, V) in a face at a pose (4, 4)."""
    x, y, z = points[0], points[1], points[2]
    return (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3],
            pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3],
            pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3])
