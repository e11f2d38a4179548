# SPDX-License-Identifier: Apache-2.0
"""A tracked person's neutral surface sharpens; what expressions move follows at once."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.tracking.personal_shape import PersonalShape, vertex_noise

MODEL = FaceModel.load()
TEMPLATE, STABLE = MODEL.template, MODEL.stable
NOISE = 0.0006  # m
STEP = 1 / 30


def images(shape, count, seed=0):
    rng = np.random.default_rng(seed)
    return [(shape + rng.normal(scale=NOISE, size=shape.shape)).astype(np.float32)
            for _ in range(count)]


def run(meshes, person=None):
    person = person or PersonalShape(meshes[0])
    noise = np.full(len(TEMPLATE), np.float32(NOISE))
    return person, [person.update(mesh, noise, STEP) for mesh in meshes]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_a_resting_face_becomes_the_mean_of_its_images():
    person, meshes = run(images(TEMPLATE, 60))
    error = rms((meshes[-1] - TEMPLATE)[STABLE])
    assert error < 0.35 * NOISE
    # the filter claims as much: within a factor of two
    assert 0.5 * error < rms(person.neutral_std[STABLE]) < 2 * error


def test_an_open_jaw_shows_in_the_image_that_opens_it_and_leaves_the_neutral_face_alone():
    jaw = np.zeros_like(TEMPLATE)
    jaw[MODEL.regions['chin'], 2] = -0.01
    person, _ = run(images(TEMPLATE, 60))
    _, meshes = run(images(TEMPLATE + jaw, 3), person)
    shown = (meshes[0] - TEMPLATE)[MODEL.regions['chin'], 2].mean()
    assert shown < -0.007
    assert abs((person.neutral - TEMPLATE)[MODEL.regions['chin'], 2].mean()) < 0.003
    _, meshes = run(images(TEMPLATE, 15), person)
    assert abs((meshes[-1] - TEMPLATE)[MODEL.regions['chin'], 2].mean()) < 0.0005


def test_another_persons_face_in_the_place_of_a_track_starts_anew():
    other = TEMPLATE * [1.1, 1.15, 1.12]
    person, _ = run(images(TEMPLATE, 60))
    _, meshes = run(images(other, 1), person)
    assert rms(meshes[0] - other) < 1.2 * NOISE


def test_the_hidden_side_of_a_profile_is_trusted_less():
    """A face that looks along the camera's x axis turns its right side to the camera."""
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T
    pose[:3, 3] = 0, 0, 0.8
    vertices = TEMPLATE @ pose[:3, :3].T + pose[:3, 3]
    noise = vertex_noise(Face(pose, vertices, np.zeros(52), 0.9, 0.01, 0.002))
    near = vertices[:, 2] < vertices[:, 2].mean()
    assert noise[~near].mean() > 2 * noise[near].mean()


@pytest.mark.parametrize('count', [1, 40])
def test_meshes_of_other_topologies_are_filtered_too(count):
    shape = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    person = PersonalShape(shape)
    for _ in range(20):
        mesh = person.update(shape, np.full(count, np.float32(NOISE)), STEP)
    np.testing.assert_allclose(mesh, shape, atol=1e-6)
