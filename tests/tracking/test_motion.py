# SPDX-License-Identifier: Apache-2.0
"""Filtered poses of heads: calm at rest, without lag in motion; their velocities and predictions."""
from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.tracking.motion import Motion, pose_difference
from depthface_ros.tracking.smoothing import SmoothingConfig

rates = st.floats(10, 120)


def distinct(twist):
    """Return a twist whose parts are zero, or of at least 0.4 m/s and rad/s: slower ones may be noise."""
    parts = np.reshape(twist, (2, 3))
    speed = np.linalg.norm(parts, axis=1, keepdims=True)
    return np.where(speed > 0.01, parts * np.maximum(1, 0.4 / speed.clip(0.01)), 0).ravel()


velocities = st.lists(st.floats(-1, 1), min_size=6, max_size=6).map(distinct)
STD = np.array([0.002, 0.01])  # m and rad, of the poses below
ACCELERATION = SmoothingConfig().acceleration


def pose_of(position=(0, 0, 1), vector=(0, 0, 0)):
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_vector(np.array([vector], float))[0]
    pose[:3, 3] = position
    return pose


def moved(twist, seconds):
    """Return a pose that turned about an axis of the camera and moved, for some time."""
    return pose_of((0, 0, 1) + twist[:3] * seconds, twist[3:] * seconds)


def filtered(poses, rate=30.0, std=STD):
    """Return the motion after each image."""
    motions = [Motion.begin(poses[0], std)]
    for pose in poses[1:]:
        motions.append(motions[-1].updated(pose, std, 1 / rate, ACCELERATION))
    return motions


def noisy(poses, std, seed=0):
    rng, result = np.random.default_rng(seed), []
    for pose in poses:
        turn = rotation_from_vector(rng.normal(scale=std[1], size=(1, 3)))[0]
        disturbed = pose.copy()
        disturbed[:3, :3] = turn @ pose[:3, :3]
        disturbed[:3, 3] += rng.normal(scale=std[0], size=3)
        result.append(disturbed)
    return result


def errors(motions, poses):
    """Return the errors (N, 6) of filtered poses, m and rad."""
    return np.array([pose_difference(pose, motion.camera_from_face)
                     for motion, pose in zip(motions, poses)])


def rms(values):
    return np.sqrt(np.mean(np.square(values), axis=0))


@given(velocities, rates)
@settings(deadline=None)
def test_a_steady_motion_is_followed_and_measured(twist, rate):
    poses = [moved(twist, i / rate) for i in range(2 + round(2.0 * rate))]
    last = filtered(poses, rate)[-1]
    np.testing.assert_allclose(last.twist, twist, atol=0.05)
    assert np.abs(pose_difference(last.camera_from_face, poses[-1])).max() < 0.006


@given(velocities, rates)
@settings(deadline=None)
def test_the_next_image_shows_the_predicted_pose(twist, rate):
    images = 2 + round(2.0 * rate)
    last = filtered([moved(twist, i / rate) for i in range(images)], rate)[-1]
    error = pose_difference(last.predicted(1 / rate), moved(twist, images / rate))
    # motion fades with a time constant of 0.5 s
    assert np.abs(error).max() <= np.abs(twist).max() / rate ** 2 + 0.08 / rate + 0.006


@pytest.mark.parametrize('std', [STD, 8 * STD])
@pytest.mark.parametrize('rate', [15, 30])
def test_a_head_at_rest_jitters_half_as_much_as_its_images(std, rate):
    poses = [pose_of(vector=(0.1, 0.3, 0))] * 150
    calm = errors(filtered(noisy(poses, std), rate, std), poses)[30:]
    assert (rms(calm)[:3] < 0.55 * std[0]).all() and (rms(calm)[3:] < 0.55 * std[1]).all()


@pytest.mark.parametrize('claimed', [0.7, 1.0, 3.0])
def test_noise_is_measured_whatever_sigma_is_claimed(claimed):
    poses = [moved(np.array([0.2, 0, 0, 0, 0.8, 0]), i / 30) for i in range(120)]
    last = filtered(noisy(poses, STD), std=claimed * STD)[-1]
    np.testing.assert_allclose(np.sqrt(last.noise) * claimed * STD, STD, rtol=0.35)


@pytest.mark.parametrize('speed', [0.05, 0.3, 1.5])
@pytest.mark.parametrize('rate', [15, 30, 90])
def test_a_head_that_starts_and_moves_on_lags_by_little(speed, rate):
    seconds = (np.arange(3 * rate) / rate - 1).clip(0)
    poses = [moved(np.array([speed, 0, 0, 0, 2 * speed, 0]), s) for s in seconds]
    late = np.abs(errors(filtered(poses, rate), poses))
    # 10 ms of the speed in m/s, or 5 ms of that in rad/s, or a fifth of a sigma
    assert (late[-1] < 0.01 * speed + 0.2 * STD.repeat(3)).all()
    assert (late < 0.01 * speed + STD.repeat(3)).all()


def test_filtered_poses_in_motion_are_better_than_their_images():
    seconds = np.arange(150) / 30
    poses = [pose_of((0.05 * np.sin(2 * s), 0, 1), (0, 0.5 * np.sin(3 * s), 0)) for s in seconds]
    std = 6 * STD
    found = rms(errors(filtered(noisy(poses, std), std=std), poses)[10:])
    assert (found[:3] < 0.85 * std[0]).all() and (found[3:] < 0.85 * std[1]).all()


def test_a_head_that_jumps_is_there_in_the_same_image():
    for jump in (pose_of((0.12, 0, 1)), pose_of(vector=(0, 0.4, 0))):
        poses = [pose_of()] * 40 + [jump] * 3
        for motion in filtered(poses)[40:]:
            assert np.abs(pose_difference(motion.camera_from_face, jump)).max() < 1e-3


def test_a_covered_head_that_seems_to_jump_moves_on_as_before_and_is_found_again():
    twist, rate = np.array([0.4, 0, 0, 0, 0.6, 0]), 30
    poses = [moved(twist, i / rate) for i in range(60)]
    motion = filtered(poses[:40], rate)[-1]
    for i in range(40, 46):  # a hand in its place
        hand = pose_of((0.3, 0.1, 0.8), (0.5, 0, 0.3))
        motion = motion.updated(hand, STD, 1 / rate, ACCELERATION, covered=True)
        error = np.abs(pose_difference(poses[i], motion.camera_from_face))
        assert (error < 0.2 * np.abs(twist) * 6 / rate + 0.3 * STD.repeat(3)).all()  # motion fades
        assert motion.twist_covariance[0, 0] < 1
    for pose in poses[46:]:
        motion = motion.updated(pose, STD, 1 / rate, ACCELERATION)
    assert (np.abs(pose_difference(pose, motion.camera_from_face)) < STD.repeat(3)).all()


@pytest.mark.parametrize('rate', [5, 15])
def test_a_head_that_suddenly_turns_fast_is_predicted_after_two_images(rate):
    angles = np.maximum(np.arange(20) - 15, 0) * 4.0 / rate
    poses = [pose_of(vector=(0, angle, 0)) for angle in angles]
    for motion, pose in zip(filtered(poses, rate)[17:], poses[18:]):
        error = np.abs(pose_difference(motion.predicted(1 / rate), pose))[4]
        assert error < 0.3 * 4.0 / rate  # of the step; motion fades with a time constant of 0.5 s


def test_an_image_of_larger_sigma_counts_less():
    poses = [pose_of()] * 40
    before, off = filtered(noisy(poses, STD))[-1], pose_of((0.03, 0, 1), (0, 0.2, 0))
    after = before.updated(off, 10 * STD, 1 / 30, ACCELERATION)
    moved_by = np.abs(pose_difference(before.predicted(1 / 30), after.camera_from_face))
    assert (moved_by[[0, 4]] < 0.2 * np.array([0.03, 0.2])).all()


def test_a_head_that_turns_all_the_way_round_never_jumps():
    """Through half a turn, where quaternions change sign and angles wrap."""
    poses = [pose_of(vector=(0, angle, 0)) for angle in np.linspace(0, 4 * pi, 200)]
    for before, after in pairwise(filtered(poses)):
        step = pose_difference(before.camera_from_face, after.camera_from_face)[3:]
        assert np.linalg.norm(step) < 0.1 and abs(step[1]) > 0.999 * np.linalg.norm(step)


def test_poses_stay_rigid_for_hours():
    poses = [pose_of(vector=vector) for vector in np.random.default_rng(0).normal(size=(1500, 3))]
    rotation = filtered(poses, std=np.array([0.01, 2.0]))[-1].camera_from_face[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_a_long_pause_leaves_nothing_of_the_past():
    motion, there = filtered([pose_of()] * 30)[-1], pose_of((0.3, 0, 1))
    after = motion.updated(there, STD, 3600.0, ACCELERATION)
    np.testing.assert_allclose(after.camera_from_face, there, atol=1e-3)


def test_the_filter_does_not_depend_on_the_axes_of_the_camera():
    poses = noisy([moved(np.array([0.1, 0.2, 0, 0.3, 0, 0.4]), i / 30) for i in range(40)], STD)
    turn = pose_of((0, 0, 0), (0.4, -0.9, 2.0))
    for one, other in zip(filtered(poses), filtered([turn @ pose for pose in poses])):
        np.testing.assert_allclose(turn @ one.camera_from_face, other.camera_from_face, atol=1e-9)


def test_the_variance_of_velocities_is_that_of_their_errors():
    twist = np.array([0.2, 0, 0, 0, 0.5, 0])
    poses = [moved(twist, i / 30) for i in range(60)]
    last = [filtered(noisy(poses, 4 * STD, seed), std=4 * STD)[-1] for seed in range(60)]
    found = rms([motion.twist - twist for motion in last])
    claimed = np.sqrt(np.mean([motion.twist_covariance.diagonal() for motion in last], axis=0))
    for part in (slice(0, 3), slice(3, 6)):
        assert 0.4 < rms(found[part]) / claimed[part][0] < 1.6


def test_a_head_at_rest_has_no_velocity():
    motion = filtered(noisy([pose_of()] * 90, STD))[-1]
    assert np.abs(motion.twist[:3]).max() < 0.01 and np.abs(motion.twist[3:]).max() < 0.05


def test_without_time_the_pose_is_that_of_the_image():
    motion, there = filtered([pose_of()] * 5)[-1], pose_of((0.1, 0, 1))
    after = motion.updated(there, STD, 0.0, ACCELERATION)
    np.testing.assert_array_equal(after.camera_from_face, there)
    np.testing.assert_array_equal(after.twist, motion.twist)
    # and the next one measures no noise across it
    assert replace(after, step=None).updated(there, STD, 1 / 30, ACCELERATION).step is not None
