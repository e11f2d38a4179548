# SPDX-License-Identifier: Apache-2.0
"""From predicted head poses to face meshes: shape network, alignment, refiner, surface detail."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthface_ros.engines import Engine
from depthface_ros.estimation.alignment import (
    Aligned,
    Alignment,
    AlignmentConfig,
    aligned_triangles,
    face_modes,
)
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.expression_calibration import (
    CalibratedExpressions,
    ExpressionCalibration,
)
from depthface_ros.estimation.point_to_plane import (
    distances,
    in_camera,
    pixels_around,
    seen_through,
)
from depthface_ros.estimation.refinement import REACH, Refinement
from depthface_ros.estimation.surface import SurfaceDetail, SurfaceModes
from depthface_ros.face_model.expression_regions import MeasuredExpressions
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.crop import shape_crop
from depthface_ros.geometry.one_rotation import corrected


def ignore(stage: str) -> None:
    """Take the name of a stage that is done; nobody measures it."""


class FittedFaces(NamedTuple):
    """N faces; numpy or torch, float32."""

    camera_from_face: np.ndarray  # (N, 4, 4)
    vertices: np.ndarray  # (N, V, 3) m, camera frame; m, face frame, inside of the fit
    expression: np.ndarray  # (N, 52) in 0..1
    rotation_std: np.ndarray  # (N,) rad, of the last network that predicts one
    position_std: np.ndarray  # (N,) m
    # (N,) 0..1, share of the side turned to the camera that lies on the measured surface
    support: np.ndarray
    # (N, 52) in 0..1, measured share of the regions that expressions move, and explained variance
    # of the coefficients, 0 where nothing is measured
    expression_measured: np.ndarray
    expression_reliability: np.ndarray
    # (N,) 0..1, share of that side through which the image shows what is behind
    seen_through: np.ndarray


class PredictedShape(NamedTuple):
    """What the shape network predicts of N faces; numpy or torch, float32."""

    camera_from_face: np.ndarray  # (N, 4, 4), corrected
    offsets: np.ndarray  # (N, V, 3) m from the template, face frame
    expression: np.ndarray  # (N, 52) in 0..1


class FaceFitting:
    """Fit face meshes to a depth image; numpy or torch, as the engine computes."""

    def __init__(self, engine: Engine, constant: Callable, models_folder: Path,
                 alignment: AlignmentConfig, refine: bool, surface: bool):
        """Prepare the face model for an engine.

        :param constant: converts a numpy array to the kind and device of the computation.
        :param refine, surface: whether to run the refiner and to fit surface detail; neither
            without an alignment.
        """
        self._engine = engine
        self._template = constant(FaceModel.load().template)
        triangles, modes = aligned_triangles(FaceModel.load()), face_modes()
        self.prior = ErrorPrior.load(models_folder, len(modes), len(triangles))
        self._align = Alignment(constant(triangles), constant(modes), alignment, self.prior)
        # The refiner was trained on what an alignment of all modes leaves.
        self.refines = refine and alignment.steps > 0 and alignment.modes >= len(modes)
        self._refinement = Refinement(self._template, modes, constant)
        self._measured_expressions = MeasuredExpressions(constant)
        self.expression_calibration = ExpressionCalibration.load(models_folder)
        self._calibrated_expressions = CalibratedExpressions(self.expression_calibration, constant)
        self._fits_surface = surface and alignment.steps > 0
        self._surface = SurfaceDetail(FaceModel.load(), SurfaceModes.load(), constant)

    def prepare(self) -> None:
        """Compile, or load, the loops for both kinds of images, for which the first would wait."""
        pose = np.eye(4, dtype=np.float32)[None]
        pose[:, 2, 3] = 1
        std = np.float32([0.1])
        for dtype in (np.uint16, np.float32):
            self.fit_once(np.zeros((2, 2), dtype), Intrinsics(1.0, 1.0, 0.5, 0.5), pose, std, std)

    def fit(self, depth, intrinsics, camera_from_face, rotation_std, position_std,
            stage_done: Callable[[str], None] = ignore) -> FittedFaces:
        """Return the faces at predicted poses (N, 4, 4) with sigmas (N,) in rad and m.

        The shape is the mean of two passes. The second one reads the mirror image at the corrected
        pose: errors on a face and on its mirror image are less correlated, so they average out.
        """
        first = self._predict_shape(depth, intrinsics, camera_from_face, stage_done)
        second = self._predict_shape(depth, intrinsics, first.camera_from_face, stage_done,
                                     mirrored=True)
        mean = PredictedShape(second.camera_from_face, (first.offsets + second.offsets) / 2,
                              (first.expression + second.expression) / 2)
        return self._fit_shape(depth, intrinsics, mean, rotation_std, position_std, stage_done)

    def fit_once(self, depth, intrinsics, camera_from_face, rotation_std, position_std,
                 stage_done: Callable[[str], None] = ignore) -> FittedFaces:
        """Return the same by one pass, for faces that the next image shows again."""
        shape = self._predict_shape(depth, intrinsics, camera_from_face, stage_done)
        return self._fit_shape(depth, intrinsics, shape, rotation_std, position_std, stage_done)

    def _fit_shape(self, depth, intrinsics, shape: PredictedShape, rotation_std, position_std,
                   stage_done) -> FittedFaces:
        return self.fit_meshes(depth, intrinsics, shape.camera_from_face, rotation_std,
                               position_std, self._template + shape.offsets, shape.expression,
                               stage_done)

    def fit_meshes(self, depth, intrinsics, camera_from_face, rotation_std, position_std,
                   vertices_face, expression, stage_done: Callable[[str], None] = ignore
                   ) -> FittedFaces:
        """Return the fit that starts from given meshes (N, V, 3) m of the face frame."""
        aligned = self._align(depth, intrinsics, camera_from_face, rotation_std, position_std,
                              vertices_face)
        stage_done('alignment')
        # Reliabilities are measured with the refiner. Without it there is none.
        faces = FittedFaces(*aligned[:2], expression, rotation_std, position_std,
                            namespace(rotation_std).ones_like(rotation_std), 0 * expression,
                            0 * expression, 0 * rotation_std)
        if self.refines:
            faces = self._refine(depth, intrinsics, aligned, faces)
            stage_done('refiner')
        if self._fits_surface:
            faces = faces._replace(vertices=self._surface(
                depth, intrinsics, faces.camera_from_face, faces.vertices))
            stage_done('surface')
        return faces._replace(vertices=_transform(faces.camera_from_face, faces.vertices))

    def _predict_shape(self, depth, intrinsics, camera_from_face, stage_done,
                       mirrored: bool = False) -> PredictedShape:
        """Predict shapes from crops at poses (N, 4, 4), or from their mirror images."""
        crops = shape_crop(depth, intrinsics, camera_from_face)
        stage_done('shape crop')
        shape = (mirrored_shape(self._engine.run('face_shape', mirrored_crops(crops)))
                 if mirrored else self._engine.run('face_shape', crops))
        residual = shape['residual']  # rotation vector and translation
        camera_from_face = corrected(camera_from_face, residual[:, :3], residual[:, 3:])
        stage_done('shape network')
        return PredictedShape(camera_from_face, shape['offsets'], shape['expression'])

    def _refine(self, depth, intrinsics, aligned: Aligned, faces: FittedFaces) -> FittedFaces:
        """Return the faces after the refiner's corrections, with its expressions and sigmas."""
        xp = namespace(faces.expression)
        planes = self._align.triangles.planes(*aligned[:2])
        centre, normal = in_camera(aligned.camera_from_face, planes)
        pixels = pixels_around(depth, intrinsics, centre)
        residual, weights = distances(pixels, centre, normal, planes.visible_area, REACH)
        predicted = self._engine.run('face_refiner', self._refinement.features(
            residual, weights, aligned, *faces[2:5]))
        std = xp.exp(0.5 * predicted['log_variance'])
        area = planes.visible_area[:, 0]
        support = (weights * area).sum(axis=1) / area.sum(axis=1).clip(1e-12)
        pose, vertices = self._refinement.refined(aligned, predicted['correction'])
        position = aligned.camera_from_face[:, :3, 3]
        expression, reliability = self._calibrated_expressions(
            predicted['expression'], xp.sqrt((position * position).sum(axis=1)))
        measured = self._measured_expressions(weights)
        return FittedFaces(pose, vertices, expression * measured, std[:, 0], std[:, 1], support,
                           measured, reliability * measured,
                           seen_through(pixels, centre[:, 2:], planes.visible_area))


def _transform(camera_from_face, vertices_face):
    """Return vertices (N, V, 3) m of the face frame in the camera frame."""
    xp = namespace(vertices_face)
    rotated = xp.matmul(vertices_face, xp.matrix_transpose(camera_from_face[:, :3, :3]))
    return rotated + camera_from_face[:, None, :3, 3]
