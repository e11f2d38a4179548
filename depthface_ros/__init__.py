# SPDX-License-Identifier: Apache-2.0
"""Head pose, face mesh and expression from depth images: `FaceEstimator()(depth, Intrinsics(...))`."""
from __future__ import annotations

from importlib import import_module

__all__ = ['Face', 'FaceEstimator', 'FaceModel', 'FaceTracker', 'Intrinsics']


def __getattr__(name: str):
    """What is public, loaded at its first use (PEP 562).

    So numpy comes after the node and the command line have said how many threads it may use.
    """
    home = {'Face': 'estimation.types', 'FaceEstimator': 'estimation.estimator', 'FaceModel': 'face_model.mesh',
            'FaceTracker': 'tracking.face_tracker', 'Intrinsics': 'geometry.camera'}.get(name)
    if home is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{home}'), name)
