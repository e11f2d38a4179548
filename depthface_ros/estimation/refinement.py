# SPDX-License-Identifier: Apache-2.0
"""What is left between an aligned mesh and the measured surface, for the refiner to read.

An alignment knows of faces what normal distributions can say. A smile is rare, and one thing with
what it does to both cheeks: a network tells it from gaps of a millimetre that are alike in no two
pixels of a crop, but always beside the same corner of a mouth.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthface_ros.estimation.alignment import Aligned, onto_modes
from depthface_ros.estimation.error_prior import POSE
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import SIGNS, mirrored_corrections
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.rotations import compose, rotation_from_vector

# What the refiner is given: gap and weight of each triangle; what the alignment changed, in sigmas
# of what was expected; the shape, in modes; where the camera is; what the networks said.
TRIANGLES, MODES, EXPRESSIONS = 632, 30, 52
LOG_DISTANCE = 2 * TRIANGLES + (POSE + MODES) + MODES + 3  # where the log of metres stands
LOG_STDS = slice(LOG_DISTANCE + 1, LOG_DISTANCE + 3)  # where those of the pose network do
FEATURES = LOG_STDS.stop + EXPRESSIONS
REACH = 0.008  # m along the ray, at which a point counts a quarter: more than a smile moves a cheek
# What makes features of order one, and from where on they say no more.
GAP, MOST_GAPS = 0.004, 3.0  # m, and times as much
ROTATION_STD, POSITION_STD = 0.05, 0.005  # rad, m
LEAST = 0.003  # of an expression, before its log odds are taken


def mirrored_features() -> tuple[np.ndarray, np.ndarray]:
    """Which feature of a face is which of its mirror image: index and sign, (FEATURES,) each."""
    order, signs = np.arange(FEATURES), np.ones(FEATURES, np.float32)
    for first in (0, TRIANGLES):
        order[first:first + TRIANGLES] = first + np.roll(np.arange(TRIANGLES), TRIANGLES // 2)
    order[-EXPRESSIONS:] = FEATURES - EXPRESSIONS + FaceModel.load().expression_mirror
    signs[2 * TRIANGLES:LOG_DISTANCE] = np.concatenate(
        [mirrored_corrections(), mirrored_corrections()[POSE:], np.float32(SIGNS)])
    return order, signs


class Refinement:
    """Asks the refiner, and does what it says; numpy or torch, as the modes are."""

    def __init__(self, template, modes: np.ndarray, constant: Callable = np.asarray):
        """Prepare for meshes that differ from a template (V, 3) m by modes (K, V, 3) m.

        :param constant: makes an array of numpy's one of the kind and device that is computed with.
        """
        self._template, self._modes = template, constant(modes.reshape(len(modes), -1))
        self._onto = constant(onto_modes(modes).T.copy())

    def features(self, gaps, weights, aligned: Aligned, expression, rotation_std, position_std):
        """The refiner's input (N, FEATURES) float32.

        :param gaps, weights: (N, T), of the alignment within REACH.
        :param expression: (N, 52), 0..1, by the shape network.
        :param rotation_std, position_std: (N,) rad and m, by the pose network.
        """
        xp = namespace(gaps)
        rotation, origin = aligned.camera_from_face[:, :3, :3], aligned.camera_from_face[:, :3, 3]
        camera_face = -xp.matmul(origin[:, None], rotation)[:, 0]
        distance = xp.sqrt(xp.sum(camera_face * camera_face, axis=1, keepdims=True))
        offsets = aligned.vertices_face - self._template
        share = expression.clip(LEAST, 1 - LEAST)
        return xp.concat([
            (gaps / GAP).clip(-MOST_GAPS, MOST_GAPS) * weights, weights, aligned.correction,
            xp.matmul(xp.reshape(offsets, (offsets.shape[0], -1)), self._onto),
            camera_face / distance, xp.log(distance),
            xp.log(rotation_std / ROTATION_STD)[:, None],
            xp.log(position_std / POSITION_STD)[:, None],
            xp.log(share / (1 - share))], axis=1)

    def refined(self, aligned: Aligned, correction):
        """Poses (N, 4, 4) and vertices (N, V, 3) m, face frame, after corrections (N, 6 + K).

        A correction is a rotation vector (rad) and a translation (m) in the face frame, to follow
        the pose, and sigmas of modes.
        """
        xp = namespace(correction)
        pose = compose(aligned.camera_from_face, rotation_from_vector(correction[:, :3]),
                       correction[:, 3:POSE])
        bent = xp.reshape(xp.matmul(correction[:, POSE:], self._modes),
                          aligned.vertices_face.shape)
        return pose, aligned.vertices_face + bent
