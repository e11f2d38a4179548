# SPDX-License-Identifier: Apache-2.0
"""Tests that a new face must pass after its fit. Tracked faces do not need to."""
from __future__ import annotations

from depthface_ros.estimation.types import Face

# Largest fraction of a face's visible side through which an image may show what is behind. Meshes
# at profiles and in noisy images exceed their heads by up to 0.04.
MAX_SEEN_THROUGH = 0.07
# Faces of less than this confidence are doubtful. They are accepted up to the sigma of single
# images; within NEAR m, where many pixels should show a face, up to this fraction of it.
DOUBTFUL_CONFIDENCE, NEAR, NEAR_STD = 0.9, 1.5, 0.75


def is_acceptable(face: Face, seen_through: float, max_rotation_std: float,
                  doubtful_max_rotation_std: float) -> bool:
    """Return whether a fitted face is one.

    :param seen_through: see :func:`depthface_ros.estimation.point_to_plane.seen_through`.
    :param max_rotation_std: rad; the other one is that of doubtful faces, if it is smaller.
    """
    if face.confidence < DOUBTFUL_CONFIDENCE:
        near = face.camera_from_face[2, 3] < NEAR
        limit = doubtful_max_rotation_std * (NEAR_STD if near else 1.0)
        max_rotation_std = min(max_rotation_std, limit)
    return seen_through <= MAX_SEEN_THROUGH and face.rotation_std <= max_rotation_std
