# SPDX-License-Identifier: Apache-2.0
"""Input and output of the estimator: candidates of the head detector, and faces."""
from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depthface_ros.estimation.covariance import isotropic_covariance
from depthface_ros.estimation.head_detector import MAX_DEPTH, MIN_DEPTH
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera

# Sigmas of a pose network's prediction, rad and m, where they are unknown
USUAL_NETWORK_STD = (0.04, 0.004)
UNKNOWN_SCORE = 0.5  # of candidates that do not come from the head detector: log odds of 0


class HeadCandidates(NamedTuple):
    """Places where there may be a face. A scalar score or flag stands for all N candidates."""

    centres: np.ndarray  # (N, 3) float32, metres, camera frame
    detector_score: np.ndarray | float = UNKNOWN_SCORE  # (N,) 0..1
    tracked: np.ndarray | bool = False  # (N,) whether a track predicts the candidate

    def measurable(self) -> HeadCandidates:
        """Return the candidates within the range of depth cameras, with one score and flag each.

        :raises ValueError: the centres have another shape or are not finite.
        """
        centres = np.asarray(self.centres, np.float32)
        if centres.ndim != 2 or centres.shape[1] != 3 or not np.isfinite(centres).all():
            raise ValueError(f'head centres of shape {centres.shape}: expected (N, 3), all finite')
        inside = (centres[:, 2] > MIN_DEPTH) & (centres[:, 2] < MAX_DEPTH)
        score, tracked = (np.full(len(centres), part)[inside] for part in self[1:])
        return HeadCandidates(centres[inside], score, tracked)


class PredictedFaces(NamedTuple):
    """Faces of a stream where a track expects them; N of them."""

    camera_from_face: np.ndarray  # (N, 4, 4) metres
    confidence: np.ndarray  # (N,) 0..1, of the last image that the pose network has seen
    detector_score: np.ndarray  # (N,) 0..1, the same
    # (N, 2) rad and m, sigmas per axis that the pose network predicted in that image
    network_std: np.ndarray | tuple[float, float] = USUAL_NETWORK_STD


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one depth image. Arrays are float32; metres, camera frame.

    `pose_covariance` is as in geometry_msgs/PoseWithCovariance, for the fixed axes of the camera
    frame: x, y, z in m, rotation about x, y, z in rad. By default all axes have one sigma.
    """

    camera_from_face: np.ndarray  # (4, 4)
    vertices: np.ndarray  # (V, 3)
    expression: np.ndarray  # (52,) in 0..1
    confidence: float  # 0..1
    rotation_std: float  # rad, one sigma per axis, all axes together
    position_std: float  # m, one sigma per axis, all axes together
    detector_score: float = UNKNOWN_SCORE  # 0..1, of the last detection
    pose_covariance: np.ndarray | None = None  # (6, 6) float64, never None in a face
    # 0..1, share of the side turned to the camera that lies on the measured surface
    support: float = 1.0
    # (52,) in 0..1, how much of the region that each coefficient moves is measured; and explained
    # variance of each coefficient in single images. Never None in a face, 1 if unknown.
    expression_measured: np.ndarray | None = None
    expression_reliability: np.ndarray | None = None
    # rad and m, one sigma per axis each, of the pose network's last prediction
    network_std: tuple[float, float] = USUAL_NETWORK_STD

    def __post_init__(self):
        if self.pose_covariance is None:
            object.__setattr__(self, 'pose_covariance', isotropic_covariance(
                self.rotation_std, self.position_std))
        for name in ('expression_measured', 'expression_reliability'):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.ones_like(self.expression))

    @property
    def head_centre(self) -> np.ndarray:
        """(3,) metres, camera frame: where the next image most likely shows this head."""
        return points_camera(self.camera_from_face[None], HEAD_CENTRE_FACE)[0]

    @property
    def heat(self) -> float:
        """The former name of :attr:`detector_score`."""
        warnings.warn('Face.heat is now Face.detector_score', DeprecationWarning, stacklevel=2)
        return self.detector_score
