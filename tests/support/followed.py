# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for an estimator follow faces by looking where they are predicted."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from depthface_ros.estimation.types import HeadCandidates
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE, points_camera

REACH = 0.06  # m


class Followed:
    """Adds FaceEstimator.follow to a stand-in that can be called and has the attribute `nobody`."""

    def follow(self, depth, intrinsics, predicted, stage_done=None):
        centres = points_camera(np.float32(predicted.camera_from_face), HEAD_CENTRE_FACE)
        return [self._nearest(depth, intrinsics, centre, stage_done) for centre in centres]

    def _nearest(self, depth, intrinsics, centre, stage_done):
        faces = [face for face in self(depth, intrinsics, heads=HeadCandidates(centre[None]),
                                       stage_done=stage_done)
                 if np.linalg.norm(face.head_centre - centre) < REACH]
        return faces[0] if faces else replace(self.nobody, support=0.0)
