# SPDX-License-Identifier: Apache-2.0
"""Labels for unlabelled frames, by the whole pipeline (analysis by synthesis).

The stages after the shape network fit the mesh to the measured surface. So they follow faces
before an unfamiliar camera better than the network, which can learn from their results. Three steps
improve one pass of the pipeline: the mean with the result for the mirror image, one more fit from
that mean, and a threshold on the support by the measured surface.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from depthface_ros import FaceEstimator
from depthface_ros.estimation.face_fitting import FaceFitting
from depthface_ros.estimation.types import Face
from depthface_ros.io.frame import Frame
from training.adapt.target_domain import observation
from training.data.augment import Observation
from training.data.frame_views import cut_window, mirrored
from training.evaluation.self_consistency import MIN_SUPPORT, SAME_HEAD, apart, mirror_face

# Sigmas per axis of the fitted poses, about those of the pose network: rad, m.
FITTED_ROTATION_STD, FITTED_POSITION_STD = 0.04, 0.004


class Labeller:
    """Fit faces with a folder of models as an estimator does, and once more."""

    def __init__(self, models: Path):
        self._estimator = FaceEstimator('cpu_fp32', models_folder=models)
        config = self._estimator.config
        self._fitting = FaceFitting(self._estimator.engine, np.asarray, models, config.alignment,
                                    config.refine, config.surface)

    def __call__(self, frames: Iterable[Frame]) -> Observation:
        """Return windows around faces, labelled with pose, mesh and expression.

        :param frames: rectified.
        :raises ValueError: no frame has a face.
        """
        depths, cameras, faces = [], [], []
        for frame in frames:
            for face in self.faces(frame):
                depth, camera = cut_window(frame, face.head_centre)
                depths.append(depth)
                cameras.append(camera)
                faces.append(face)
        if not faces:
            raise ValueError('no face was found in the recording: expected people 0.3 to 3 m '
                             'away. Check that depth is in millimetres (uint16) or metres '
                             '(float32), and that the intrinsics are those of the camera')
        poses, vertices, expression = (np.stack(values) for values in zip(*(
            (face.camera_from_face, face.vertices, face.expression) for face in faces)))
        offsets = in_face_frame(vertices, poses) - self._estimator.face_model.template
        return replace(observation(np.stack(depths), np.array(cameras, np.float32), poses),
                       offsets=torch.from_numpy(offsets), expression=torch.from_numpy(expression))

    def faces(self, frame: Frame) -> Iterator[Face]:
        """Yield the faces of a rectified frame that lie on the measured surface."""
        found = self._estimator(frame.depth, frame.intrinsics)
        if not found:
            return
        mirror, model = mirrored(frame), self._estimator.face_model
        again = [mirror_face(face, model)
                 for face in self._estimator(mirror.depth, mirror.intrinsics)]
        for face in found:
            other = min(again, key=lambda other: apart(face, other), default=None)
            if other is not None and apart(face, other) < SAME_HEAD:
                fitted = self._fit_again(frame, mean_face(face, other))
                if fitted.support >= MIN_SUPPORT:
                    yield fitted

    def _fit_again(self, frame: Frame, face: Face) -> Face:
        """Return a face after alignment, refiner and surface that start from its mesh."""
        pose, vertices, expression = (array[None] for array in (
            face.camera_from_face, face.vertices, face.expression))
        fitted = self._fitting.fit_meshes(
            frame.depth, frame.intrinsics, pose, np.float32([FITTED_ROTATION_STD]),
            np.float32([FITTED_POSITION_STD]), in_face_frame(vertices, pose), expression)
        return replace(face, camera_from_face=fitted.camera_from_face[0],
                       vertices=fitted.vertices[0], expression=fitted.expression[0],
                       support=float(fitted.support[0]))


def mean_face(one: Face, other: Face) -> Face:
    """Return the mean of two estimates: of pose, mesh in the face frame, and expression."""
    poses = np.stack([one.camera_from_face, other.camera_from_face])
    pose = poses.mean(0)
    pose[:3, :3] = Rotation.from_matrix(poses[:, :3, :3]).mean().as_matrix()
    vertices = in_face_frame(np.stack([one.vertices, other.vertices]), poses).mean(0)
    return replace(one, camera_from_face=pose, vertices=vertices @ pose[:3, :3].T + pose[:3, 3],
                   expression=(one.expression + other.expression) / 2)


def in_face_frame(vertices: np.ndarray, camera_from_face: np.ndarray) -> np.ndarray:
    """Return vertices (N, V, 3) of the camera frame in the frames (N, 4, 4) of their faces."""
    return (vertices - camera_from_face[:, None, :3, 3]) @ camera_from_face[:, :3, :3]
