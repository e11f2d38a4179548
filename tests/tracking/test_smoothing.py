# SPDX-License-Identifier: Apache-2.0
"""Smoothed faces jitter less, hardly lag, and stay faces: pose, mesh and expression agree."""
from __future__ import annotations

from math import pi

import numpy as np
import pytest

from depthface_ros.estimation.types import Face
from depthface_ros.geometry.rotations import rotation_from_vector, vector_from_rotation
from depthface_ros.tracking.smoothing import (
    USUAL_POSITION_STD,
    USUAL_ROTATION_STD,
    FaceSmoother,
    SmoothingConfig,
)

STEP_NS = 33_333_333  # 30 Hz
SHAPE = np.random.default_rng(1).normal(scale=0.05, size=(40, 3))


def face(position=(0, 0, 1), vector=(0, 0, 0), shape=SHAPE, expression=0.5):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation_from_vector(np.array(vector, float)), position
    vertices = (shape @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
    return Face(pose, vertices, np.full(52, expression, np.float32), 0.9,
                USUAL_ROTATION_STD, USUAL_POSITION_STD)


def smoothed(faces, config=SmoothingConfig(), step_ns=STEP_NS):
    smoother = FaceSmoother(faces[0], 0, config)
    return [faces[0]] + [smoother.update(item, i * step_ns) for i, item in enumerate(faces[1:], 1)]


def positions(faces):
    return np.array([item.camera_from_face[:3, 3] for item in faces], float)


def turns(faces):
    """Return rotation vectors from the first face: (N, 3)."""
    first = faces[0].camera_from_face[:3, :3].astype(float)
    return vector_from_rotation(np.array(
        [first.T @ item.camera_from_face[:3, :3] for item in faces]))


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


def test_positions_on_a_line_go_through_the_filter_of_the_paper():
    config = SmoothingConfig(cutoff=0.8, speed_cutoff=1.3, position_gain=30.0)
    z = 1 + np.cumsum(np.random.default_rng(0).normal(scale=0.01, size=60))
    expected = one_euro_of_the_paper(z, 1e9 / STEP_NS, 0.8, 30.0, 1.3)
    found = positions(smoothed([face((0, 0, value)) for value in z], config))[:, 2]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_turns_about_an_axis_go_through_it_as_well():
    config = SmoothingConfig(cutoff=0.8, speed_cutoff=1.3, rotation_gain=2.0)
    angle = np.cumsum(np.random.default_rng(0).normal(scale=0.05, size=60))
    angle -= angle[0]
    expected = one_euro_of_the_paper(angle, 1e9 / STEP_NS, 0.8, 2.0, 1.3)
    found = turns(smoothed([face(vector=(0, value, 0)) for value in angle], config))[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_face_at_rest_jitters_half_as_much():
    rng = np.random.default_rng(0)
    raw = [face((0, 0, 1) + rng.normal(scale=0.0006, size=3), rng.normal(scale=0.007, size=3),
                SHAPE + rng.normal(scale=0.0006, size=SHAPE.shape),
                0.5 + rng.normal(scale=0.02)) for _ in range(150)]
    calm = smoothed(raw)
    for what in (positions, turns, lambda faces: [item.expression for item in faces],
                 lambda faces: [item.vertices[0] for item in faces]):
        assert rms(np.diff(what(calm)[30:], axis=0)) < 0.5 * rms(np.diff(what(raw)[30:], axis=0))


@pytest.mark.parametrize('speed', [0.05, 0.3, 1.5])
@pytest.mark.parametrize('rate', [15, 30, 90])
def test_a_steady_motion_lags_by_no_more_than_the_gain_allows(speed, rate):
    config, t = SmoothingConfig(), np.arange(3 * rate) / rate
    raw = [face((speed * s, 0, 1), (0, 4 * speed * s, 0)) for s in t]
    calm = smoothed(raw, config, round(1e9 / rate))
    late = positions(calm)[-1] - positions(raw)[-1]
    assert np.linalg.norm(late) < 1 / (2 * pi * config.position_gain)
    off = calm[-1].camera_from_face[:3, :3].T @ raw[-1].camera_from_face[:3, :3]
    assert np.linalg.norm(vector_from_rotation(off)) < 1 / (2 * pi * config.rotation_gain)


def test_a_head_that_turns_all_the_way_round_never_jumps():
    """Through half a turn, where quaternions change sign and angles wrap."""
    raw = [face(vector=(0, angle, 0)) for angle in np.linspace(0, 4 * pi, 200)]
    calm = smoothed(raw)
    for before, after in zip(calm, calm[1:]):
        step = vector_from_rotation(
            before.camera_from_face[:3, :3].T @ after.camera_from_face[:3, :3])
        assert np.linalg.norm(step) < 0.1 and abs(step[1]) > 0.999 * np.linalg.norm(step)


def test_the_mesh_moves_with_the_pose():
    """A rigid face that moves and turns: its smoothed mesh is itself in the smoothed pose."""
    rng = np.random.default_rng(0)
    raw = [face((0.01 * i, 0, 1) + rng.normal(scale=0.01, size=3), rng.normal(scale=0.1, size=3))
           for i in range(50)]
    for item in smoothed(raw):
        pose = item.camera_from_face
        np.testing.assert_allclose(item.vertices, SHAPE @ pose[:3, :3].T + pose[:3, 3], atol=2e-6)
        assert item.vertices.dtype == pose.dtype == item.expression.dtype == np.float32


def test_poses_stay_rigid_for_hours():
    rng = np.random.default_rng(0)
    smoother = FaceSmoother(face(shape=SHAPE[:1]), 0)
    for i in range(1, 1500):
        turned = face(vector=rng.normal(size=3), shape=SHAPE[:1])
        rotation = smoother.update(turned, i * STEP_NS).camera_from_face[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_a_long_pause_leaves_nothing_of_the_past():
    smoother = FaceSmoother(face((0, 0, 1)), 0)
    there = smoother.update(face((0.3, 0, 1)), 3600 * 10 ** 9)
    np.testing.assert_allclose(there.camera_from_face[:3, 3], (0.3, 0, 1), atol=1e-3)


def test_expressions_stay_between_nothing_and_all():
    raw = [face(expression=value) for value in np.random.default_rng(0).integers(0, 2, 100)]
    expression = np.array([item.expression for item in smoothed(raw)])
    assert expression.min() >= 0 and expression.max() <= 1


def test_stamps_that_stand_still_leave_faces_as_they_are():
    there = face((0.1, 0, 1))
    assert FaceSmoother(face(), 7).update(there, 7) is there
