# SPDX-License-Identifier: Apache-2.0
"""Velocities of heads, and the poses that they predict."""
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.tracking.motion import Motion, pose_difference

rates = st.floats(10, 120)
velocities = st.lists(st.floats(-1, 1), min_size=6, max_size=6).map(np.array)


def moved(twist, seconds):
    """A pose that turned about an axis of the camera and moved, for some time."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_vector((twist[3:] * seconds)[None])[0]
    pose[:3, 3] = (0, 0, 1) + twist[:3] * seconds
    return pose


def after(twist, rate, images, noise=None):
    motion, poses = Motion(), [moved(twist, i / rate) for i in range(images)]
    for pose in poses if noise is not None else []:
        pose[:3, 3] += noise.normal(scale=0.002, size=3)
    for before, pose in zip(poses, poses[1:]):
        motion = motion.updated(before, pose, 1 / rate)
    return motion, poses[-1]


@given(velocities, rates)
@settings(deadline=None)
def test_a_steady_motion_is_measured_and_its_variance_vanishes(twist, rate):
    motion, _ = after(twist, rate, 2 + round(2.0 * rate))
    np.testing.assert_allclose(motion.twist, twist, atol=1e-5)
    assert (motion.covariance.diagonal() < 1e-3).all()


@given(velocities, rates)
@settings(deadline=None)
def test_the_next_image_shows_the_predicted_pose(twist, rate):
    motion, last = after(twist, rate, 2 + round(2.0 * rate))
    predicted = motion.predicted(last, 1 / rate)
    # motion fades with a time constant of 0.5 s
    error = pose_difference(predicted, moved(twist, (1 + round(2.0 * rate) + 1) / rate))
    assert np.abs(error).max() <= 1.1 * np.abs(twist).max() / rate ** 2 / (2 * 0.5) + 1e-5


def test_the_variance_is_that_of_noisy_velocities():
    twists = np.array([after(np.zeros(6), 30, 90, np.random.default_rng(seed))[0].twist[:3]
                       for seed in range(60)])
    claimed = np.mean([after(np.zeros(6), 30, 90, np.random.default_rng(seed))[0].covariance.diagonal()[:3]
                       for seed in range(60)])
    # Differences of neighbouring images are anticorrelated: the claim is an upper bound.
    assert twists.var() < claimed < 20 * twists.var()


def test_no_time_no_motion():
    motion = Motion()
    assert motion.updated(moved(np.ones(6), 0), moved(np.ones(6), 1), 0.0) is motion
