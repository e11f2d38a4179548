# SPDX-License-Identifier: Apache-2.0
"""One depth image in, faces out: the pipeline, from top to bottom."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from depthface_ros import compiled
from depthface_ros.engines import MODELS_FOLDER, DeviceEngine, Engine, open_engine
from depthface_ros.estimation import head_detector
from depthface_ros.estimation.acceptance import are_certain
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.covariance import pose_covariance
from depthface_ros.estimation.face_fitting import FaceFitting, FittedFaces, ignore
from depthface_ros.estimation.head_detector import MIN_DEPTH, DetectorConfig
from depthface_ros.estimation.poses import Poses
from depthface_ros.estimation.recrop import recrop, test_time_augmentation
from depthface_ros.estimation.types import Face, HeadCandidates, PredictedFaces
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.camera import Intrinsics, check_camera
from depthface_ros.geometry.crop import (
    FACE_CENTRE_FACE,
    POSE_CROP_SIZE,
    crop_in_frame,
    face_rotation,
    points_camera,
    pose_frame,
    rounded,
)
from depthface_ros.geometry.rotations import compose
from depthface_ros.settings import group, setting

# Crops are placed at multiples of these, so that engines whose outputs differ in the last digits
# sample the same pixels. Powers of 2: their multiples are exact.
CENTRE_STEP = 1 / 256  # m
ROLL_STEP = 1 / 64  # rad


@dataclass(frozen=True)
class EstimatorConfig:
    """Thresholds of faces, and which stages run."""

    # Settings of earlier releases: accepted, with a warning, and without effect.
    REMOVED: ClassVar = ('shape_iterations', 'shape_looks')

    detector: DetectorConfig = group(DetectorConfig, old_name='finder')
    min_confidence: float = setting(0.5, 'Minimum confidence of a face.', 0.0, 1.0)
    track_keep_confidence: float = setting(
        0.1, 'Minimum confidence of a tracked face; lower than min_confidence, so that faces do '
        'not flicker.', 0.0, 1.0, old_name='keep_confidence')
    tta_confidence: float = setting(
        0.98, 'Confidence below which poses are averaged over rotated and mirrored crops '
        '(test-time augmentation); 0: never.', 0.0, 1.0, old_name='sure_confidence')
    max_rotation_std: float = setting(
        0.07, 'Maximum sigma of the rotation, in radians per axis, of faces in single images: '
        'geometric mean of the sigmas before and after the fit. Doubtful faces have a lower one.',
        0.0, 10.0)
    track_init_max_rotation_std: float = setting(
        0.12, 'The same of confident new faces while tracking.', 0.0, 10.0,
        old_name='followed_rotation_std')
    # Meshes at profiles and in noisy images exceed their heads by up to 0.04.
    max_seen_through: float = setting(
        0.07, 'Maximum fraction of the visible side of a new face through which the image shows '
        'what is behind; heads are opaque. 1: any.', 0.0, 1.0)
    min_measured: float = setting(0.04, 'Minimum fraction of a crop of 0.3 m with valid depth '
                                  'near the head; a whole head fills about 0.3.', 0.0, 1.0)
    separation: float = setting(0.08, 'Minimum distance between two sellions in metres.', 0.0, 1.0)
    recentre: float = setting(0.015, 'Distance of a head from the centre of its crop, in metres, '
                              'above which it is cropped again.', 0.0, 1.0)
    upright: float = setting(0.15, 'Roll of a head in its crop, in radians, above which it is '
                             'cropped again.', 0.0, 3.2)
    alignment: AlignmentConfig = group(AlignmentConfig, read_at='configure')
    refine: bool = setting(True, 'Refine expression, shape and pose from the residual between mesh '
                           'and measured surface.', read_at='configure')
    surface: bool = setting(True, 'Fit the mesh to the measured surface, as far as the noise of '
                            'the image allows.', read_at='configure')


class FaceEstimator:
    """Estimate faces in depth images: `faces = estimator(depth, intrinsics)`. Keeps no state."""

    def __init__(self, engine: str | Engine = 'auto', config: EstimatorConfig = EstimatorConfig(),
                 models_folder: str | Path = MODELS_FOLDER, calibration: Calibration | None = None):
        """Load the networks; see :func:`depthface_ros.engines.open_engine` for errors raised.

        :param models_folder: networks, and the error prior that was measured with them.
        :param calibration: by default the one in the folder of the networks, or none for an engine.
        """
        self.config = config
        self.face_model = FaceModel.load()
        self.engines_skipped: list[tuple[str, str]] = []
        by_name = isinstance(engine, str)
        if by_name:
            calibration = calibration or Calibration.load(models_folder)
            engine, self.engines_skipped = open_engine(engine, models_folder)
        self.calibration = calibration or Calibration()
        self.engine = engine
        self._device = engine if isinstance(engine, DeviceEngine) else None
        self._constant = self._device.constant if self._device else np.asarray
        self._fitting = FaceFitting(engine, self._constant, models_folder, config.alignment,
                                    config.refine, config.surface)
        if by_name and compiled.AVAILABLE and not self._device:
            self._fitting.prepare()

    def __call__(self, depth: np.ndarray, intrinsics: Intrinsics,
                 heads: HeadCandidates | None = None,
                 stage_done: Callable[[str], None] = ignore) -> list[Face]:
        """Return the faces in a depth image, most confident first.

        :param depth: (H, W) uint16 millimetres, 0 invalid, or float32 metres, invalid where not
            finite or <= 0; any size.
        :param intrinsics: of the depth camera, for this image size.
        :param heads: candidates that replace the head detector, as a tracker predicts them; their
            limit of sigma is `track_init_max_rotation_std`, tracked heads have none.
        :param stage_done: called with the name of each stage when it is done.
        :raises ValueError: image or intrinsics are not as described above.
        """
        intrinsics = check_camera(depth, intrinsics)
        depth = self._upload(depth, stage_done)
        compute = partial(self._compute, depth, intrinsics, stage_done)

        # Detect heads, unless candidates are given
        max_rotation_std = self.config.max_rotation_std
        if heads is None:
            heads = self._detect(compute)
            stage_done('find heads')
        else:
            max_rotation_std = max(max_rotation_std, self.config.track_init_max_rotation_std)
        heads = heads.measurable()
        if not len(heads.centres):
            return []

        # Predict their poses and accept confident ones
        poses = self._predict_poses(compute, heads)
        accepted = self._accepted(poses, heads.tracked)
        if not len(accepted):
            return []

        # Predict shape and expression, align the meshes to the depth image, refine
        camera_from_face, confidence, rotation_std, position_std = poses.of(accepted)
        tracked = heads.tracked[accepted]
        fit = self._fitting.fit_once if tracked.all() else self._fitting.fit
        fitted = self._fitted(depth, intrinsics, stage_done, fit, camera_from_face, rotation_std,
                              position_std)

        # Calibrate the sigmas; reject new faces with too large ones, and what is seen through
        faces = self._calibrated_faces(fitted, confidence, heads.detector_score[accepted],
                                       np.stack([rotation_std, position_std], axis=1), tracked)
        certain = are_certain(faces, self._fitting.prior, max_rotation_std,
                              self.config.max_rotation_std)
        opaque = fitted.seen_through <= self.config.max_seen_through
        return [faces[i] for i in np.flatnonzero(tracked | certain & opaque)]

    def follow(self, depth: np.ndarray, intrinsics: Intrinsics, predicted: PredictedFaces,
               stage_done: Callable[[str], None] = ignore) -> list[Face]:
        """Return the predicted faces as a depth image shows them, in their order.

        Neither detector nor pose network runs, and the shape network runs once. Nothing is
        rejected: `Face.support` and `Face.rotation_std` show whether a face was there.

        :param predicted: at least one face, in front of the camera.
        """
        intrinsics = check_camera(depth, intrinsics)
        depth = self._upload(depth, stage_done)
        poses = np.asarray(predicted.camera_from_face, np.float32)
        # The refiner's sigmas rely on those of the pose network, which has seen the same face.
        std = np.broadcast_to(np.asarray(predicted.network_std, np.float32), (len(poses), 2))
        fitted = self._fitted(depth, intrinsics, stage_done, self._fitting.fit_once, poses,
                              *np.ascontiguousarray(std.T))
        return self._calibrated_faces(fitted, predicted.confidence, predicted.detector_score, std,
                                      tracked=True)

    def find_heads(self, depth: np.ndarray, intrinsics: Intrinsics) -> HeadCandidates:
        """Return the head candidates in a depth image, best first; arguments as for a call."""
        intrinsics = check_camera(depth, intrinsics)
        depth = self._upload(depth, ignore)
        return self._detect(partial(self._compute, depth, intrinsics, ignore))

    # Stages with many numbers run where the engine computes, on numpy arrays or on tensors. The few
    # numbers per head between them are decided on here, in numpy.

    def _upload(self, depth, stage_done):
        if self._device is None:
            return depth
        depth = self._device.upload(depth)
        stage_done('upload')
        return depth

    def _compute(self, depth, intrinsics: Intrinsics, stage_done, stage: Callable,
                 *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run a stage where the engine computes. On a GPU its parts are not reported."""
        if self._device:
            return self._device.compute(stage, (depth, intrinsics), arrays)
        return stage(depth, intrinsics, *arrays, stage_done=stage_done)

    def _fitted(self, depth, intrinsics, stage_done, fit: Callable,
                *poses_and_std: np.ndarray) -> FittedFaces:
        fitted = FittedFaces(*self._compute(depth, intrinsics, stage_done, fit, *poses_and_std))
        if self._device:
            stage_done('alignment')  # with the stages around it
        return fitted

    def _detector_stage(self, depth, intrinsics, stage_done=ignore):
        """Return heat map (30, W / 4), offsets (3, 30, W / 4) m and points (4, 120, W) m."""
        points = head_detector.detector_input(depth, intrinsics)
        predicted = self.engine.run('head_finder', points[None])
        return predicted['heatmap'][0], predicted['offset'][0], points

    def _pose_stage(self, depth, intrinsics, camera_from_crop, stage_done=ignore):
        """Return poses (N, 4, 4), measured fraction (N,), confidence (N,), log variances (N, 2)."""
        xp = namespace(camera_from_crop)
        crops = crop_in_frame(depth, intrinsics, camera_from_crop)
        measured = xp.mean(xp.astype(crops[:, 3] > 0, xp.float32), axis=(1, 2))
        stage_done('pose crop')
        predicted = self.engine.run('head_pose', crops)
        camera_from_face = compose(camera_from_crop, face_rotation(predicted['rotation']),
                                   predicted['sellion'] * (POSE_CROP_SIZE / 2))
        stage_done('pose network')
        return camera_from_face, measured, predicted['confidence'][:, 0], predicted['log_variance']

    def _detect(self, compute) -> HeadCandidates:
        heatmap, offset, points = compute(self._detector_stage)
        return HeadCandidates(*head_detector.decode(heatmap, offset, points, self.config.detector))

    def _predict_poses(self, compute, heads: HeadCandidates) -> Poses:
        """Return the poses of candidates with calibrated confidences.

        Heads off the centre of their crop are cropped again. Uncertain ones get test-time
        augmentation, but not tracked ones: their images are averaged over time.
        """
        predict, config = partial(self._predict_in_crops, compute), self.config
        poses = predict(heads.centres)
        recrop(predict, poses, heads.centres, config.recentre, config.upright)
        confidence = self._calibrated_confidence(poses, heads)
        uncertain = ((confidence >= self._min_confidence(tracked=True))
                     & (confidence < config.tta_confidence) & ~heads.tracked)
        test_time_augmentation(predict, poses, uncertain)
        return poses._replace(confidence=self._calibrated_confidence(poses, heads))

    def _predict_in_crops(self, compute, head_centres, roll=None, mirrored: bool = False) -> Poses:
        """Return poses predicted from crops at centres (N, 3) m, rolled by (N,) rad, mirrored."""
        camera_from_crop = pose_frame(rounded(head_centres, CENTRE_STEP),
                                      None if roll is None else rounded(roll, ROLL_STEP))
        if mirrored:
            camera_from_crop[:, :3, 0] *= -1  # a left-handed frame holds the mirror image
        camera_from_face, measured, confidence, log_variance = compute(
            self._pose_stage, camera_from_crop)
        if mirrored:
            camera_from_face[:, :3, 1] *= -1  # back to a right-handed face frame
        confidence = np.where(measured >= self.config.min_measured, confidence, np.nan)
        return Poses(camera_from_face, confidence, *np.exp(0.5 * log_variance).T.copy())

    def _calibrated_confidence(self, poses: Poses, heads: HeadCandidates) -> np.ndarray:
        return self.calibration.confidence(heads.detector_score, poses.confidence,
                                           poses.rotation_std)

    def _calibrated_faces(self, fitted: FittedFaces, confidence: np.ndarray,
                          detector_score: np.ndarray, network_std: np.ndarray,
                          tracked: np.ndarray | bool) -> list[Face]:
        """Return faces with calibrated sigmas, and covariances of the measured factors."""
        # Factors are measured with the refiner. Without it all axes have one sigma.
        scales, factors = ((self.calibration, self.calibration) if self._fitting.refines
                           else (self._fitting.prior, Calibration()))
        rotation_std, position_std = scales.std(fitted.rotation_std, fitted.position_std)
        axis_std = factors.axis_std(rotation_std, position_std, tracked)
        return [Face(pose, vertices, expression, float(confidence[i]), float(rotation_std[i]),
                     float(position_std[i]), float(detector_score[i]),
                     pose_covariance(pose, axis_std[i]), float(fitted.support[i]),
                     fitted.expression_measured[i], fitted.expression_reliability[i],
                     tuple(network_std[i].tolist()))
                for i, (pose, vertices, expression) in enumerate(zip(*fitted[:3]))]

    def expression_reliability(self, distance_m: float) -> np.ndarray:
        """Return the explained variance (52,) in 0..1 of each coefficient at a distance.

        Measured on whole synthetic faces in single images; 0 for coefficients that stay at rest.
        `Face.expression_reliability` also considers which parts of a face are measured.
        """
        return self._fitting.expression_calibration.reliability_at(distance_m)

    def _min_confidence(self, tracked: np.ndarray | bool) -> np.ndarray:
        """Return the least confidence of a face, which is lower for tracked heads (hysteresis)."""
        least = self.config.min_confidence
        return np.where(tracked, min(least, self.config.track_keep_confidence), least)

    def _accepted(self, poses: Poses, tracked: np.ndarray) -> np.ndarray:
        """Return the indices of confident poses, best first, without duplicates."""
        face_centres = points_camera(poses.camera_from_face, FACE_CENTRE_FACE)
        confident = (np.isfinite(poses.camera_from_face).all(axis=(1, 2))
                     & (poses.confidence >= self._min_confidence(tracked))
                     & (face_centres[:, 2] > MIN_DEPTH))
        order = np.argsort(-poses.confidence, kind='stable')
        order = order[confident[order]]
        sellions = poses.camera_from_face[order, :3, 3]
        return order[head_detector.non_maximum_suppression(sellions, self.config.separation)]
