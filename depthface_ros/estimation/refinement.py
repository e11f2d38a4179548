# SPDX-License-Identifier: Apache-2.0
"""Refinement: a network reads the residual between aligned mesh and measured surface.

The alignment models errors by normal distributions. Expressions are rare and not normal: a smile
moves both cheeks by a millimetre, below the noise of single pixels but always in the same pattern.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depthface_ros.compiled import features as loops
from depthface_ros.compiled import in_order, takes
from depthface_ros.estimation.alignment import Aligned, onto_modes
from depthface_ros.estimation.error_prior import POSE
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import SIGNS, mirrored_corrections
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.one_rotation import corrected

# The features: residual and weight of each triangle; correction of the alignment, in sigmas; shape,
# in modes; direction and log distance of the camera; log sigmas; log odds of the expressions.
TRIANGLES, MODES, EXPRESSIONS = 632, 30, 52
LOG_DISTANCE = 2 * TRIANGLES + (POSE + MODES) + MODES + 3  # index of the log of metres
LOG_STDS = slice(LOG_DISTANCE + 1, LOG_DISTANCE + 3)  # of the pose network's sigmas
FEATURES = LOG_STDS.stop + EXPRESSIONS
REACH = 0.008  # m along the ray, at which a point counts a quarter: a smile moves cheeks by less
# Units of the features, and where they are clipped.
GAP, MAX_GAPS = 0.004, 3.0  # m; the largest residual, in this unit
ROTATION_STD, POSITION_STD = 0.05, 0.005  # rad, m
MIN_EXPRESSION = 0.003  # and one minus this, before log odds are taken
UNITS = np.float32([GAP, MAX_GAPS, MIN_EXPRESSION])


def mirrored_features() -> tuple[np.ndarray, np.ndarray]:
    """Return index and sign (FEATURES,) that turn features into those of the mirrored face."""
    order, signs = np.arange(FEATURES), np.ones(FEATURES, np.float32)
    for first in (0, TRIANGLES):
        order[first:first + TRIANGLES] = first + np.roll(np.arange(TRIANGLES), TRIANGLES // 2)
    order[-EXPRESSIONS:] = FEATURES - EXPRESSIONS + FaceModel.load().expression_mirror
    signs[2 * TRIANGLES:LOG_DISTANCE] = np.concatenate(
        [mirrored_corrections(), mirrored_corrections()[POSE:], np.float32(SIGNS)])
    return order, signs


class Refinement:
    """Input and output of the refiner; numpy or torch, as the modes are."""

    def __init__(self, template, modes: np.ndarray, constant: Callable = np.asarray):
        """Prepare for meshes that are a template (V, 3) m plus modes (K, V, 3) m.

        :param constant: converts a numpy array to the kind and device of the computation.
        """
        self._template, self._modes = template, constant(modes.reshape(len(modes), -1))
        self._onto = constant(onto_modes(modes))

    def features(self, distances, weights, aligned: Aligned, expression, rotation_std,
                 position_std):
        """Return the refiner's input (N, FEATURES) float32.

        :param distances, weights: (N, T) plane distances in m within REACH, and their weights.
        :param expression: (N, 52), 0..1, of the shape network.
        :param rotation_std, position_std: (N,) rad and m, of the pose network.
        """
        xp = namespace(distances)
        if takes(distances):
            logs = np.log(np.stack([rotation_std / ROTATION_STD, position_std / POSITION_STD], 1))
            return loops.refiner_input(
                distances, weights, aligned.correction, aligned.camera_from_face,
                aligned.vertices_face, self._template, self._onto, logs,
                in_order(expression), UNITS)
        rotation, origin = aligned.camera_from_face[:, :3, :3], aligned.camera_from_face[:, :3, 3]
        camera_face = -xp.matmul(origin[:, None], rotation)[:, 0]
        camera_distance = xp.sqrt((camera_face * camera_face).sum(axis=1, keepdims=True))
        offsets = aligned.vertices_face - self._template
        clipped = expression.clip(MIN_EXPRESSION, 1 - MIN_EXPRESSION)
        return xp.concat([
            (distances / GAP).clip(-MAX_GAPS, MAX_GAPS) * weights, weights, aligned.correction,
            xp.matmul(xp.reshape(offsets, (offsets.shape[0], -1)), xp.matrix_transpose(self._onto)),
            camera_face / camera_distance, xp.log(camera_distance),
            xp.log(rotation_std / ROTATION_STD)[:, None],
            xp.log(position_std / POSITION_STD)[:, None],
            xp.log(clipped / (1 - clipped))], axis=1)

    def refined(self, aligned: Aligned, correction):
        """Return poses (N, 4, 4) and vertices (N, V, 3) m, face frame, after corrections.

        A correction (N, 6 + K) is a rotation vector (rad) and a translation (m), in the face frame,
        and shape modes in sigmas.
        """
        xp = namespace(correction)
        pose = corrected(aligned.camera_from_face, correction[:, :3], correction[:, 3:POSE])
        offsets = xp.reshape(xp.matmul(correction[:, POSE:], self._modes),
                             aligned.vertices_face.shape)
        return pose, aligned.vertices_face + offsets
