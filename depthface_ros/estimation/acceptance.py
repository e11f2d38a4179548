# SPDX-License-Identifier: Apache-2.0
"""How uncertain a new face may be. Tracked faces have no limit."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.types import Face

# Far faces are uncertain and confident, hands are neither. So faces of less confidence are accepted
# up to this fraction of the limit of single images.
DOUBTFUL_CONFIDENCE, DOUBTFUL_FRACTION = 0.9, 0.715


def are_certain(faces: Sequence[Face], prior: ErrorPrior, max_std: float,
                doubtful_max_std: float) -> np.ndarray:
    """Return whether faces (N,) are within the limit of their confidence.

    What is limited is the geometric mean of two sigmas of the rotation. Before the fit it is large
    for hands and backs of heads, which the pose network doubts. After the fit it is large for far
    faces, which are noisy. Each alone separates faces less well.

    :param prior: calibrates the sigmas of the pose network.
    :param max_std: rad, of confident faces.
    :param doubtful_max_std: rad, of which others are accepted up to DOUBTFUL_FRACTION.
    """
    network_std, _ = prior.std(*np.array([face.network_std for face in faces]).T)
    std = np.sqrt(network_std * [face.rotation_std for face in faces])
    confident = np.array([face.confidence for face in faces]) >= DOUBTFUL_CONFIDENCE
    doubtful_limit = min(max_std, DOUBTFUL_FRACTION * doubtful_max_std)
    return std <= np.where(confident, max_std, doubtful_limit)
