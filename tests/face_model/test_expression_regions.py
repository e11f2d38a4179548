# SPDX-License-Identifier: Apache-2.0
"""Expression coefficients of regions that are not measured stay at rest."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.estimation.alignment import aligned_triangles
from depthface_ros.face_model.expression_regions import ExpressionRegions, MeasuredExpressions
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel

INDEX = {name: i for i, name in enumerate(EXPRESSION_NAMES)}
TRIANGLES = len(aligned_triangles(FaceModel.load()))
LEFT = (np.arange(TRIANGLES) < TRIANGLES // 2).astype(np.float32)


def shrunk(weights):
    """Return coefficients of 0.8 each after triangles are measured with weights (T,)."""
    return 0.8 * MeasuredExpressions()(weights[None])[0]


def test_a_face_that_is_measured_keeps_its_expression():
    np.testing.assert_allclose(shrunk(np.full(TRIANGLES, 0.5, np.float32)), 0.8, atol=1e-6)


def test_a_profile_keeps_the_visible_side():
    expression = shrunk(LEFT)
    for name in ('mouthSmile', 'browDown', 'cheekSquint', 'eyeBlink', 'noseSneer'):
        assert expression[INDEX[f'{name}Left']] == pytest.approx(0.8)
        assert expression[INDEX[f'{name}Right']] == pytest.approx(0, abs=1e-6)


def test_movements_alike_on_both_sides_are_measured_from_one_and_others_are_not():
    for weights in (LEFT, 1 - LEFT):
        expression = shrunk(weights)
        for name in ('jawOpen', 'mouthPucker', 'browInnerUp'):
            assert expression[INDEX[name]] == pytest.approx(0.8)
        for name in ('mouthLeft', 'mouthRight', 'jawLeft', 'jawRight'):
            assert expression[INDEX[name]] == pytest.approx(0, abs=1e-6)


def test_less_measured_is_never_more_expression():
    parts = [shrunk(np.full(TRIANGLES, part, np.float32)) for part in np.linspace(0, 1, 21)]
    assert (np.diff(parts, axis=0) >= -1e-6).all()
    moved = ExpressionRegions.load().motion.sum(axis=1) > 0
    assert (parts[0][moved] == 0).all()


def test_the_mirrored_face_has_the_mirrored_expression():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 0.4, TRIANGLES).astype(np.float32)
    mirror = FaceModel.load().expression_mirror
    other = shrunk(np.roll(weights, TRIANGLES // 2))
    np.testing.assert_allclose(shrunk(weights)[mirror], other, atol=1e-3)


def test_torch_and_numpy_agree():
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 0.4, (3, TRIANGLES)).astype(np.float32)
    found = MeasuredExpressions(torch.as_tensor)(torch.as_tensor(weights))
    np.testing.assert_allclose(found.numpy(), MeasuredExpressions()(weights), atol=1e-6)
