# SPDX-License-Identifier: Apache-2.0
"""Geometry of pose covariances."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.covariance import (
    axis_std,
    error_axes,
    isotropic_covariance,
    pose_covariance,
    ray_axes,
    rotated,
)
from depthface_ros.estimation.types import Face

coordinates = st.floats(-3, 3, allow_subnormal=False)
positions = st.tuples(coordinates, coordinates, st.floats(0.2, 4)).map(np.array)
turns = st.tuples(coordinates, coordinates, coordinates).map(
    lambda vector: Rotation.from_rotvec(vector).as_matrix())
stds = st.tuples(*[st.floats(1e-4, 0.3)] * 6).map(np.array)


def pose_at(position, turn):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, position
    return pose


def face(**fields):
    return Face(pose_at([0, 0, 1], np.eye(3)), np.zeros((1, 3)), np.zeros(52), 0.9, 0.02, 0.003,
                **fields)


@given(positions, turns, stds)
def test_a_covariance_is_positive_definite_and_holds_its_sigmas(position, turn, std):
    pose = pose_at(position, turn)
    covariance = pose_covariance(pose, std)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > 0
    np.testing.assert_allclose(axis_std(covariance, error_axes(pose)), std, rtol=1e-5)


@given(positions, turns, turns, st.floats(1e-4, 0.05), st.floats(1e-4, 0.05), stds)
def test_a_rotated_camera_rotates_the_covariance(position, turn, b_from_a, lateral, radial, std):
    std[:3] = lateral, lateral, radial
    pose = pose_at(position, turn)
    same_face = pose_at(b_from_a @ position, b_from_a @ turn)  # seen from the rotated camera
    np.testing.assert_allclose(pose_covariance(same_face, std),
                               rotated(pose_covariance(pose, std), b_from_a), atol=1e-12)


@given(positions, turns, turns)
def test_rotations_leave_an_isotropic_covariance_as_it_is(position, turn, b_from_a):
    pose = pose_at(position, turn)
    covariance = isotropic_covariance(rotation_std=0.02, position_std=0.003)
    np.testing.assert_allclose(pose_covariance(pose, [0.003] * 3 + [0.02] * 3), covariance,
                               atol=1e-15)
    np.testing.assert_allclose(rotated(covariance, b_from_a), covariance, atol=1e-15)


@given(positions, turns)
def test_the_position_errs_across_the_ray_and_along_it(position, turn):
    covariance = pose_covariance(pose_at(position, turn), [0.002, 0.002, 0.01, 0.1, 0.1, 0.1])
    ray = position / np.linalg.norm(position)
    along = np.outer(ray, ray)
    np.testing.assert_allclose(covariance[:3, :3],
                               0.002 ** 2 * (np.eye(3) - along) + 0.01 ** 2 * along, atol=1e-12)


def test_drawn_errors_have_the_covariance_of_their_axes():
    """Errors about the axes of the face become rotations about the fixed axes of the camera."""
    rng = np.random.default_rng(0)
    truth = pose_at([0.3, -0.2, 1.1], Rotation.from_rotvec([0.4, -1.2, 0.9]).as_matrix())
    std = np.array([0.002, 0.002, 0.01, 0.01, 0.02, 0.04])
    errors = rng.normal(0, std, (40_000, 6))
    shift = errors[:, :3] @ ray_axes(truth[:3, 3]).T
    turned = Rotation.from_matrix(truth[:3, :3]) * Rotation.from_rotvec(errors[:, 3:])
    fixed = (turned * Rotation.from_matrix(truth[:3, :3]).inv()).as_rotvec()  # about camera axes
    drawn = np.cov(np.hstack([shift, fixed]).T)
    scale = np.sqrt(np.outer(*[np.diag(drawn)] * 2))
    np.testing.assert_allclose(drawn / scale, pose_covariance(truth, std) / scale, atol=0.03)


@pytest.mark.parametrize('position', [(0, 0, 0), (0, 0, 1), (0, 2, 0), (0, -1e-12, 0), (1e-3, 1, 0)])
def test_axes_are_a_rotation_at_every_position(position):
    axes = ray_axes(np.array(position, float))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_a_centred_face_has_the_axes_of_the_camera():
    np.testing.assert_allclose(ray_axes(np.array([0, 0, 2.0])), np.eye(3), atol=1e-12)


def test_a_face_has_a_covariance_of_its_sigmas_unless_one_is_given():
    expected = np.diag([0.003 ** 2] * 3 + [0.02 ** 2] * 3)
    np.testing.assert_allclose(face().pose_covariance, expected)
    np.testing.assert_allclose(replace(face(), confidence=0.5).pose_covariance, expected)
    given_one = np.diag(np.arange(1.0, 7))
    assert face(pose_covariance=given_one).pose_covariance is given_one


def test_factors_scale_the_sigmas_of_their_axes():
    calibration = Calibration(lateral_factor=0.5, radial_factor=2, roll_factor=3, pitch_factor=4,
                              yaw_factor=5)
    np.testing.assert_allclose(calibration.axis_std(0.01, 0.001),
                               [0.0005, 0.0005, 0.002, 0.03, 0.04, 0.05])
    assert calibration.axis_std(np.ones(7), np.ones(7)).shape == (7, 6)
    np.testing.assert_allclose(Calibration().axis_std(0.01, 0.001), [0.001] * 3 + [0.01] * 3)
