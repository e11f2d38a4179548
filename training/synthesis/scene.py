# SPDX-License-Identifier: Apache-2.0
"""Random scenes: people in front of a camera, the room around them and what is in the way."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthface_ros.crop import HEAD_CENTRE_FACE
from training.synthesis.cameras import Camera
from training.synthesis.props import sample_occluder, sample_room, sample_seat
from training.synthesis.rotations import axis_rotation

SKIN, HAIR, BODY, BACKGROUND = range(4)
PEOPLE_APART = 0.10  # m between the surfaces of two people


@dataclass(frozen=True)
class Head:
    """One person's head in a scene."""

    camera_from_face: np.ndarray  # (4, 4) float32
    person: object  # a Person

    @property
    def centre_camera(self):
        """The head's centre, between the ears: (3,) metres."""
        return transform(self.camera_from_face, np.float32([HEAD_CENTRE_FACE]))[0]

    @property
    def vertices_camera(self):
        """The labelled face mesh: (V, 3) metres."""
        return transform(self.camera_from_face, self.person.face_vertices)


@dataclass(frozen=True)
class Scene:
    """Everything the camera may see, in the camera frame."""

    camera: Camera
    triangles_camera: np.ndarray  # (T, 3, 3) float32 metres
    material: np.ndarray  # (T,) uint8: SKIN, HAIR, BODY or BACKGROUND
    two_sided: np.ndarray  # (T,) bool, False where the back may be left out
    head_index: np.ndarray  # (T,) int8: of whose head it is part, or -1
    heads: tuple[Head, ...]


def sample_scene(rng: np.random.Generator, people, camera: Camera, heads: int | None = None,
                 distance=(0.35, 3.0)) -> Scene:
    """Draw one to three people (the first one's face lies in the image), a room and occluders.

    :param people: a PeopleFactory. heads: how many people; None draws it; those that find no
        free place are left out.
    :param distance: range in metres of the first head's distance.
    """
    count = rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]) if heads is None else heads
    far = min(distance[1], 0.9 * camera.sensor.max_range)
    near = min(max(distance[0], camera.sensor.min_range + 0.12), far)
    placed = []
    for k in range(count):
        person = people.sample(rng)
        for _ in range(6):
            pose = _sample_pose(rng, camera, (near, far if k == 0 else far + 0.5), centred=k == 0)
            head = Head(pose, person)
            outline = _outline(head)
            if all(_gap(outline, other) > PEOPLE_APART for _, other in placed):
                placed.append((head, outline))
                break
    return assemble(rng, camera, placed)


def assemble(rng, camera: Camera, placed, occluder_chance: float = 0.3) -> Scene:
    """People, a room around them and, by chance, something in front of the faces."""
    heads = tuple(head for head, _ in placed)
    outlines = np.concatenate([outline for _, outline in placed]) if placed else None
    background = []
    if heads:
        up = heads[0].camera_from_face[:3, 2] @ axis_rotation('xyz', rng.normal(0, 0.2, 3)).T
    else:
        up, outlines = np.array([0, -1.0, 0]), np.array([[0, 0, 1.5]])
    background += sample_room(rng, up, outlines)
    for head in heads:
        if rng.random() < 0.2:
            seat = sample_seat(rng, head.person)
            background.append(transform(head.camera_from_face, seat))
        if rng.random() < occluder_chance:
            target = rng.choice(head.vertices_camera)
            background.append(sample_occluder(rng, target + rng.normal(0, 0.04, 3)))
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
    if not parts:  # one triangle that no camera sees spares everybody the empty case
        parts, material, owner = [np.zeros((1, 3, 3), np.float32)], [[BACKGROUND]], [[-1]]
    material = np.concatenate(material).astype(np.uint8)
    return Scene(camera, np.concatenate(parts), material,
                 (material == HAIR) | (material == BACKGROUND),
                 np.concatenate(owner).astype(np.int8), tuple(heads))


def transform(a_from_b, points_b):
    """Points (..., 3) of frame b in frame a."""
    rotation, translation = (np.asarray(part, np.float32) for part in
                             (a_from_b[:3, :3], a_from_b[:3, 3]))
    return points_b.astype(np.float32, copy=False) @ rotation.T + translation


def facing_pose(head_centre_camera, yaw, pitch, roll):
    """camera_from_face (4, 4) of a head whose angles (rad) count from the viewing ray.

    At zero it looks back along the ray with its top up in the image; then it yaws about its
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


def _sample_pose(rng, camera: Camera, distance, centred):
    """camera_from_face: anywhere in the image, mostly turned towards the camera."""
    z = np.exp(rng.uniform(*np.log(distance)))
    margin = 0.10 / z * np.array([camera.fx, camera.fy]) if centred else -20
    size = np.array([camera.width, camera.height])
    low = np.minimum(margin, 0.45 * size)
    u, v = rng.uniform(low, size - low)
    centre = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1]) * z
    kind = rng.random()
    if kind < 0.82:
        yaw, pitch = rng.uniform(-75, 75), np.clip(rng.normal(0, 20), -50, 50)
    elif kind < 0.90:
        yaw, pitch = rng.normal(0, 15), rng.normal(0, 10)
    else:
        yaw, pitch = rng.uniform(-180, 180), rng.uniform(-50, 50)
    roll = np.clip(rng.normal(0, 14), -35, 35) if rng.random() < 0.92 else rng.uniform(-180, 180)
    return facing_pose(centre, *np.radians([yaw, pitch, roll]))


def _outline(head: Head):
    """A few hundred points of a person, to keep others away: (N, 3) metres, camera frame."""
    person = head.person
    points = [vertices[::max(1, len(vertices) // 150)]
              for vertices in (person.head_vertices, person.body_vertices)]
    return transform(head.camera_from_face, np.concatenate(points))


def _gap(points, others):
    return np.sqrt(((points[:, None] - others) ** 2).sum(-1).min())
