# SPDX-License-Identifier: Apache-2.0
"""Head pose, face mesh and expression from depth images."""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depthface_ros.estimation.estimator import FaceEstimator
    from depthface_ros.estimation.types import Face
    from depthface_ros.face_model.mesh import FaceModel
    from depthface_ros.geometry.camera import Intrinsics
    from depthface_ros.tracking.face_tracker import FaceTracker

__all__ = ['Face', 'FaceEstimator', 'FaceModel', 'FaceTracker', 'Intrinsics']


def __getattr__(name: str):
    """Load a public name at its first use (PEP 562).

    So node and command line set the number of threads before numpy is imported.
    """
    home = {'Face': 'estimation.types', 'FaceEstimator': 'estimation.estimator',
            'FaceModel': 'face_model.mesh', 'FaceTracker': 'tracking.face_tracker',
            'Intrinsics': 'geometry.camera'}.get(name)
    if home is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{home}'), name)
