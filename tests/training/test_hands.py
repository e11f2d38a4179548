# SPDX-License-Identifier: Apache-2.0
"""Posed arms keep the lengths of their bones, and scenes with hands show them at their labels."""
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('scipy')

from test_scene import Sitters

from training.synthesis.people.arms import (
    ELBOW,
    JOINTS,
    PARENTS,
    WRIST,
    Arms,
    in_hand_frame,
    random_rotations,
)
from training.synthesis.scene.cameras import VALIDATION_CAMERAS
from training.synthesis.scene.hands import NEAREST, sample_hands
from training.synthesis.scene.views import render_frame


def stick_arm() -> Arms:
    """A left arm along z whose palm faces x: one small triangle at each joint."""
    joints = np.zeros((len(JOINTS), 3))
    joints[ELBOW], joints[WRIST] = (0.02, 0.01, 0.3), (0, 0, 0.55)
    for finger in range(5):
        for joint in range(3):
            along = 0.66 + 0.03 * joint if finger else 0.6 + 0.03 * joint
            joints[WRIST + 1 + 3 * finger + joint] = 0, 0.02 * (finger - 2.5), along
    corners = joints[:, None] + 0.01 * np.eye(3)
    weights = np.repeat(np.eye(len(JOINTS)), 3, axis=0)
    triangles = np.arange(3 * len(JOINTS)).reshape(-1, 3)
    return Arms(corners.reshape(1, -1, 3), joints[None], weights, triangles)


class Guests(Sitters):
    """People with stick arms."""

    arms = stick_arm()


@pytest.mark.parametrize('seed', range(5))
def test_a_pose_keeps_the_length_of_bones(seed):
    arms = stick_arm()
    joints = arms.joints[0]
    turns = random_rotations(joints, np.random.default_rng(seed))
    _, moved = arms._skinned(arms.vertices[0], joints, turns)
    for joint, parent in enumerate(PARENTS[1:], 1):
        assert np.linalg.norm(moved[joint] - moved[parent]) == pytest.approx(
            np.linalg.norm(joints[joint] - joints[parent]))


def test_fingers_bend_to_the_side_of_the_palm():
    arms, bent = stick_arm(), []
    joints = arms.joints[0]
    for seed in range(40):
        turns = random_rotations(joints, np.random.default_rng(seed))
        _, moved = arms._skinned(arms.vertices[0], joints, turns)
        bent += in_hand_frame(moved, moved)[WRIST + 6::3, 0].tolist()  # last joints of fingers
    assert min(bent) > -0.02 and max(bent) > 0.02


@pytest.mark.parametrize('kind', ['alone', 'headless', 'turned away', 'near faces'])
def test_hands_are_in_view_and_show_no_face_but_near_faces(kind):
    rng, drawn = np.random.default_rng(4), 0
    for camera in VALIDATION_CAMERAS[:3]:
        scene, palms = sample_hands(rng, Guests(), camera, kind)
        drawn += len(palms)
        assert (palms[:, 2] > NEAREST).all()
        view = render_frame(scene, stride=4)
        assert float(view.depth.max()) > 0
        if kind in ('alone', 'headless'):
            assert (view.face_visible < 0.1).all() or not len(scene.heads)
        for head in scene.heads:
            if kind == 'turned away':
                assert head.camera_from_face[:3, 0] @ head.centre_camera > 0
    assert drawn
