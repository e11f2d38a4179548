# SPDX-License-Identifier: Apache-2.0
"""Smoothed meshes and expressions jitter less, hardly lag, and agree with the pose."""
from __future__ import annotations

from math import pi

import numpy as np

from depthface_ros.estimation.types import Face
from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.tracking.smoothing import FaceSmoother, OneEuro, SmoothingConfig

STEP_NS = 33_333_333  # 30 Hz
SHAPE = np.random.default_rng(1).normal(scale=0.05, size=(40, 3))


def face(position=(0, 0, 1), vector=(0, 0, 0), shape=SHAPE, expression=0.5):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation_from_vector(np.array(vector, float)), position
    vertices = (shape @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
    return Face(pose, vertices, np.full(52, expression, np.float32), 0.9,
                0.01, 0.002)


def smoothed(faces, config=SmoothingConfig(), step_ns=STEP_NS):
    """Return the smoothed faces, each in the pose of its image."""
    smoother = FaceSmoother(faces[0], faces[0].camera_from_face, 0, config)
    return [smoother.face] + [smoother.update(item, item.camera_from_face, i * step_ns)
                              for i, item in enumerate(faces[1:], 1)]


def rms(values):
    return np.sqrt(np.mean(np.sum(np.asarray(values) ** 2, axis=-1)))


def one_euro_of_the_paper(values, rate, min_cutoff, beta, derivative_cutoff):
    """Casiez et al. 2012, listing in the appendix, for one number, as a reference."""
    def alpha(cutoff):
        tau = 1 / (2 * pi * cutoff)
        return 1 / (1 + tau * rate)
    filtered, derivative, result = values[0], 0.0, [values[0]]
    for value in values[1:]:
        change = (value - filtered) * rate
        share = alpha(derivative_cutoff)
        derivative = share * change + (1 - share) * derivative
        weight = alpha(min_cutoff + beta * abs(derivative))
        filtered = weight * value + (1 - weight) * filtered
        result.append(filtered)
    return result


def test_values_go_through_the_filter_of_the_paper():
    values = 1 + np.cumsum(np.random.default_rng(0).normal(scale=0.01, size=60))
    expected = one_euro_of_the_paper(values, 1e9 / STEP_NS, 0.8, 30.0, 1.3)
    one_euro, found = OneEuro(0.8, 30.0, 1.3), [values[0]]
    for value in values[1:]:
        found.append(found[-1] + one_euro.step(np.float32([[value - found[-1]]]), STEP_NS * 1e-9)[0, 0])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_face_at_rest_jitters_half_as_much():
    rng = np.random.default_rng(0)
    raw = [face(shape=SHAPE + rng.normal(scale=0.0006, size=SHAPE.shape),
                expression=0.5 + rng.normal(scale=0.02)) for _ in range(150)]
    calm = smoothed(raw)
    for what in (lambda faces: [item.expression for item in faces],
                 lambda faces: [item.vertices[0] for item in faces]):
        assert rms(np.diff(what(calm)[30:], axis=0)) < 0.5 * rms(np.diff(what(raw)[30:], axis=0))


def test_the_mesh_is_placed_in_the_filtered_pose():
    smoother = FaceSmoother(face(), face((0, 0, 1)).camera_from_face, 0)
    for i in range(1, 5):
        pose = face((0.01 * i, 0, 1), (0, 0.1 * i, 0)).camera_from_face.astype(float)
        item = smoother.update(face((0.2, 0, 1.1), (0.3, 0, 0)), pose, i * STEP_NS)
        np.testing.assert_allclose(item.camera_from_face, pose, atol=1e-6)
        np.testing.assert_allclose(item.vertices, SHAPE @ pose[:3, :3].T + pose[:3, 3], atol=2e-6)
        assert item.vertices.dtype == item.camera_from_face.dtype == np.float32
        assert item.expression.dtype == np.float32


def test_expressions_stay_between_nothing_and_all():
    raw = [face(expression=value) for value in np.random.default_rng(0).integers(0, 2, 100)]
    expression = np.array([item.expression for item in smoothed(raw)])
    assert expression.min() >= 0 and expression.max() <= 1


def test_stamps_that_stand_still_leave_faces_as_they_are():
    there = face((0.1, 0, 1))
    smoother = FaceSmoother(face(), face().camera_from_face, 7)
    assert smoother.update(there, there.camera_from_face, 7) is there
