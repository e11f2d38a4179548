# SPDX-License-Identifier: Apache-2.0
"""How uncertain a new face is. Tracked faces have no limit."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.types import Face


def acceptance_std(faces: Sequence[Face], prior: ErrorPrior) -> np.ndarray:
    """Return the sigma (N,) rad that is limited: the geometric mean of two of the rotation.

    Before the fit it is large for hands and backs of heads, which the pose network doubts. After
    the fit it is large for far faces, which are noisy. Each alone separates faces less well.

    :param prior: calibrates the sigmas of the pose network.
    """
    network_std, _ = prior.std(*np.array([face.network_std for face in faces]).T)
    return np.sqrt(network_std * [face.rotation_std for face in faces])
