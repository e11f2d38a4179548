# SPDX-License-Identifier: Apache-2.0
"""Mirrored crops and faces: mirroring twice is the identity, and numpy and torch agree."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape

MODEL = FaceModel.load()


@pytest.fixture
def shape():
    rng = np.random.default_rng(0)
    sizes = {'offsets': (2, *MODEL.template.shape), 'expression': (2, 52), 'residual': (2, 6)}
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


def test_mirroring_twice_is_the_identity(shape):
    crops = np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)
    assert np.array_equal(mirrored_crops(mirrored_crops(crops)), crops)
    for name, again in mirrored_shape(mirrored_shape(shape)).items():
        assert np.array_equal(again, shape[name])


def test_coefficients_of_left_and_right_are_exchanged(shape):
    mirrored, names = mirrored_shape(shape), MODEL.expression_names
    left, right = (names.index(f'mouthSmile{side}') for side in ('Left', 'Right'))
    assert np.array_equal(mirrored['expression'][:, left], shape['expression'][:, right])
    nose = MODEL.sellion  # in the middle of a face, so it stays where it is
    assert np.array_equal(mirrored['offsets'][:, nose], shape['offsets'][:, nose] * [1, -1, 1])


def test_torch_and_numpy_see_the_same(shape):
    torch = pytest.importorskip('torch')
    crops = np.random.default_rng(2).normal(size=(2, 4, 8, 8)).astype(np.float32)
    assert np.array_equal(mirrored_crops(torch.tensor(crops)).numpy(), mirrored_crops(crops))
    of_torch = mirrored_shape({name: torch.tensor(part) for name, part in shape.items()})
    for name, part in mirrored_shape(shape).items():
        assert np.array_equal(of_torch[name].numpy(), part)
