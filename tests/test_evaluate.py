# SPDX-License-Identifier: Apache-2.0
"""Errors and their summaries, on faces whose errors are known."""
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('torch')

from scipy.spatial.transform import Rotation  # noqa: E402

from depthface_ros.face_model import FaceModel  # noqa: E402
from training.evaluate import describe, errors, in_core, summary  # noqa: E402
from training.synthesis.cameras import VALIDATION_CAMERAS  # noqa: E402
from training.synthesis.scene import Head, facing_pose  # noqa: E402

TEMPLATE = FaceModel.load().template
CENTRE = np.array([0.1, -0.05, 0.9])


def head(yaw=0., pitch=0., roll=0.):
    person = SimpleNamespace(face_vertices=TEMPLATE, expression=np.full(52, 0.5, np.float32),
                             generator='anny', identity=7)
    return Head(facing_pose(CENTRE, *np.radians([yaw, pitch, roll])), person)


def estimate(truth, rotation=np.eye(3), shift=(0., 0., 0.)):
    """A face that is off by a rotation about its own origin and a shift in the camera frame, metres."""
    pose = truth.camera_from_face.astype(np.float64)
    pose[:3, :3] = pose[:3, :3] @ rotation
    pose[:3, 3] += shift
    return SimpleNamespace(camera_from_face=pose, vertices=TEMPLATE @ pose[:3, :3].T + pose[:3, 3], confidence=0.9,
                           expression=truth.person.expression + 0.1, rotation_std=0.02, position_std=0.003)


def test_a_shift_counts_for_the_mesh_and_not_after_alignment():
    truth = head(20, 10, -5)
    found = errors(estimate(truth, shift=(0.003, 0, -0.004)), truth)
    assert found['sellion_mm'] == pytest.approx(5, abs=1e-3)
    assert found['mesh_mm'] == pytest.approx(5, abs=1e-3)
    assert found['mesh_aligned_mm'] == pytest.approx(0, abs=1e-3)
    assert found['geodesic_deg'] == pytest.approx(0, abs=1e-3)
    assert found['expression'] == pytest.approx(0.1, abs=1e-6)


def test_a_rotation_counts_in_degrees_about_any_axis():
    truth = head(-40, 5, 20)
    axis = np.array([1.0, 2.0, -2.0]) / 3
    found = errors(estimate(truth, Rotation.from_rotvec(np.radians(7) * axis).as_matrix()), truth)
    assert found['geodesic_deg'] == pytest.approx(7, abs=1e-3)
    assert found['sellion_mm'] == pytest.approx(0, abs=1e-3)
    assert found['mesh_aligned_mm'] == pytest.approx(0, abs=1e-3)
    assert found['mesh_mm'] > 5


def test_a_larger_face_is_not_scaled_away():
    truth = head()
    larger = estimate(truth)
    larger.vertices = (larger.vertices - larger.camera_from_face[:3, 3]) * 1.1 + larger.camera_from_face[:3, 3]
    assert errors(larger, truth)['mesh_aligned_mm'] > 4


@pytest.mark.parametrize('angles', [(0, 0, 0), (35, 0, 0), (-50, 20, 0), (10, -30, 40)])
def test_angles_count_from_the_viewing_ray(angles):
    record = describe(SimpleNamespace(camera=VALIDATION_CAMERAS[0]), head(*angles), 1.0, 1.0)
    np.testing.assert_allclose((record['yaw_deg'], record['pitch_deg'], record['roll_deg']), angles, atol=1e-3)
    assert record['in_view'] > 0.9 and in_core(record)


def test_a_face_beyond_the_image_is_not_asked_for():
    truth = head()
    aside = Head(facing_pose(np.array([0.9, 0.0, 0.9]), 0, 0, 0), truth.person)
    assert not in_core(describe(SimpleNamespace(camera=VALIDATION_CAMERAS[0]), aside, 1.0, 1.0))


def test_misses_count():
    truth = head()
    hit = {'found': True} | errors(estimate(truth), truth)
    row = summary([hit, {'found': False}, {'found': False}, hit])
    assert row['faces'] == 4 and row['missed_percent'] == 50
