# SPDX-License-Identifier: Apache-2.0
"""Frames of the sample recording, and comparison of two engines on them."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.geometry.rotations import vector_from_rotation
from depthface_ros.io.recordings import open_recording

SAMPLE = Path(__file__).resolve().parents[2] / 'demo' / 'sample.mcap'


def sample_frames(every: int):
    """Return depth images and intrinsics, every n-th of the recording."""
    return [(frame.depth, frame.intrinsics) for frame in list(open_recording(SAMPLE))[5::every]]


def assert_same_faces(found, expected, degrees=0.1, millimetres=0.2, expression=None):
    """Assert that faces are equally many and agree within these limits, vertex by vertex.

    :param expression: most that a coefficient may differ; by default 0.01 per degree.
    """
    assert len(found) == len(expected)
    # faces of the same confidence may come in either order
    for face, other in zip(*(sorted(faces, key=lambda face: face.camera_from_face[0, 3])
                             for faces in (found, expected))):
        turn = face.camera_from_face[:3, :3].T @ other.camera_from_face[:3, :3]
        assert np.degrees(np.linalg.norm(vector_from_rotation(turn))) < degrees
        assert 1000 * np.abs(face.vertices - other.vertices).max() < millimetres
        np.testing.assert_allclose(face.expression, other.expression,
                                   atol=expression or 0.01 * degrees)
        np.testing.assert_allclose(
            (face.confidence, face.rotation_std, face.position_std, face.detector_score),
            (other.confidence, other.rotation_std, other.position_std, other.detector_score),
            atol=0.01 * degrees)
