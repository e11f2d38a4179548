# SPDX-License-Identifier: Apache-2.0
"""Head pose, face mesh and expression from depth images: `FaceEstimator()(depth, Intrinsics(...))`."""

from depthface_ros.camera import Intrinsics
from depthface_ros.estimator import Face, FaceEstimator

__all__ = ['Face', 'FaceEstimator', 'Intrinsics']
