# SPDX-License-Identifier: Apache-2.0
"""Principal modes equal the modes of a given distribution."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('rich')
from training.assets.face_modes import principal_modes


def test_modes_are_the_directions_and_sizes_of_a_gaussian():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(60, 3)))[0].T.reshape(3, 20, 3)
    sizes = np.array([3.0, 2.0, 1.0])
    samples = 0.5 + np.tensordot(rng.normal(size=(3000, 3)) * sizes, directions, 1)
    modes, explained = principal_modes(samples, 2)
    np.testing.assert_allclose(np.linalg.norm(modes, axis=(1, 2)), sizes[:2], rtol=0.05)
    for mode, direction, size in zip(modes, directions, sizes):
        assert abs((mode * direction).sum()) == pytest.approx(size, rel=0.05)
    assert explained == pytest.approx(13 / 14, abs=0.01)
