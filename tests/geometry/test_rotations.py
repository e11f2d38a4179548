# SPDX-License-Identifier: Apache-2.0
"""Rotations agree with scipy and with their definitions in words."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.geometry.rotations import (
    nearest_rotation,
    quaternion_from_rotation,
    rotation_from_6d,
    rotation_from_vector,
    small_rotation,
    vector_from_rotation,
    yaw_pitch_roll,
)

FRONTAL = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], float)  # a face that faces the camera


def random_rotations(count=500):
    return pytest.importorskip('scipy.spatial.transform').Rotation.random(count, random_state=0)


def test_vectors_and_quaternions_agree_with_scipy():
    truth = random_rotations()
    np.testing.assert_allclose(rotation_from_vector(truth.as_rotvec()), truth.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(quaternion_from_rotation(truth.as_matrix()), truth.as_quat(canonical=True),
                               atol=1e-7)
    np.testing.assert_allclose(vector_from_rotation(truth.as_matrix()), truth.as_rotvec(), atol=1e-7)


def test_small_rotations_are_rotations_and_nearly_those_of_their_vectors():
    axis = np.array([2, -3, 6]) / 7
    for angle in (0, 1e-8, 0.01, 0.2, 3):
        found = small_rotation(angle * axis)
        np.testing.assert_allclose(found, rotation_from_vector(2 * np.arctan(angle / 2) * axis), atol=1e-12)
    np.testing.assert_allclose(small_rotation(0.1 * axis), rotation_from_vector(0.1 * axis), atol=1e-4)


@pytest.mark.parametrize('angle', [0, 1e-8, 9e-5, 1.1e-4, 1e-3, np.pi - 1e-6, np.pi])
def test_tiny_and_half_turns_are_exact(angle):
    axis = np.array([2, -3, 6]) / 7
    rotation = rotation_from_vector(angle * axis)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.abs(quaternion_from_rotation(rotation)),
                               np.abs([*np.sin(angle / 2) * axis, np.cos(angle / 2)]), atol=1e-9)
    np.testing.assert_allclose(np.abs(vector_from_rotation(rotation)), np.abs(angle * axis), atol=1e-9)


def test_six_numbers_become_the_rotation_whose_columns_they_nearly_are():
    truth = random_rotations().as_matrix().astype(np.float32)
    columns = np.concatenate([3 * truth[..., 0], 0.2 * truth[..., 1] + 0.5 * truth[..., 0]], axis=-1)
    np.testing.assert_allclose(rotation_from_6d(columns), truth, atol=1e-5)


@pytest.mark.parametrize('seed', range(5))
def test_the_rotation_nearest_to_a_weighted_sum_is_scipys_mean(seed):
    rotation = pytest.importorskip('scipy.spatial.transform').Rotation
    some, weights = rotation.random(4, random_state=seed), np.random.default_rng(seed).uniform(0.1, 1, 4)
    total = (weights[:, None, None] * some.as_matrix()).sum(0)
    np.testing.assert_allclose(nearest_rotation(total), some.mean(weights).as_matrix(), atol=1e-9)
    reflected = nearest_rotation(np.diag([1, 1, -1e-3]) @ total[None])
    np.testing.assert_allclose(np.linalg.det(reflected), [1], atol=1e-9)


@pytest.mark.parametrize('axis, angle, expected', [
    ('z', 30, (30, 0, 0)), ('y', 30, (0, 30, 0)), ('x', 30, (0, 0, 30)), ('z', 170, (170, 0, 0))])
def test_yaw_pitch_and_roll_are_turns_about_the_axes_of_a_face(axis, angle, expected):
    """Seen from the camera: yaw turns the face to its left, which is the right of the image."""
    turn = rotation_from_vector(np.radians(angle) * np.eye(3)['xyz'.index(axis)])
    found = np.degrees(yaw_pitch_roll(FRONTAL @ turn))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    if expected == (30, 0, 0):
        assert (FRONTAL @ turn)[0, 0] > 0  # x of the face points to the right of the image
    if expected == (0, 30, 0):
        assert (FRONTAL @ turn)[1, 0] > 0  # ... and down


def test_the_same_code_runs_on_torch():
    torch = pytest.importorskip('torch')
    vectors = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation = rotation_from_vector(vectors)
    np.testing.assert_allclose(rotation.numpy(), rotation_from_vector(vectors.numpy()))
    for function in (quaternion_from_rotation, vector_from_rotation, yaw_pitch_roll, nearest_rotation):
        np.testing.assert_allclose(function(rotation).numpy(), function(rotation.numpy()))
    np.testing.assert_allclose(rotation_from_6d(rotation.mT.reshape(7, 9)[:, :6]).numpy(), rotation.numpy())
