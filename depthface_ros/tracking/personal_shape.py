# SPDX-License-Identifier: Apache-2.0
"""The shape of a tracked person: a neutral surface that sharpens, and what deviates from it.

Each vertex has two components: the neutral position n, which is constant, and a deviation d, which
returns to zero within DEVIATION_S. Deviations are what the measured expression, whose displacement
is taken off before (`personal_expression`), does not explain. A mesh of one image measures the sum:

    m = n + d + noise

A Kalman filter estimates both, with one variance for the three axes of a vertex. So the mesh of a
face that rests becomes the mean of its images, and lips and jaw still follow at once.
"""
from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.normals import vertex_normals

NEUTRAL_STD = 0.0018  # m, of the first mesh
NEUTRAL_STEP = 2e-5  # m by which the neutral surface may change from image to image
# m, one sigma of deviations: of vertices that expressions move, and of those that they hardly do
DEVIATION_STD, STABLE_DEVIATION_STD = 0.0015, 0.0003
DEVIATION_S = 0.12  # s, time constant with which deviations return to zero
# Noise of a vertex per sigma of the position of its face; many times that where it is hidden.
NOISE, HIDDEN_NOISE = 0.35, 3.0
HIDDEN_COSINE = 0.1  # of normal and viewing ray, below which a vertex is hidden
# Median squared residual of stable vertices, in its variances, of another person.
OTHER_PERSON = 16.0


class PersonalShape:
    """Filter the meshes of one tracked person, in the face frame; arrays are float32."""

    def __init__(self, vertices_face: np.ndarray):
        """Begin with a mesh (V, 3) m, face frame."""
        self._topology = _topology(len(vertices_face))
        self._restart(vertices_face)

    def _restart(self, vertices_face: np.ndarray) -> None:
        self.neutral = vertices_face.astype(np.float32)  # (V, 3) m, face frame
        self._deviation = np.zeros_like(self.neutral)
        # Variances (V,) m^2 of neutral and deviation, and their covariance.
        self._neutral_variance = np.full(len(vertices_face), np.float32(NEUTRAL_STD ** 2))
        self._deviation_variance = np.zeros_like(self._neutral_variance)
        self._covariance = np.zeros_like(self._neutral_variance)

    @property
    def neutral_std(self) -> np.ndarray:
        """One sigma (V,) m per axis of the neutral surface."""
        return np.sqrt(self._neutral_variance)

    def update(self, measured: np.ndarray, noise: np.ndarray, seconds: float) -> np.ndarray:
        """Return the filtered mesh (V, 3) m, face frame, after one more image.

        A mesh that is far from the person's own is of another person: the filter begins again.

        :param measured: (V, 3) m, face frame.
        :param noise: (V,) m, one sigma of its vertices.
        :param seconds: since the image before.
        """
        self._predict(seconds)
        neutral, deviation = self._neutral_variance, self._deviation_variance
        both = self._covariance
        total = neutral + 2 * both + deviation + noise * noise
        residual = measured - (self.neutral + self._deviation)
        if self._is_other_person(residual, total):
            self._restart(measured)
            return self.neutral
        neutral_gain, deviation_gain = (neutral + both) / total, (both + deviation) / total
        self.neutral = self.neutral + neutral_gain[:, None] * residual
        self._deviation = self._deviation + deviation_gain[:, None] * residual
        self._neutral_variance = neutral - neutral_gain * (neutral + both)
        self._deviation_variance = deviation - deviation_gain * (both + deviation)
        self._covariance = both - neutral_gain * (both + deviation)
        return self.neutral + self._deviation

    def _predict(self, seconds: float) -> None:
        kept = np.float32(np.exp(-seconds / DEVIATION_S))
        self._deviation = kept * self._deviation
        self._covariance = kept * self._covariance
        self._deviation_variance = (kept ** 2 * self._deviation_variance
                                    + (1 - kept ** 2) * self._topology.deviation_variance)
        self._neutral_variance = self._neutral_variance + np.float32(NEUTRAL_STEP ** 2)

    def _is_other_person(self, residual: np.ndarray, variance: np.ndarray) -> bool:
        """Return whether residuals (V, 3) m with variances (V,) m^2 are those of a stranger."""
        stable = self._topology.stable
        squares = np.square(residual[stable]).mean(axis=1)
        return 2 * np.count_nonzero(squares > OTHER_PERSON * variance[stable]) > len(stable)


def vertex_noise(face: Face) -> np.ndarray:
    """Return one sigma (V,) m of the vertices of a face in one image; more where it is hidden."""
    x, y, z = np.ascontiguousarray(face.vertices.T)
    nx, ny, nz = face.camera_from_face[:3, :3] @ _topology(len(face.vertices)).normals.T
    hidden = -(nx * x + ny * y + nz * z) < HIDDEN_COSINE * np.sqrt(x * x + y * y + z * z)
    return np.float32(NOISE * face.position_std) * np.where(
        hidden, np.float32(HIDDEN_NOISE), np.float32(1))


class _Topology(NamedTuple):
    """What the filter needs of a mesh with V vertices; float32."""

    deviation_variance: np.ndarray  # (V,) m^2
    stable: np.ndarray  # (S,) indices of vertices that expressions hardly move
    normals: np.ndarray  # (V, 3) unit vectors out of the face; 0 where they are not known


@cache
def _topology(count: int) -> _Topology:
    """Return the topology of the face model; of other meshes, no vertex is known to be stable."""
    model = FaceModel.load()
    variance = np.full(count, np.float32(DEVIATION_STD ** 2))
    if count != len(model.template):
        return _Topology(variance, np.zeros(0, np.int32), np.zeros((count, 3), np.float32))
    variance[model.stable] = STABLE_DEVIATION_STD ** 2
    return _Topology(variance, model.stable, vertex_normals(model.template, model.triangles))
