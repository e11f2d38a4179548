# SPDX-License-Identifier: Apache-2.0
"""Random people for synthetic scenes: a head that the camera sees, a body, and the labels that belong to them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from depthface_ros.face_model import EXPRESSION_NAMES, FaceModel

from . import anny_people, ict_people
from .anny_people import AnnyPeople
from .expressions import random_expression
from .hair import HairStyle, load_styles
from .ict_people import IctPeople
from .torso import NECK_PIVOT, dress, neck_blend, random_neck_turn, turn_torso

CACHE = Path('~/.cache/depthface_ros/training').expanduser()
ICT_SHARE = 0.5
HAIR_SHARE, HAT_SHARE = 0.55, 0.06
TONGUE_OUT = EXPRESSION_NAMES.index('tongueOut')


class Person(NamedTuple):
    """One person; all vertices float32 metres in the person's face frame, all triangles int32.

    head_vertices (N, 3), head_triangles (T, 3): skin, eyeballs, mouth, teeth, then hair
    hair_start: head_triangles from here on are hair or a hat
    body_vertices (M, 3), body_triangles (S, 3): neck, shoulders, arms and torso, turned against the head
    face_vertices (V, 3): the label in the shipped topology, with the expression
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


class PeopleFactory:
    """Draws people of a split; the splits share no identity.

    split:       'train' or 'validation'
    ict_folder:  ICT-FaceKit; without it all people are Anny's
    hair_folder: MakeHuman hair; without it all are bald
    cache:       folder for what is prepared once (about a minute, 150 MB)
    """

    def __init__(self, split: str = 'train', ict_folder: str | Path | None = None,
                 hair_folder: str | Path | None = None, cache: str | Path = CACHE) -> None:
        self.split = split
        self.face_model = FaceModel.load()
        self.anny = AnnyPeople.open(split, Path(cache))
        self.ict = None if ict_folder is None else IctPeople.open(ict_folder, Path(cache))
        styles = load_styles(hair_folder)
        mean = self.anny.neutral(slice(0, 100)).mean(0)
        self.styles = [Wig(style, mean, self.anny, self.ict) for style in styles if 'fedora' not in style.name]
        self.hats = [Wig(style, mean, self.anny, self.ict) for style in styles if 'fedora' in style.name]

    def sample(self, rng: np.random.Generator) -> Person:
        """Draw a person with an expression, hair, clothes and a turn of the torso."""
        wig = self._random_wig(rng)
        expression = random_expression(rng)
        turn = random_neck_turn(rng)
        identity = int(rng.integers(len(self.anny.size)))
        if self.ict is not None and rng.random() < ICT_SHARE:
            return self._ict_person(rng, wig, expression, turn, identity)
        return self._anny_person(rng, wig, expression, turn, identity)

    def _random_wig(self, rng: np.random.Generator) -> Wig | None:
        kind = rng.random()
        wigs = self.styles if kind < HAIR_SHARE else self.hats if kind < HAIR_SHARE + HAT_SHARE else []
        return wigs[rng.integers(len(wigs))] if wigs else None

    def _anny_person(self, rng, wig, expression, turn, identity) -> Person:
        anny = self.anny
        vertices = anny.with_expression(identity, expression)
        hair = None if wig is None else wig.style.on(anny.neutral(identity), anny.place)
        return self._person(rng, vertices, anny.blend, anny.head_triangles, wig, hair, anny.face(vertices),
                            vertices, turn, anny.size[identity], expression, 'anny',
                            anny_people.IDENTITIES[self.split][identity])

    def _ict_person(self, rng, wig, expression, turn, body_identity) -> Person:
        ict, anny = self.ict, self.anny
        identity = int(rng.integers(*ict_people.IDENTITIES[self.split]))
        expression[TONGUE_OUT] = 0
        neutral, rotation = ict.neutral(identity, self.face_model)
        vertices = neutral + ict.displacement(expression) @ rotation.T
        neutral_face = ict.face(neutral)
        template = self.face_model.template
        size = np.linalg.norm(neutral_face - neutral_face.mean(0)) / np.linalg.norm(template - template.mean(0))
        body = anny.neutral(body_identity) * np.float32(size / anny.size[body_identity])
        hair = None
        if wig is not None:
            moved = ict.hair_roots(neutral) - body[anny.place[ict.roots]]
            hair = wig.style.on(body, anny.place)
            hair += np.einsum('mk,mkc->mc', wig.root_weights, moved[wig.nearest_roots])
        return self._person(rng, vertices, ict.blend, ict.triangles, wig, hair, ict.face(vertices), body, turn,
                            size, expression, 'ict', identity)

    def _person(self, rng, vertices, blend, triangles, wig, hair, face, body, turn, size, expression, generator,
                identity) -> Person:
        pivot = NECK_PIVOT * np.float32(size)
        hair_start = len(triangles)
        if wig is not None:
            triangles = np.concatenate([triangles, wig.style.triangles + np.int32(len(vertices))])
            vertices = np.concatenate([vertices, hair])
            blend = np.concatenate([blend, wig.blend])
        head = turn_torso(vertices, blend, turn, pivot)
        body_blend, body_triangles = self.anny.blend, self.anny.body_triangles
        if rng.random() < 0.8:
            body = dress(body, body_triangles, body_blend, rng)
        return Person(head.astype(np.float32), triangles, hair_start,
                      turn_torso(body, body_blend, turn, pivot).astype(np.float32), body_triangles,
                      face.astype(np.float32), expression, generator, identity)


class Wig:
    """A hair style with what its vertices need beyond it.

    blend (M,): how far they move with the head; nearest_roots, root_weights (M, 4): which points of the head carry
    them when the head is not Anny's.
    """

    def __init__(self, style: HairStyle, mean: np.ndarray, anny: AnnyPeople, ict: IctPeople | None) -> None:
        self.style = style
        hair = style.on(mean, anny.place)
        self.blend = neck_blend(hair)
        if ict is not None:
            gaps, self.nearest_roots = cKDTree(mean[anny.place[ict.roots]]).query(hair, k=8)
            weights = 1 / (gaps + 0.005) ** 2
            self.root_weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
