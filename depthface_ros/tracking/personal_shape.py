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

from depthface_ros.compiled import compiled, in_order
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


class _State(NamedTuple):
    """What is known of a person; axes are contiguous in memory."""

    neutral: np.ndarray  # (3, V) m, face frame
    deviation: np.ndarray  # (3, V) m
    # Variances (V,) m^2 of neutral and deviation, and their covariance
    neutral_variance: np.ndarray
    deviation_variance: np.ndarray
    covariance: np.ndarray


class PersonalShape:
    """Filter the meshes of one tracked person, in the face frame; arrays are float32."""

    def __init__(self, vertices_face: np.ndarray):
        """Begin with a mesh (V, 3) m, face frame."""
        self._topology = _topology(len(vertices_face))
        self._state = _begun(in_order(vertices_face.T))

    @property
    def neutral(self) -> np.ndarray:
        """The neutral surface (V, 3) m, face frame."""
        return self._state.neutral.T

    @property
    def neutral_std(self) -> np.ndarray:
        """One sigma (V,) m per axis of the neutral surface."""
        return np.sqrt(self._state.neutral_variance)

    def update(self, measured: np.ndarray, noise: np.ndarray, seconds: float) -> np.ndarray:
        """Return the filtered mesh (V, 3) m, face frame, after one more image.

        A mesh that is far from the person's own is of another person: the filter begins again.

        :param measured: (V, 3) m, face frame.
        :param noise: (V,) m, one sigma of its vertices.
        :param seconds: since the image before.
        """
        measured = in_order(measured.T)
        kept = np.float32(np.exp(-seconds / DEVIATION_S))
        state, shape, other_person = _updated(
            self._state, measured, noise, kept, self._topology.deviation_variance,
            np.float32(NEUTRAL_STEP ** 2), self._topology.stable, np.float32(OTHER_PERSON))
        self._state = _begun(measured) if other_person else state
        return measured.T if other_person else shape.T


def _begun(vertices) -> _State:
    """Return the state after the first mesh (3, V) m."""
    nothing = np.zeros(vertices.shape[1], np.float32)
    return _State(vertices, np.zeros_like(vertices), nothing + np.float32(NEUTRAL_STD ** 2),
                  nothing, nothing)


@compiled
def _updated(state, measured, noise, kept, resting_variance, drift, stable, limit):
    """Return state and mesh (3, V) m after an image, and whether it shows another person.

    :param noise: (V,) m. :param kept: share of the deviations that the time has left.
    :param resting_variance: (V,) m^2, of deviations after a long time.
    :param drift: m^2 by which neutral variances rise. :param stable: (S,) indices of vertices.
    :param limit: of the median squared residual, in its variances.
    """
    neutral, deviation = state.neutral, kept * state.deviation
    both = kept * state.covariance
    deviation_variance = resting_variance + kept * kept * (
        state.deviation_variance - resting_variance)
    neutral_variance = state.neutral_variance + drift
    total = neutral_variance + both + both + deviation_variance + noise * noise
    residual = measured - (neutral + deviation)
    squares = residual[0] * residual[0] + residual[1] * residual[1] + residual[2] * residual[2]
    strange = np.count_nonzero((squares > np.float32(3) * limit * total)[stable])
    neutral_gain, deviation_gain = (neutral_variance + both) / total, (
        both + deviation_variance) / total
    neutral, deviation = neutral + neutral_gain * residual, deviation + deviation_gain * residual
    after = _State(neutral, deviation, neutral_variance - neutral_gain * (neutral_variance + both),
                   deviation_variance - deviation_gain * (both + deviation_variance),
                   both - neutral_gain * (both + deviation_variance))
    return after, neutral + deviation, 2 * strange > len(stable)


def vertex_noise(face: Face) -> np.ndarray:
    """Return one sigma (V,) m of the vertices of a face in one image; more where it is hidden."""
    return _vertex_noise(in_order(face.vertices), in_order(face.camera_from_face),
                         _topology(len(face.vertices)).normals,
                         np.float32(NOISE * face.position_std), np.float32(HIDDEN_NOISE),
                         np.float32(HIDDEN_COSINE))


@compiled
def _vertex_noise(vertices, pose, normals, seen, hidden, cosine):
    """Return `seen`, or `hidden` times that where a vertex faces away: (V,).

    :param vertices: (V, 3) m, camera frame. :param normals: (3, V), face frame.
    """
    x, y, z = vertices[:, 0], vertices[:, 1], vertices[:, 2]
    u, v, w = normals[0], normals[1], normals[2]
    towards = -(x * (pose[0, 0] * u + pose[0, 1] * v + pose[0, 2] * w)
                + y * (pose[1, 0] * u + pose[1, 1] * v + pose[1, 2] * w)
                + z * (pose[2, 0] * u + pose[2, 1] * v + pose[2, 2] * w))
    faces_away = towards < cosine * np.sqrt(x * x + y * y + z * z)
    return seen + seen * (hidden - np.float32(1)) * faces_away.astype(np.float32)


class _Topology(NamedTuple):
    """What the filter needs of a mesh with V vertices; float32."""

    deviation_variance: np.ndarray  # (V,) m^2
    stable: np.ndarray  # (S,) indices of vertices that expressions hardly move
    normals: np.ndarray  # (3, V) unit vectors out of the face; 0 where they are not known


@cache
def _topology(count: int) -> _Topology:
    """Return the topology of the face model; of other meshes, no vertex is known to be stable."""
    model = FaceModel.load()
    variance = np.full(count, np.float32(DEVIATION_STD ** 2))
    if count != len(model.template):
        return _Topology(variance, np.zeros(0, np.int32), np.zeros((3, count), np.float32))
    variance[model.stable] = STABLE_DEVIATION_STD ** 2
    return _Topology(variance, model.stable,
                     in_order(vertex_normals(model.template, model.triangles).T))
