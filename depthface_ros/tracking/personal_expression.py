# SPDX-License-Identifier: Apache-2.0
"""Expressions of a tracked person, measured by what deviates from the person's neutral surface.

The networks predict coefficients from one image. They cannot separate a wide mouth from a smile.
The neutral surface of the track can: what the mesh of an image adds to it across the surface, y, is
expression, a small error x of the pose, and noise. Both sources are fused:

    minimise  |y - A c - B x|^2 / noise^2 + |c - prediction|^2 / std^2 + |x / pose_std|^2

over the coefficients c and x. A are the displacements by expressions along the normals, B those by
small motions. The solution is linear, so its matrices are computed once.
"""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from depthface_ros.face_model.expression_displacements import expression_displacements
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.normals import vertex_normals

PREDICTION_STD = 0.15  # of a coefficient, by the networks
# m across the surface of a vertex. It is many times the noise of one, because neighbours err alike.
NOISE = 0.0055
USUAL_POSITION_STD = 0.002  # m of a face with that noise; less certain faces have more
POSE_STD = np.repeat([0.008, 0.0015], 3)  # rad, m: errors of one image's pose
VERTEX_STEP = 2  # every so many vertices are compared


def expression_of_mesh(prediction: np.ndarray, measured: np.ndarray, vertices: np.ndarray,
                       neutral: np.ndarray, position_std: float) -> np.ndarray:
    """Return the coefficients (52,) in 0..1 of a mesh; as predicted for meshes of other topologies.

    :param prediction: (52,) coefficients by the networks.
    :param measured: (52,) in 0..1, of the region of a coefficient; with 0 it stays as predicted.
    :param vertices, neutral: (V, 3) m, face frame.
    :param position_std: m, one sigma of the position of the face.
    """
    model = _linear_model()
    if len(vertices) != len(model.normals):
        return prediction
    across = ((vertices - neutral) * model.normals).sum(axis=1)[model.compared]
    unexplained = model.directions @ (across - model.motion @ prediction)
    noise = NOISE * max(position_std / USUAL_POSITION_STD, 1)
    gain = model.strength / (model.strength ** 2 + noise ** 2)
    correction = model.mixing @ (gain * unexplained)
    return (prediction + measured * correction).clip(0, 1)


def displacement(expression: np.ndarray, count: int) -> np.ndarray:
    """Return the displacement (V, 3) m of a mesh by coefficients (52,); 0 for other topologies."""
    displacements = _linear_model().displacements
    if count != displacements.shape[1] // 3:
        return np.zeros((count, 3), np.float32)
    return (expression @ displacements).reshape(3, count).T


class _LinearModel(NamedTuple):
    """What expressions and small motions do to the compared vertices; float32.

    With unknowns in units of their sigmas, J = [A B] = directions' diag(strength) mixing'.
    """

    displacements: np.ndarray  # (52, 3 * V) m; 0 of expressions that move no skin
    normals: np.ndarray  # (V, 3) unit vectors out of the face; axes contiguous, as of meshes
    compared: np.ndarray  # (C,) indices of vertices
    motion: np.ndarray  # (C, 52) m along the normals
    directions: np.ndarray  # (58, C)
    strength: np.ndarray  # (58,) m
    mixing: np.ndarray  # (52, 58)


@lru_cache(maxsize=1)
def _linear_model() -> _LinearModel:
    model, displacements = FaceModel.load(), expression_displacements().copy()
    displacements[[name.startswith('eyeLook') for name in EXPRESSION_NAMES]] = 0
    normals = vertex_normals(model.template, model.triangles)
    compared = np.setdiff1d(np.arange(len(normals)), model.regions['ears'])[::VERTEX_STEP]
    motion = np.einsum('kvi,vi->vk', displacements, normals)[compared]
    moved = np.concatenate([np.cross(model.template, normals), normals], axis=1)[compared]
    std = np.r_[np.full(motion.shape[1], PREDICTION_STD), POSE_STD]
    u, strength, v = np.linalg.svd(np.concatenate([motion, moved], axis=1) * std,
                                   full_matrices=False)
    mixing = (std[:, None] * v.T)[:motion.shape[1]]
    by_axis = displacements.transpose(0, 2, 1).reshape(len(displacements), -1)
    return _LinearModel(by_axis.astype(np.float32), normals.astype(np.float32, order='F'),
                        compared, *(array.astype(np.float32, order='C')
                                    for array in (motion, u.T, strength, mixing)))
