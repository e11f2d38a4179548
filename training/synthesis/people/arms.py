# SPDX-License-Identifier: Apache-2.0
"""Arms with hands from Anny: rest meshes baked once, fingers, wrist and elbow posed when drawn."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.synthesis.meshes import triangulate, vertex_normals
from training.synthesis.people.anny_model import SKIN, AnnyModel
from training.synthesis.people.anny_people import random_phenotypes

VERSION = 1  # increase when the baked content changes
IDENTITIES = {'train': (0, 240), 'validation': (1000, 60)}  # seed, count
SIDE = '.L'  # of the arm that is baked; the other one is its mirror image
FINGERS = range(1, 6)  # from the thumb
# Joints by bone, parents first; skin that moves with other bones of the arm moves with its parent.
JOINTS = ('upperarm01', 'lowerarm01', 'wrist',
          *(f'finger{finger}-{joint}' for finger in FINGERS for joint in (1, 2, 3)))
UPPER_ARM, ELBOW, WRIST = range(3)
PARENTS = (-1, 0, 1, *(WRIST if joint == 0 else WRIST + 3 * finger + joint
                       for finger in range(5) for joint in range(3)))
SLEEVE_SHARE = 0.6
THICKEST_SLEEVE = 0.022  # m


@dataclass(frozen=True, eq=False)
class Arms:
    """Rest meshes of left arms of a split, from the shoulder to the finger tips.

    vertices (I, N, 3) and joints (I, 18, 3): float32 metres, Anny's axes turned to x forward
    weights (N, 18): linear blend skinning; triangles (T, 3) int32
    """

    vertices: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    triangles: np.ndarray

    @classmethod
    def open(cls, split: str, cache: Path) -> Arms:
        """Open the cache of a split, 'train' or 'validation'; bake it where it is missing."""
        file = cache / f'arms-{VERSION}-{split}.npz'
        if not file.exists():
            arrays = bake(*IDENTITIES[split])
            cache.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(f'.{os.getpid()}.npz')
            np.savez(unfinished, **arrays)
            unfinished.replace(file)
        with np.load(file) as arrays:
            return cls(**arrays)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an arm in a random pose: triangles (T, 3, 3) float32 m, in its hand frame.

        The hand frame has its origin in the palm, x out of the palm and z towards the fingers.
        """
        identity = int(rng.integers(len(self.vertices)))
        vertices, joints = self.vertices[identity], self.joints[identity]
        if rng.random() < SLEEVE_SHARE:
            vertices = self._sleeved(vertices, joints, rng)
        rotations = random_rotations(joints, rng)
        posed, moved = self._skinned(vertices, joints, rotations)
        triangles = in_hand_frame(posed, moved)[self.triangles].astype(np.float32)
        if rng.random() < 0.5:  # a right arm
            triangles = triangles[:, ::-1] * np.float32([1, -1, 1])
        return triangles

    def _skinned(self, vertices, joints, rotations):
        """Return vertices (N, 3) and joints (18, 3) after turns (18, 3, 3) about each joint."""
        turns, shifts = np.zeros((len(JOINTS), 3, 3)), np.zeros((len(JOINTS), 3))
        for joint, parent in enumerate(PARENTS):
            turn, shift = (np.eye(3), np.zeros(3)) if parent < 0 else (turns[parent],
                                                                      shifts[parent])
            turns[joint] = turn @ rotations[joint]
            shifts[joint] = turn @ (joints[joint] - rotations[joint] @ joints[joint]) + shift
        everywhere = np.einsum('jab,nb->nja', turns, vertices) + shifts
        posed = (everywhere * self.weights[..., None]).sum(1)
        return posed, np.einsum('jab,jb->ja', turns, joints) + shifts

    def _sleeved(self, vertices, joints, rng):
        """Push skin above a cuff somewhere on the arm outwards, wavy as cloth."""
        along = joints[WRIST] - joints[ELBOW]
        place = (vertices - joints[ELBOW]) @ along / (along @ along)  # 0 elbow, 1 wrist
        on_arm = self.weights[:, :WRIST].sum(1) > 0.5
        place = np.where(on_arm, place, 1.2)
        thickness = rng.uniform(0.002, THICKEST_SLEEVE)
        ramp = np.clip((rng.uniform(-0.3, 1.0) - place) / 0.05, 0, 1)
        waves = rng.normal(0, 1, (3, 4)) * rng.uniform(20, 90, 4)
        folds = 1 + 0.5 * np.sin(vertices @ waves + rng.uniform(0, 6.28, 4)).mean(1)
        normals = vertex_normals(vertices, self.triangles)
        return vertices + normals * (thickness * ramp * folds)[:, None]


def bake(seed: int, count: int) -> dict[str, np.ndarray]:
    """Return the arrays of :class:`Arms` for random people from four years to old age."""
    import torch

    anny = AnnyModel.load()
    network = anny.network
    rows = [[i for i, label in enumerate(network.bone_labels) if joint_of(label) == joint]
            for joint in range(len(JOINTS))]
    bones, bone_weights = (network.vertex_bone_indices.numpy(),
                           network.vertex_bone_weights.numpy())
    weights = np.stack([(bone_weights * np.isin(bones, row)).sum(1) for row in rows], axis=1)
    wanted = weights.sum(1) > 0.5
    wanted[SKIN.stop:] = False
    quads = anny.quads[wanted[anny.quads].all(1)]
    used = np.unique(quads)
    place = np.zeros(len(wanted), np.int64)
    place[used] = np.arange(len(used))
    weights = weights[used] / weights[used].sum(1, keepdims=True)

    phenotypes = random_phenotypes(count, np.random.default_rng(seed))
    out = network(phenotype_kwargs={name: torch.as_tensor(value)
                                    for name, value in phenotypes.items()})
    heads = [network.bone_labels.index(name + SIDE) for name in JOINTS]
    vertices, joints = out['rest_vertices'].numpy()[:, used], out['rest_bone_heads'].numpy()
    triangles = triangulate(place[quads], vertices.mean(0))
    return dict(vertices=vertices.astype(np.float32), joints=joints[:, heads].astype(np.float32),
                weights=weights.astype(np.float32), triangles=triangles.astype(np.int32))


def joint_of(bone: str) -> int | None:
    """Return the joint with which a bone of Anny's rig moves; None beyond the left arm."""
    if not bone.endswith(SIDE):
        return None
    name = bone.removesuffix(SIDE)
    for prefix, joint in (('upperarm', UPPER_ARM), ('lowerarm', ELBOW), ('wrist', WRIST),
                          ('metacarpal', WRIST)):
        if name.startswith(prefix):
            return joint
    return JOINTS.index(name) if name in JOINTS else None


def hand_axes(joints: np.ndarray) -> np.ndarray:
    """Return the hand frame's axes (3, 3) as columns: out of the palm, across, to the fingers."""
    knuckles = joints[[WRIST + 1 + 3 * finger for finger in range(1, 5)]]
    along = unit(knuckles.mean(0) - joints[WRIST])
    # from the index to the little finger; of a left hand, along x across points out of its back
    across = knuckles[3] - knuckles[0]
    across = unit(across - along * (across @ along))
    return np.stack([np.cross(across, along), across, along], axis=1)


def in_hand_frame(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return points (N, 3) of an arm with joints (18, 3) in its hand frame."""
    knuckle = joints[WRIST + 1 + 3 * 2]
    return (points - 0.5 * (joints[WRIST] + knuckle)) @ hand_axes(joints)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation (3, 3) about a unit axis by an angle in radians (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def random_bends(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return flexions (5, 3) rad of thumb and fingers, and by how much more (rad) these spread."""
    kind = rng.choice(['open', 'relaxed', 'fist', 'pointing', 'grasp', 'mixed'],
                      p=[0.5, 0.14, 0.08, 0.08, 0.1, 0.1])
    straight, closed = np.array([0.0, 0.05, 0.05]), np.array([1.35, 1.5, 0.9])
    amount = {'open': 0.02, 'relaxed': 0.28, 'fist': 1.0, 'pointing': 1.0,
              'grasp': rng.uniform(0.35, 0.7), 'mixed': 0.0}[kind]
    amounts = np.full(5, amount)
    if kind == 'pointing':
        amounts[1] = 0
    elif kind == 'mixed':
        amounts = rng.choice([0.0, 0.3, 1.0], 5)
    amounts = np.clip(amounts + rng.normal(0, 0.07, 5), -0.1, 1.05)
    bends = straight + amounts[:, None] * closed * rng.uniform(0.85, 1.15, (5, 3))
    spread = rng.uniform(-0.22, 0.2) if kind in ('open', 'relaxed') else 0.0
    return bends, spread


def random_rotations(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return turns (18, 3, 3) about the joints (18, 3) of a left arm at rest."""
    out_of_palm, across, along = hand_axes(joints).T
    bends, spread = random_bends(rng)
    turns = np.tile(np.eye(3), (len(JOINTS), 1, 1))
    upper, fore = unit(joints[ELBOW] - joints[UPPER_ARM]), unit(joints[WRIST] - joints[ELBOW])
    elbow = unit(np.cross(upper, fore))
    turns[ELBOW] = about(elbow, rng.uniform(-0.4, 1.6)) @ about(fore, rng.uniform(-1.0, 1.0))
    flexion, deviation = np.clip(rng.normal(-0.2, 0.5), -1.2, 1.0), rng.normal(0, 0.15)
    turns[WRIST] = about(across, flexion) @ about(out_of_palm, deviation)
    for finger in range(5):
        first = WRIST + 1 + 3 * finger
        sideways = spread * (finger - 2.5) if finger else spread
        axis = across if finger else unit(np.cross(out_of_palm, joints[first + 1] - joints[first]))
        for joint in range(3):
            bend = bends[finger, joint] * (1 if finger else -0.45)
            turns[first + joint] = about(axis, bend)
        turns[first] = about(out_of_palm, -sideways) @ turns[first]
    return turns
