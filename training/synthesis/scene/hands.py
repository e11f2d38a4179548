# SPDX-License-Identifier: Apache-2.0
"""Scenes with hands that are raised to the camera: alone, before bodies, and near faces."""
from __future__ import annotations

import numpy as np

from training.synthesis.random_rotations import axis_rotation, random_rotation
from training.synthesis.scene.cameras import Camera
from training.synthesis.scene.occluders import clearance
from training.synthesis.scene.random_scene import (
    Head,
    Scene,
    assemble,
    build_scene,
    facing_pose,
    outline_of,
    sample_scene,
)

KINDS = ('alone', 'headless', 'turned away', 'near faces')
KIND_WEIGHTS = (0.4, 0.2, 0.15, 0.25)
DISTANCE = (0.2, 3.5)  # m from the camera to the palm
NEAREST = 0.12  # m; no part of an arm is nearer to the camera
TRIES = 8


def sample_hands(rng: np.random.Generator, people, camera: Camera,
                 kind: str | None = None) -> tuple[Scene, np.ndarray]:
    """Draw a scene with one or two hands, and return it with the palms (N, 3) m, camera frame.

    :param people: a PeopleFactory. kind: of KINDS, or None to draw it. Only 'near faces' may show
        the front of a face; 'headless' bodies have their heads beyond the image.
    """
    kind = rng.choice(KINDS, p=KIND_WEIGHTS) if kind is None else kind
    if kind == 'near faces':
        return _near_faces(rng, people, camera)
    palms, arms = _arms(rng, people, camera)
    placed = []
    if kind != 'alone' and len(palms):
        head = _body_behind(rng, people, camera, palms[0], kind == 'headless')
        placed.append((head, outline_of(head)))
    points = np.concatenate([np.zeros((0, 3)), *(arm[::40, 0] for arm in arms)])
    scene = assemble(rng, camera, placed, occluder_chance=0, keep_clear=points)
    return with_things(scene, arms), palms


def with_things(scene: Scene, things: list[np.ndarray]) -> Scene:
    """Return the scene with more triangles (T, 3, 3), camera frame."""
    added = build_scene(scene.camera, (), things)
    return Scene(scene.camera, *(np.concatenate([getattr(scene, name), getattr(added, name)])
                                 for name in ('triangles_camera', 'material', 'two_sided',
                                              'head_index')), scene.heads)


def _arms(rng, people, camera):
    """Return the palms and triangles of one or two arms somewhere in the image."""
    near = max(DISTANCE[0], camera.sensor.min_range + 0.05)
    far = max(near + 0.1, min(DISTANCE[1], 0.9 * camera.sensor.max_range))
    palms, arms = [], []
    for _ in range(1 if rng.random() < 0.75 else 2):
        for _ in range(TRIES):
            z = np.exp(rng.uniform(np.log(near), np.log(far)))
            u, v = rng.uniform(0.05, 0.95, 2) * [camera.width, camera.height]
            palm = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1]) * z
            arm = people.arms.sample(rng) @ camera_from_hand(rng, palm).T.astype(np.float32) + palm
            if arm[..., 2].min() > NEAREST:
                palms.append(palm)
                arms.append(arm)
                break
    return np.array(palms).reshape(-1, 3), arms


def camera_from_hand(rng: np.random.Generator, palm: np.ndarray,
                     kind: str | None = None) -> np.ndarray:
    """Return the rotation (3, 3) of a hand at a palm (3,): 'shown', 'stretched' out, or 'any'.

    A shown hand turns its palm or its back to the camera, mostly with the fingers up.
    """
    kind = rng.choice(['shown', 'stretched', 'any'], p=[0.6, 0.15, 0.25]) if kind is None else kind
    if kind == 'any':
        return random_rotation(rng)
    facing = facing_pose(palm, 0, 0, 0)[:3, :3]  # x back to the camera, z up
    roll = rng.normal(0, 0.4) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
    rolled = facing @ axis_rotation('x', [roll])
    if kind == 'stretched':  # fingers, z of the hand, to the camera
        return rolled @ axis_rotation('yx', rng.normal(0, 0.3, 2)) @ axis_rotation('y', [np.pi / 2])
    back = np.pi if rng.random() < 0.3 else 0.0
    return rolled @ axis_rotation('yz', rng.normal(0, 0.35, 2)) @ axis_rotation('z', [back])


def _body_behind(rng, people, camera, palm, headless):
    """Return a person behind a hand, with the head above the image or turned away."""
    z = palm[2] + rng.uniform(0.15, 0.7)
    x = palm[0] * z / palm[2] + rng.normal(0, 0.2)
    if headless:
        y = -camera.cy / camera.fy * z - rng.uniform(0.16, 0.35)
        yaw = rng.normal(0, 0.6)
    else:
        y = palm[1] * z / palm[2] - rng.uniform(-0.1, 0.5)
        yaw = np.pi + rng.uniform(-0.9, 0.9)
    pose = facing_pose(np.array([x, y, z]), yaw, rng.normal(0, 0.15), rng.normal(0, 0.15))
    return Head(pose, people.sample(rng))


def _near_faces(rng, people, camera):
    """Return a usual scene with a hand before or beside each face, and the palms."""
    scene = sample_scene(rng, people, camera, heads=rng.integers(1, 3))
    palms, arms = [], []
    for head in scene.heads:
        points = head.camera_from_face[:3, :3] @ head.person.head_vertices.T
        points = points.T + head.camera_from_face[:3, 3]
        away = rng.normal(0, 1, 3)
        target = head.centre_camera + away / np.linalg.norm(away) * rng.uniform(0.1, 0.35)
        ray = target / np.linalg.norm(target)
        target = target - ray * rng.uniform(0.0, 0.3)
        arm = people.arms.sample(rng) @ camera_from_hand(rng, target).T + target
        shift = -ray * max(0.0, clearance(rng, arm, points))
        if (arm + shift)[..., 2].min() > NEAREST:
            palms.append(target + shift)
            arms.append((arm + shift).astype(np.float32))
    return with_things(scene, arms), np.array(palms).reshape(-1, 3)
