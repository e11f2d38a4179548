# SPDX-License-Identifier: Apache-2.0
"""Bounds of streams: no error before a perfect camera, and all of a constant one."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from depthface_ros import Intrinsics
from depthface_ros.face_model.mesh import FaceModel
from training.experiments.known_shapes import constant_error, figures
from training.synthesis.renderer import render_depth
from training.synthesis.scene.random_scene import facing_pose
from training.synthesis.streams.stream import Stream

CAMERA, UNIT = Intrinsics(500.0, 500.0, 79.5, 59.5), 0.0001
IMAGES = 5


def stream(offset=0.0, visible=1.0):
    """Return a head 0.8 m from a camera, all of whose depths are off by the same."""
    model, pose = FaceModel.load(), facing_pose(np.array([0, 0, 0.8]), 0.2, 0.1, 0).astype(np.float32)
    corners = (model.template @ pose[:3, :3].T + pose[:3, 3])[model.triangles]
    focal = torch.full((1,), 500.0)
    depth = render_depth(torch.from_numpy(corners).float(), torch.zeros(len(corners), dtype=torch.long),
                         focal, focal, torch.full((1,), CAMERA.cx), torch.full((1,), CAMERA.cy),
                         120, 160)[0].numpy()
    depth = np.where(np.isfinite(depth) & (depth > 0), depth + offset, 0)
    units = np.round(depth / UNIT).astype(np.uint16)
    return Stream('s', 'rest', 'camera', 'time_of_flight', 30.0, 0.8, CAMERA, UNIT,
                  np.arange(IMAGES) * 33_000_000, np.repeat(units[None], IMAGES, axis=0),
                  np.repeat(pose[None, None], IMAGES, axis=0),
                  np.repeat(model.template[None, None], IMAGES, axis=0),
                  np.zeros((IMAGES, 1, 52)), np.full((IMAGES, 1), visible), np.arange(1))


def test_before_a_perfect_camera_the_true_shape_is_at_its_pose():
    error = constant_error(stream(), 0)
    assert np.linalg.norm(error[:3]) < 1e-4 and np.degrees(np.linalg.norm(error[3:])) < 0.06


def test_a_constant_error_of_the_camera_is_found():
    exact = stream()
    error = constant_error(stream(offset=0.005), 0)
    moved = exact.poses[0, 0, :3, :3] @ error[:3]
    np.testing.assert_allclose(moved, (0, 0, 0.005), atol=6e-4)


def test_figures_are_means_of_people_by_distance():
    groups = figures([stream(0.004), stream(0.006), replace(stream(0.002), distance=2.0),
                      replace(stream(0.002), distance=1.0)] * 2)
    assert {name: row['people'] for name, row in groups.items()} == {
        'all': 8, 'up to 0.8 m': 4, '2-3 m': 2, '0.8-1.6 m': 2}
    assert groups['up to 0.8 m']['sellion_mm'][0] == pytest.approx(5, abs=0.7)


def test_people_who_are_hardly_in_view_have_no_bound():
    assert constant_error(stream(visible=0.5), 0) is None
    assert constant_error(replace(stream(), stamps_ns=np.arange(2)), 0) is None
