# SPDX-License-Identifier: Apache-2.0
"""How certain a new face must be after its fit. Tracked faces have no limit."""
from __future__ import annotations

from depthface_ros.estimation.types import Face

# Faces of less confidence are doubtful. They are accepted up to the sigma of single images; those
# within NEAR m, where many pixels should show a face, up to this fraction of it.
DOUBTFUL_CONFIDENCE, NEAR, NEAR_STD = 0.9, 1.5, 0.69
# Faces of less confidence are accepted up to this fraction of it at all distances.
POOR_CONFIDENCE, POOR_STD = 0.85, 0.83


def is_certain(face: Face, max_rotation_std: float, doubtful_max_rotation_std: float) -> bool:
    """Return whether the rotation sigma of a face is within the limit, rad, for its confidence."""
    if face.confidence < DOUBTFUL_CONFIDENCE:
        near, poor = face.camera_from_face[2, 3] < NEAR, face.confidence < POOR_CONFIDENCE
        fraction = NEAR_STD if near else POOR_STD if poor else 1.0
        max_rotation_std = min(max_rotation_std, fraction * doubtful_max_rotation_std)
    return face.rotation_std <= max_rotation_std
