# SPDX-License-Identifier: Apache-2.0
"""Rotations in plain floats equal those of arrays."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.geometry.one_rotation import rotation_matrix, rotation_vector
from depthface_ros.geometry.rotations import rotation_from_vector

AXIS = np.array([2, -3, 6]) / 7


@pytest.mark.parametrize('angle', [0, 1e-14, 1e-8, 1e-3, 0.4, 2, np.pi - 1e-6, np.pi])
def test_matrices_are_those_of_arrays_and_vectors_their_inverse(angle):
    rotation = rotation_matrix(angle * AXIS)
    np.testing.assert_allclose(rotation, rotation_from_vector(angle * AXIS), atol=1e-12)
    found = rotation_vector(rotation)
    np.testing.assert_allclose(found * np.sign(found @ AXIS or 1), angle * AXIS, atol=1e-7)


def test_single_precision_is_enough():
    rotation = rotation_matrix(0.3 * AXIS).astype(np.float32)
    found = rotation_vector(rotation)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 0.3 * AXIS, atol=1e-6)
