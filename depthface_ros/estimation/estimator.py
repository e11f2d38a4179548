# SPDX-License-Identifier: Apache-2.0
"""One depth image in, faces out: the whole pipeline, readable top to bottom."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from depthface_ros.engines import MODELS_FOLDER, DeviceEngine, Engine, open_engine
from depthface_ros.estimation import head_detector
from depthface_ros.estimation.alignment import (
    Aligned,
    Alignment,
    AlignmentConfig,
    aligned_triangles,
    face_modes,
)
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.head_detector import MIN_DEPTH, FinderConfig
from depthface_ros.estimation.poses import Poses
from depthface_ros.estimation.recrop import recrop, test_time_augmentation
from depthface_ros.estimation.refinement import REACH, Refinement
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape
from depthface_ros.geometry.arrays import namespace
from depthface_ros.geometry.camera import Intrinsics, check_camera
from depthface_ros.geometry.crop import (
    FACE_CENTRE_FACE,
    POSE_CROP_SIZE,
    crop_in_frame,
    points_camera,
    pose_frame,
    rounded,
    shape_crop,
)
from depthface_ros.geometry.rotations import compose, rotation_from_6d, rotation_from_vector
from depthface_ros.settings import setting

# To multiples of these, far below what networks notice, goes where the pose network looks: powers
# of 2, so that multiples are exact.
CENTRE_STEP = 1 / 256  # m
ROLL_STEP = 1 / 64  # rad


@dataclass(frozen=True)
class EstimatorConfig:
    """What counts as a face."""

    finder: FinderConfig = field(default_factory=FinderConfig)
    min_confidence: float = setting(0.6, 'Confidence from which on a head counts as a face.',
                                    0.0, 1.0)
    keep_confidence: float = setting(0.1, 'Confidence from which on a tracked head stays one: '
                                     'less than it took to become one, so nothing flickers.',
                                     0.0, 1.0)
    sure_confidence: float = setting(0.98, 'Confidence below which a head is looked at from other '
                                     'sides before it counts as a face; 0: none is.', 0.0, 1.0)
    max_rotation_std: float = setting(0.06, 'Radians, one sigma about each axis, up to which a '
                                      'rotation is sure enough to tell of one image.', 0.0, 10.0)
    followed_rotation_std: float = setting(0.12, 'The same where heads are followed, of new ones: '
                                           'a face is told when it was seen twice, and smoothed.',
                                           0.0, 10.0)
    min_measured: float = setting(0.04, 'Share of a crop of 0.3 m that must have depth near the '
                                  'head; a whole head fills about 0.3.', 0.0, 1.0)
    separation: float = setting(0.08, 'Metres between two sellions, at least.', 0.0, 1.0)
    recentre: float = setting(0.015, 'Metres from the middle of a crop to the head in it, beyond '
                              'which it is cropped anew.', 0.0, 1.0)
    upright: float = setting(0.15, 'Radians of roll, beyond which a head is cropped anew, '
                             'upright.', 0.0, 3.2)
    shape_looks: int = setting(2, 'Times that the shape network looks at a face, each time from '
                               'the pose that it corrected before; every other time in the mirror.',
                               1, 4)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    refine: bool = setting(True, 'After the alignment, read expression, shape and pose off what '
                           'is left between mesh and measured surface.')


def _ignore(stage: str) -> None:
    pass


class FaceEstimator:
    """Finds faces in depth images: `faces = estimator(depth, intrinsics)`. Keeps no state."""

    def __init__(self, engine: str | Engine = 'auto', config: EstimatorConfig = EstimatorConfig(),
                 models_folder: Path = MODELS_FOLDER, calibration: Calibration | None = None):
        """Load the networks; see :func:`depthface_ros.engines.open_engine` for errors raised.

        :param models_folder: of the networks; for an engine, too, what errors to expect of them.
        :param calibration: by default the one in the folder of the networks; none for an engine.
        """
        self.config = config
        self.face_model = FaceModel.load()
        self.engines_skipped: list[tuple[str, str]] = []
        if isinstance(engine, str):
            calibration = calibration or Calibration.load(models_folder)
            engine, self.engines_skipped = open_engine(engine, models_folder)
        self.calibration = calibration or Calibration()
        self.engine = engine
        self._on_device = isinstance(engine, DeviceEngine)
        # where the engine computes
        self._constant = constant = engine.constant if self._on_device else np.asarray
        self._template = constant(self.face_model.template)
        triangles, modes = aligned_triangles(self.face_model), face_modes()
        self._expected = ErrorPrior.load(models_folder, len(modes), len(triangles))
        self._align = Alignment(constant(triangles), constant(modes), config.alignment,
                                self._expected)
        # it knows only what an alignment of all modes leaves
        self._refines = (config.refine and config.alignment.steps > 0
                         and config.alignment.modes >= len(modes))
        self._refinement = Refinement(self._template, modes, constant)

    def __call__(self, depth: np.ndarray, intrinsics: Intrinsics,
                 heads: HeadCandidates | None = None,
                 stage_done: Callable[[str], None] = _ignore) -> list[Face]:
        """Estimate the pose and the mesh of every face in a depth image, most confident first.

        :param depth: (H, W) uint16 millimetres, 0 invalid, or float32 metres, invalid where not
            finite or <= 0; any size.
        :param intrinsics: of the camera that took it, for this image size.
        :param heads: when it is known where they are, as when they are followed from image to
            image: the head finder is then skipped, and `followed_rotation_std` counts, or, for
            heads that are tracked already, no limit to doubt.
        :param stage_done: called with the name of each stage when it is done.
        :raises ValueError: the image or the intrinsics are not what is described above.
        """
        intrinsics = check_camera(depth, intrinsics)
        if self._on_device:
            depth = self.engine.upload(depth)
            stage_done('upload')
        most_doubt = self.config.max_rotation_std
        if heads is None:
            heads = self._find_heads(depth, intrinsics)
            stage_done('find heads')
        else:
            most_doubt = max(most_doubt, self.config.followed_rotation_std)
        heads = heads.measurable()

        if not len(heads.centres):
            return []
        poses = self._seek_poses(depth, intrinsics, heads, stage_done)
        faces = self._accept(poses, heads.tracked)
        if not len(faces):
            return []
        camera_from_face, confidence, rotation_std, position_std = poses.of(faces)
        camera_from_face, vertices, expression, rotation_std, position_std = self._compute(
            self._shape_stage, depth, intrinsics, (camera_from_face, rotation_std, position_std),
            stage_done)
        known = self.calibration if self._refines else self._expected
        rotation_std, position_std = known.std(rotation_std, position_std)
        if self._on_device:
            stage_done('alignment')  # and what comes before and after it

        return [Face(camera_from_face[i], vertices[i], expression[i],
                     float(confidence[i]), float(rotation_std[i]), float(position_std[i]),
                     float(heads.detector_score[head]))
                for i, head in enumerate(faces)
                if heads.tracked[head] or rotation_std[i] <= most_doubt]

    def find_heads(self, depth: np.ndarray, intrinsics: Intrinsics) -> HeadCandidates:
        """The heads in a depth image, hottest first; image and errors as for a call."""
        intrinsics = check_camera(depth, intrinsics)
        return self._find_heads(self.engine.upload(depth) if self._on_device else depth,
                                intrinsics)

    def _find_heads(self, depth, intrinsics: Intrinsics) -> HeadCandidates:
        heat, offset, points = self._compute(self._finder_stage, depth, intrinsics, ())
        return HeadCandidates(*head_detector.decode(heat, offset, points, self.config.finder))

    def _compute(self, stage: Callable, depth, intrinsics: Intrinsics,
                 arrays: tuple[np.ndarray, ...], stage_done=_ignore) -> tuple[np.ndarray, ...]:
        """Run a stage where the engine computes; on a GPU its parts are one to `stage_done`."""
        if self._on_device:
            return self.engine.compute(stage, (depth, intrinsics), arrays)
        return stage(depth, intrinsics, *arrays, stage_done=stage_done)

    # Three stages hold all that is done with many numbers. They run on numpy arrays or on a GPU's
    # tensors; between them a few numbers per head are looked at here.

    def _finder_stage(self, depth, intrinsics, stage_done=_ignore):
        points = head_detector.finder_input(depth, intrinsics)
        found = self.engine.run('head_finder', points[None])
        return found['heatmap'][0], found['offset'][0], points

    def _pose_stage(self, depth, intrinsics, camera_from_crop, stage_done=_ignore):
        xp = namespace(camera_from_crop)
        crops = crop_in_frame(depth, intrinsics, camera_from_crop)
        measured = xp.mean(xp.astype(crops[:, 3] > 0, xp.float32), axis=(1, 2))
        stage_done('pose crop')
        answer = self.engine.run('head_pose', crops)
        camera_from_face = compose(camera_from_crop, rotation_from_6d(answer['rotation']),
                                   answer['sellion'] * (POSE_CROP_SIZE / 2))
        return camera_from_face, measured, answer['confidence'][:, 0], answer['log_variance']

    def _shape_stage(self, depth, intrinsics, camera_from_face, rotation_std, position_std,
                     stage_done=_ignore):
        xp = namespace(camera_from_face)
        looks = []
        for look in range(self.config.shape_looks):
            crops = shape_crop(depth, intrinsics, camera_from_face)
            stage_done('shape crop')
            looks.append(self._see_shape(crops, mirrored=look % 2 == 1))
            residual = looks[-1]['residual']  # rotation vector and translation
            camera_from_face = compose(camera_from_face, rotation_from_vector(residual[:, :3]),
                                       residual[:, 3:])
            stage_done('shape network')
        # of a face and its mirror image a network errs less alike, so the mean errs less
        offsets, expression = (sum(shape[name] for shape in looks) / len(looks)
                               for name in ('offsets', 'expression'))
        aligned = self._align(depth, intrinsics, camera_from_face, rotation_std, position_std,
                              self._template + offsets)
        stage_done('alignment')
        camera_from_face, vertices_face = aligned[:2]
        if self._refines:
            camera_from_face, vertices_face, expression, rotation_std, position_std = self._refine(
                depth, intrinsics, aligned, expression, rotation_std, position_std)
            stage_done('refiner')
        vertices = xp.matmul(vertices_face, xp.matrix_transpose(camera_from_face[:, :3, :3]))
        vertices = vertices + camera_from_face[:, None, :3, 3]
        return camera_from_face, vertices, expression, rotation_std, position_std

    def _see_shape(self, crops, mirrored: bool):
        """What the shape network says of crops: offsets, expression and residual."""
        if not mirrored:
            return self.engine.run('face_shape', crops)
        return mirrored_shape(self.engine.run('face_shape', mirrored_crops(crops)))

    def _refine(self, depth, intrinsics, aligned: Aligned, expression, rotation_std, position_std):
        """Poses, vertices in the face frame, expressions and sigmas, after a look at what is left."""
        xp = namespace(expression)
        left = self._align.triangles.plane_distances(depth, intrinsics, *aligned[:2], REACH)
        answer = self.engine.run('face_refiner', self._refinement.features(
            *left, aligned, expression, rotation_std, position_std))
        std = xp.exp(0.5 * answer['log_variance'])
        return (*self._refinement.refined(aligned, answer['correction']), answer['expression'],
                std[:, 0], std[:, 1])

    def _seek_poses(self, depth, intrinsics, heads: HeadCandidates, stage_done) -> Poses:
        """The poses of heads, after as many looks as each of them takes, with calibrated confidence."""
        look, config = partial(self._predict_poses, depth, intrinsics, stage_done), self.config
        poses = look(heads.centres)
        recrop(look, poses, heads.centres, config.recentre, config.upright)
        confidence = self._confidence(poses, heads)
        test_time_augmentation(look, poses, (confidence >= self._least(tracked=True))
                                & (confidence < config.sure_confidence))
        return poses._replace(confidence=self._confidence(poses, heads))

    def _predict_poses(self, depth, intrinsics, stage_done, head_centres, roll=None,
                       mirrored: bool = False) -> Poses:
        """Crop heads at (N, 3) and ask the pose network; confidence is NaN where nothing is.

        Where to crop is rounded, and worked out on the host: engines whose networks differ in the
        last digits go on from the same pixels.

        :param mirrored: show the network the mirror image.
        """
        camera_from_crop = pose_frame(rounded(head_centres, CENTRE_STEP),
                                      None if roll is None else rounded(roll, ROLL_STEP))
        if mirrored:
            camera_from_crop[:, :3, 0] *= -1  # what a left-handed frame holds is mirrored
        camera_from_face, measured, confidence, log_variance = self._compute(
            self._pose_stage, depth, intrinsics, (camera_from_crop,), stage_done)
        if mirrored:
            camera_from_face[:, :3, 1] *= -1  # so left and right of the face are swapped
        stage_done('pose network')
        confidence = np.where(measured >= self.config.min_measured, confidence, np.nan)
        return Poses(camera_from_face, confidence, *np.exp(0.5 * log_variance).T.copy())

    def _confidence(self, poses: Poses, heads: HeadCandidates) -> np.ndarray:
        """That there are faces, (N,)."""
        return self.calibration.confidence(heads.detector_score, poses.confidence, poses.rotation_std)

    def _least(self, tracked: np.ndarray | bool) -> np.ndarray:
        """The confidence that it takes to count as a face, for heads that are tracked or not."""
        least = self.config.min_confidence
        return np.where(tracked, min(least, self.config.keep_confidence), least)

    def _accept(self, poses: Poses, tracked: np.ndarray) -> np.ndarray:
        """Indices of the poses that are faces, most confident first, each face once."""
        face_centres = points_camera(poses.camera_from_face, FACE_CENTRE_FACE)
        good = (np.isfinite(poses.camera_from_face).all(axis=(1, 2))
                & (poses.confidence >= self._least(tracked))
                & (face_centres[:, 2] > MIN_DEPTH))
        order = np.argsort(-poses.confidence, kind='stable')
        order = order[good[order]]
        sellions = poses.camera_from_face[order, :3, 3]
        return order[head_detector.separate(sellions, self.config.separation)]
