# SPDX-License-Identifier: Apache-2.0
"""Random people for synthetic scenes: a head that the camera sees, a body, and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from depthface_ros.face_model import EXPRESSION_NAMES, FaceModel

from . import anny_people, ict_people
from .anny_people import AnnyPeople, face_size
from .expressions import random_expression
from .hair import HairStyle, load_styles
from .ict_people import IctPeople
from .torso import NECK_PIVOT, dress, neck_blend, random_neck_turn, turn_torso

CACHE = Path('~/.cache/depthface_ros/training').expanduser()
ICT_SHARE = 0.5
HAIR_SHARE, HAT_SHARE, DRESSED_SHARE = 0.55, 0.06, 0.8
# Vertices that move less than this with the head are the neck's or the torso's.
NECK = 0.7
TONGUE_OUT = EXPRESSION_NAMES.index('tongueOut')


class Person(NamedTuple):
    """One person; all vertices float32 metres in the person's face frame, all triangles int32.

    head_vertices (N, 3), head_triangles (T, 3): skin, eyeballs, mouth, teeth, then hair
    hair_start: head_triangles from here on are hair or a hat
    body_vertices (M, 3), body_triangles (S, 3): neck, shoulders, arms and torso, turned against
    the head face_vertices (V, 3): the label in the shipped topology, with the expression
    expression (52,): ARKit coefficients in 0..1
    generator 'anny' or 'ict'; identity is unique within a generator, over the splits too
    """

    head_vertices: np.ndarray
    head_triangles: np.ndarray
    hair_start: int
    body_vertices: np.ndarray
    body_triangles: np.ndarray
    face_vertices: np.ndarray
    expression: np.ndarray
    generator: str
    identity: int


class Bare(NamedTuple):
    """A person before neck, hair and clothes are dealt with; vertices (N, 3) m, face frame.

    vertices, blend (N,), triangles: the head; with blend 1 it stays in the face frame, with 0 it
    turns with the torso
    body: vertices of Anny's body with that head's size; hair: (M, 3) or None
    """

    vertices: np.ndarray
    blend: np.ndarray
    triangles: np.ndarray
    body: np.ndarray
    hair: np.ndarray | None
    face: np.ndarray
    size: float
    generator: str
    identity: int


class PeopleFactory:
    """Draws people of a split; the splits share no identity.

    split:       'train' or 'validation'
    ict_folder:  ICT-FaceKit; without it all people are Anny's
    hair_folder: MakeHuman hair; without it all are bald
    cache:       folder for what is prepared once (about a minute, 120 MB)
    """

    def __init__(self, split: str = 'train', ict_folder: str | Path | None = None,
                 hair_folder: str | Path | None = None, cache: str | Path = CACHE) -> None:
        self.split = split
        self.face_model = FaceModel.load()
        self.anny = AnnyPeople.open(split, Path(cache))
        self.ict = None if ict_folder is None else IctPeople.open(ict_folder, Path(cache))
        mean = self.anny.neutral(slice(0, 100)).mean(0)
        wigs = [Wig(style, mean, self.anny, self.ict) for style in load_styles(hair_folder)]
        self.hats = [wig for wig in wigs if 'fedora' in wig.style.name]
        self.styles = [wig for wig in wigs if wig not in self.hats]

    def sample(self, rng: np.random.Generator) -> Person:
        """Draw a person with an expression, hair, clothes and a turn of the torso."""
        wig = self._random_wig(rng)
        expression = random_expression(rng)
        if self.ict is not None and rng.random() < ICT_SHARE:
            expression[TONGUE_OUT] = 0  # ICT has no such action
            bare = self._bare_ict(rng, wig, expression)
        else:
            bare = self._bare_anny(rng, wig, expression)
        return self._complete(rng, bare, wig, expression)

    def _random_wig(self, rng: np.random.Generator) -> Wig | None:
        kind = rng.random()
        wigs = self.styles if kind < HAIR_SHARE else self.hats
        if kind > HAIR_SHARE + HAT_SHARE or not wigs:
            return None
        return wigs[rng.integers(len(wigs))]

    def _bare_anny(self, rng: np.random.Generator, wig: Wig | None, expression) -> Bare:
        anny = self.anny
        number = int(rng.integers(len(anny.size)))
        vertices = anny.with_expression(number, expression)
        hair = wig and wig.style.on(anny.neutral(number), anny.place)
        return Bare(vertices, anny.blend, anny.head_triangles, vertices, hair, anny.face(vertices),
                    anny.size[number], 'anny', anny_people.IDENTITIES[self.split][number])

    def _bare_ict(self, rng: np.random.Generator, wig: Wig | None, expression) -> Bare:
        ict, anny = self.ict, self.anny
        identity = int(rng.integers(*ict_people.IDENTITIES[self.split]))
        neutral, rotation = ict.neutral(identity, self.face_model)
        vertices = neutral + ict.displacement(expression) @ rotation.T
        size = face_size(ict.face(neutral)) / face_size(self.face_model.template)
        number = int(rng.integers(len(anny.size)))
        body = anny.neutral(number) * np.float32(size / anny.size[number])
        roots = anny.place[ict.roots]
        moved = ict.hair_roots(neutral) - body[roots]
        hair = None
        if wig is not None:
            hair = wig.style.on(body, anny.place)
            hair += np.einsum('mk,mkc->mc', wig.root_weights, moved[wig.nearest_roots])
        body += moved[anny.blend[roots] < NECK].mean(0)
        return Bare(vertices, ict.blend, ict.triangles, body, hair, ict.face(vertices), size,
                    'ict', identity)

    def _complete(self, rng: np.random.Generator, bare: Bare, wig: Wig | None,
                  expression: np.ndarray) -> Person:
        turn, pivot = random_neck_turn(rng), NECK_PIVOT * np.float32(bare.size)
        vertices, blend, triangles = bare.vertices, bare.blend, bare.triangles
        if wig is not None:
            triangles = np.concatenate([triangles, wig.style.triangles + np.int32(len(vertices))])
            vertices = np.concatenate([vertices, bare.hair])
            blend = np.concatenate([blend, wig.blend])
        body, body_triangles = bare.body, self.anny.body_triangles
        if rng.random() < DRESSED_SHARE:
            body = dress(body, body_triangles, self.anny.blend, rng)
        head = turn_torso(vertices, blend, turn, pivot)
        body = turn_torso(body, self.anny.blend, turn, pivot)
        return Person(head.astype(np.float32), triangles, len(bare.triangles),
                      body.astype(np.float32), body_triangles, bare.face.astype(np.float32),
                      expression, bare.generator, bare.identity)


class Wig:
    """A hair style with what its vertices need beyond it.

    blend (M,): how far they move with the head; nearest_roots, root_weights (M, 8): which points
    of the head carry them when the head is not Anny's.
    """

    def __init__(self, style: HairStyle, mean: np.ndarray, anny: AnnyPeople,
                 ict: IctPeople | None) -> None:
        self.style = style
        hair = style.on(mean, anny.place)
        self.blend = neck_blend(hair)
        if ict is not None:
            gaps, self.nearest_roots = cKDTree(mean[anny.place[ict.roots]]).query(hair, k=8)
            weights = 1 / (gaps + 0.005) ** 2
            self.root_weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
