# SPDX-License-Identifier: Apache-2.0
"""Random scenes: people in front of a camera, the room around them and what is in the way."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthface_ros.geometry.crop import HEAD_CENTRE_FACE
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.cameras import Camera
from training.synthesis.scene.occluders import sample_occluder
from training.synthesis.scene.rooms import sample_room, sample_seat

SKIN, HAIR, BODY, BACKGROUND = range(4)
PEOPLE_APART = 0.10  # m between the surfaces of two people


@dataclass(frozen=True)
class Head:
    """One person's head in a scene."""

    camera_from_face: np.ndarray  # (4, 4) float32
    person: object  # a Person

    @property
    def centre_camera(self):
        """Return the head's centre, between the ears: (3,) metres."""
        return transform(self.camera_from_face, np.float32([HEAD_CENTRE_FACE]))[0]

    @property
    def vertices_camera(self):
        """Return the labelled face mesh: (V, 3) metres."""
        return transform(self.camera_from_face, self.person.face_vertices)


@dataclass(frozen=True)
class Scene:
    """All surfaces of a scene, in the camera frame."""

    camera: Camera
    triangles_camera: np.ndarray  # (T, 3, 3) float32 metres
    material: np.ndarray  # (T,) uint8: SKIN, HAIR, BODY or BACKGROUND
    two_sided: np.ndarray  # (T,) bool, False where the back may be left out
    head_index: np.ndarray  # (T,) int8: the head that it belongs to, or -1
    heads: tuple[Head, ...]


def sample_scene(rng: np.random.Generator, people, camera: Camera, heads: int | None = None,
                 distance=(0.25, 3.0)) -> Scene:
    """Draw up to three people (the first one's face lies in the image), a room and occluders.

    :param people: a PeopleFactory. heads: how many people; None draws it, sometimes none; those
        that find no free place are left out.
    :param distance: range in metres of the first head's distance.
    """
    count = rng.choice(4, p=[0.12, 0.48, 0.26, 0.14]) if heads is None else heads
    far = min(distance[1], 0.9 * camera.sensor.max_range)
    near = min(max(distance[0], camera.sensor.min_range + 0.12), far)
    # Common to all heads: a low robot has its camera tilted up, a phone or a wrist camera rolls.
    seen_from_below = rng.uniform(10, 45) if rng.random() < 0.2 else 0
    camera_roll = rng.choice([90, 180, 270]) + rng.normal(0, 8) if rng.random() < 0.05 else 0
    placed = []
    for k in range(count):
        person = people.sample(rng)
        for _ in range(6):
            # Bystanders stand behind as often as beside.
            behind = k > 0 and rng.random() < 0.5
            z = rng.uniform(1.2, max(1.3, far + 0.5)) if behind else \
                np.exp(rng.uniform(np.log(near), np.log(far)))
            pose = sample_pose(rng, camera, z, seen_from_below, camera_roll, centred=k == 0)
            head = Head(pose, person)
            outline = outline_of(head)
            if all(_gap(outline, other) > PEOPLE_APART for _, other in placed):
                placed.append((head, outline))
                break
    return assemble(rng, camera, placed)


def assemble(rng, camera: Camera, placed, occluder_chance: float = 0.3,
             keep_clear: np.ndarray | None = None) -> Scene:
    """Put people into a room and, by chance, something in front of their faces.

    :param keep_clear: (N, 3) metres, camera frame, of other things that walls leave in view.
    """
    heads = tuple(head for head, _ in placed)
    outlines = np.concatenate([outline for _, outline in placed]) if placed else None
    if heads:
        up = heads[0].camera_from_face[:3, 2] @ axis_rotation('xyz', rng.normal(0, 0.2, 3)).T
        clutter = rng.integers(1, 4) if rng.random() < 0.35 else 0
    else:
        up = np.array([0, -1.0, 0]) @ axis_rotation('xyz', rng.normal(0, 0.3, 3)).T
        # Points in view take the place of people: things gather around them, walls behind them.
        z = rng.uniform(0.5, 2.5, 5)
        u, v = rng.uniform(0.1, 0.9, (2, 5)) * np.array([[camera.width], [camera.height]])
        outlines = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy,
                             np.ones(5)], 1) * z[:, None]
        clutter = rng.integers(2, 10)
    if keep_clear is not None:
        outlines = np.concatenate([outlines, keep_clear])
    background = sample_room(rng, up, outlines, clutter)
    everybody = np.concatenate([transform(head.camera_from_face, head.person.head_vertices)
                                for head in heads]) if heads else None
    for head in heads:
        if rng.random() < 0.25:
            seat = sample_seat(rng, head.person)
            background.append(transform(head.camera_from_face, seat))
        if rng.random() < occluder_chance:
            target = rng.choice(head.vertices_camera) + rng.normal(0, 0.04, 3)
            background.append(sample_occluder(rng, target, everybody))
    return build_scene(camera, heads, background)


def build_scene(camera: Camera, heads, background) -> Scene:
    """Put triangles of heads and background (a list of (T, 3, 3), camera frame) into one scene."""
    parts, material, owner = [], [], []
    for k, head in enumerate(heads):
        person = head.person
        vertices = transform(head.camera_from_face, person.head_vertices)
        parts.append(np.take(vertices, person.head_triangles, axis=0))
        hair = np.arange(len(person.head_triangles)) >= person.hair_start
        material.append(np.where(hair, HAIR, SKIN))
        owner.append(np.full(len(hair), k))
        vertices = transform(head.camera_from_face, person.body_vertices)
        parts.append(np.take(vertices, person.body_triangles, axis=0))
        material.append(np.full(len(person.body_triangles), BODY))
        owner.append(np.full(len(person.body_triangles), -1))
    for triangles in background:
        parts.append(triangles.astype(np.float32))
        material.append(np.full(len(triangles), BACKGROUND))
        owner.append(np.full(len(triangles), -1))
    if not parts:  # one invisible triangle avoids the empty case
        parts, material, owner = [np.zeros((1, 3, 3), np.float32)], [[BACKGROUND]], [[-1]]
    material = np.concatenate(material).astype(np.uint8)
    return Scene(camera, np.concatenate(parts), material,
                 (material == HAIR) | (material == BACKGROUND),
                 np.concatenate(owner).astype(np.int8), tuple(heads))


def transform(a_from_b, points_b):
    """Transform points (..., 3) from frame b to frame a."""
    rotation, translation = (np.asarray(part, np.float32) for part in
                             (a_from_b[:3, :3], a_from_b[:3, 3]))
    return points_b.astype(np.float32, copy=False) @ rotation.T + translation


def facing_pose(head_centre_camera, yaw, pitch, roll):
    """Return camera_from_face (4, 4) of a head whose angles (rad) count from the viewing ray.

    At zero it faces back along the ray with its top up in the image; then it yaws about its
    vertical axis (positive: to its left), pitches (positive: down) and rolls about its nose.
    """
    ray = np.asarray(head_centre_camera, float) / np.linalg.norm(head_centre_camera)
    up = np.array([0, -1.0, 0]) + ray[1] * ray  # minus its part along the ray
    up /= np.linalg.norm(up)
    looking_back = np.stack([-ray, np.cross(up, -ray), up], axis=1)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = looking_back @ axis_rotation('zyx', (yaw, pitch, roll))
    pose[:3, 3] = head_centre_camera - pose[:3, :3] @ HEAD_CENTRE_FACE
    return pose


def sample_pose(rng, camera: Camera, z, seen_from_below, camera_roll, centred=True, yaw=None):
    """Draw camera_from_face at a depth z (m): anywhere in the image, mostly turned to the camera.

    seen_from_below, camera_roll: tilt of the camera upwards and its roll, degrees.
    centred: keep the head within the image. yaw: degrees; None draws it.
    """
    margin = 0.10 / z * np.array([camera.fx, camera.fy]) if centred else -20
    size = np.array([camera.width, camera.height])
    low = np.minimum(margin, 0.45 * size)
    u, v = rng.uniform(low, size - low)
    centre = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1]) * z
    kind = rng.random()
    if kind < 0.76:
        angles = rng.uniform(-85, 85), rng.normal(0, 22)
    elif kind < 0.83:
        angles = rng.normal(0, 15), rng.normal(0, 10)
    else:
        angles = rng.uniform(-180, 180), rng.uniform(-50, 50)
    yaw, pitch = angles[0] if yaw is None else yaw, angles[1]
    roll = np.clip(rng.normal(0, 14), -45, 45) if rng.random() < 0.93 else rng.uniform(-180, 180)
    # Seen from below, a head's top leans away from the camera, whichever way the face looks.
    pitch = np.clip(pitch - seen_from_below * np.cos(np.radians(yaw)), -65, 65)
    roll += camera_roll - seen_from_below * np.sin(np.radians(yaw))
    return facing_pose(centre, *np.radians([yaw, pitch, roll]))


def outline_of(head: Head):
    """Return a few hundred points of a person, for collision checks: (N, 3) metres, camera frame."""
    person = head.person
    points = [vertices[::max(1, len(vertices) // 150)]
              for vertices in (person.head_vertices, person.body_vertices)]
    return transform(head.camera_from_face, np.concatenate(points))


def _gap(points, others):
    return np.sqrt(((points[:, None] - others) ** 2).sum(-1).min())
