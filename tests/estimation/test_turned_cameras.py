# SPDX-License-Identifier: Apache-2.0
"""A camera on its side or upside down shows the same faces: heads are found at any roll."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('rosbags')
from sample_frames import sample_frames  # noqa: E402

from depthface_ros.estimation.estimator import FaceEstimator  # noqa: E402
from depthface_ros.geometry.camera import Intrinsics  # noqa: E402
from depthface_ros.geometry.rotations import vector_from_rotation  # noqa: E402

QUARTER = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # of the scene, as np.rot90 turns the image


@pytest.fixture(scope='module')
def estimator():
    return FaceEstimator('cpu')


def turned(depth: np.ndarray, camera: Intrinsics) -> tuple[np.ndarray, Intrinsics]:
    """Return an image, and its camera, turned by a quarter: (u, v) becomes (v, width - 1 - u)."""
    last = depth.shape[1] - 1
    return np.ascontiguousarray(np.rot90(depth)), replace(
        camera, fx=camera.fy, fy=camera.fx, cx=camera.cy, cy=last - camera.cx)


@pytest.mark.parametrize('depth, camera', sample_frames(40))
def test_a_turned_camera_shows_the_same_faces(estimator, depth, camera):
    faces, rotation = estimator(depth, camera), np.eye(3)
    assert faces
    for _ in range(3):
        depth, camera = turned(depth, camera)
        rotation = QUARTER @ rotation
        found = estimator(depth, camera)
        assert len(found) == len(faces)
        for face in faces:
            expected = face.vertices @ rotation.T
            same = min(found, key=lambda other: np.abs(other.vertices - expected).max())
            assert 1000 * np.linalg.norm(same.vertices - expected, axis=1).mean() < 3
            turn = same.camera_from_face[:3, :3].T @ rotation @ face.camera_from_face[:3, :3]
            assert np.degrees(np.linalg.norm(vector_from_rotation(turn))) < 1
