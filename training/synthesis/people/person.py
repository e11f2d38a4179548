# SPDX-License-Identifier: Apache-2.0
"""Random people for synthetic scenes: a head, a body, and their labels."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from depthface_ros.face_model.mesh import EXPRESSION_NAMES
from training.synthesis.people import anny_people, ict_people
from training.synthesis.people.anny_people import AnnyPeople, face_frame, face_size
from training.synthesis.people.arms import Arms
from training.synthesis.people.expressions import random_expression
from training.synthesis.people.grooming import Regions, groom, head_regions
from training.synthesis.people.hair import HairStyle, load_styles
from training.synthesis.people.head_axes import head_model, in_face_frame
from training.synthesis.people.ict_people import IctPeople
from training.synthesis.people.torso import (
    NECK_PIVOT,
    dress,
    neck_blend,
    random_neck_turn,
    turn_torso,
)
from training.synthesis.people.wear import sample_glasses, sample_peak, sample_scarf

CACHE = Path('~/.cache/depthface_ros/training').expanduser()
ICT_SHARE = 0.5
HAIR_SHARE, HAT_SHARE, DRESSED_SHARE = 0.55, 0.06, 0.8
GLASSES_SHARE, PEAK_SHARE, SCARF_SHARE = 0.28, 0.06, 0.1
# Vertices that move less than this with the head are the neck's or the torso's.
NECK = 0.7
TONGUE_OUT = EXPRESSION_NAMES.index('tongueOut')


class Person(NamedTuple):
    """One person; all vertices float32 metres in the person's face frame, all triangles int32.

    head_vertices (N, 3), head_triangles (T, 3): skin, eyeballs, mouth, teeth, glasses, then hair
    hair_start: head_triangles from here on are hair, a hat, or what glares behind glasses
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

    def in_face_frame(self) -> Person:
        """Turn a person whose vertices are in head axes to the face frame."""
        names = 'head_vertices', 'body_vertices', 'face_vertices'
        return self._replace(**{name: in_face_frame(getattr(self, name)) for name in names})


class Bare(NamedTuple):
    """A person before neck, hair and clothes are added; vertices (N, 3) m, head axes.

    vertices, blend (N,), triangles: the head; with blend 1 it stays in head axes, with 0 it
    turns with the torso
    body: vertices of Anny's body with that head's size; hair: (M, 3) or None
    """

    vertices: np.ndarray
    blend: np.ndarray
    triangles: np.ndarray
    regions: Regions
    body: np.ndarray
    hair: np.ndarray | None
    face: np.ndarray
    size: float
    generator: str
    identity: int


class PeopleFactory:
    """Draws people of a split; the splits have no identity in common.

    split:       'train' or 'validation'
    ict_folder:  ICT-FaceKit; without it all people are Anny's
    hair_folder: MakeHuman hair; without it all are bald
    cache:       folder for what is prepared once (about a minute, 120 MB)
    smiles:      fraction of people who smile or laugh, beside random expressions
    """

    def __init__(self, split: str = 'train', ict_folder: str | Path | None = None,
                 hair_folder: str | Path | None = None, cache: str | Path = CACHE,
                 smiles: float = 0.0) -> None:
        self.split, self.smiles = split, smiles
        self.head_model = head_model()
        self.cache = Path(cache)
        self.anny = AnnyPeople.open(split, self.cache)
        self.ict = None if ict_folder is None else IctPeople.open(ict_folder, self.cache)
        mean = self.anny.neutral(slice(0, 100)).mean(0)
        wigs = [Wig(style, mean, self.anny, self.ict) for style in load_styles(hair_folder)]
        self.anny_regions = head_regions(mean, self.anny.head_triangles)
        if self.ict is not None:
            rotation, translation = face_frame(self.ict.face(self.ict.mean), self.head_model)
            mean = self.ict.mean @ rotation.T + translation
            self.ict_regions = head_regions(mean, self.ict.triangles)
        self.hats = [wig for wig in wigs if 'fedora' in wig.style.name]
        self.styles = [wig for wig in wigs if wig not in self.hats]

    @cached_property
    def arms(self) -> Arms:
        """Return the arms of the same split."""
        return Arms.open(self.split, self.cache)

    def sample(self, rng: np.random.Generator, expression: np.ndarray | None = None,
               torso_turn: np.ndarray | None = None) -> Person:
        """Draw a person with an expression, hair, clothes and a turn of the torso.

        One seed with other expressions and turns gives the same person in motion.

        expression: (52,) ARKit coefficients; torso_turn: (3,) rotation vector, rad, head axes;
        None draws them.
        """
        wig = self._random_wig(rng)
        expression = random_expression(rng, self.smiles) if expression is None else expression.copy()
        if self.ict is not None and rng.random() < ICT_SHARE:
            expression[TONGUE_OUT] = 0  # ICT has no such action
            bare = self._bare_ict(rng, wig, expression)
        else:
            bare = self._bare_anny(rng, wig, expression)
        return self._complete(rng, bare, wig, expression, torso_turn).in_face_frame()

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
        return Bare(vertices, anny.blend, anny.head_triangles, self.anny_regions, vertices, hair,
                    anny.face(vertices), anny.size[number], 'anny',
                    anny_people.IDENTITIES[self.split][number])

    def _bare_ict(self, rng: np.random.Generator, wig: Wig | None, expression) -> Bare:
        ict, anny = self.ict, self.anny
        identity = int(rng.integers(*ict_people.IDENTITIES[self.split]))
        neutral, rotation = ict.neutral(identity, self.head_model)
        vertices = neutral + ict.displacement(expression) @ rotation.T
        size = face_size(ict.face(neutral)) / face_size(self.head_model.template)
        number = int(rng.integers(len(anny.size)))
        body = anny.neutral(number) * np.float32(size / anny.size[number])
        roots = anny.place[ict.roots]
        moved = ict.hair_roots(neutral) - body[roots]
        hair = None
        if wig is not None:
            hair = wig.style.on(body, anny.place)
            hair += np.einsum('mk,mkc->mc', wig.root_weights, moved[wig.nearest_roots])
        body += moved[anny.blend[roots] < NECK].mean(0)
        return Bare(vertices, ict.blend, ict.triangles, self.ict_regions, body, hair,
                    ict.face(vertices), size, 'ict', identity)

    def _complete(self, rng: np.random.Generator, bare: Bare, wig: Wig | None,
                  expression: np.ndarray, torso_turn: np.ndarray | None) -> Person:
        turn = random_neck_turn(rng) if torso_turn is None else torso_turn
        pivot = NECK_PIVOT * np.float32(bare.size)
        vertices, hairy = groom(bare.vertices, bare.triangles, bare.regions, bare.size,
                                wig is None, rng)
        soup = [np.zeros((0, 3, 3))]
        if rng.random() < GLASSES_SHARE:
            glasses = sample_glasses(rng, self.head_model.landmarks(bare.face))
            soup.append(glasses.frame)
            hairy |= glasses.glare & (bare.regions.lenses > 0)[bare.triangles].all(1)
            if len(glasses.lenses):
                soup.append(glasses.lenses)
        if wig is None and rng.random() < PEAK_SHARE:
            soup.append(sample_peak(rng, bare.size))
        head = Parts(vertices, bare.blend, bare.triangles[~hairy])
        head = head.with_solid(np.concatenate(soup), 1)
        hair_start = len(head.triangles)
        head = head.joined(Parts(vertices[:0], bare.blend[:0], bare.triangles[hairy]), 0)
        if wig is not None:
            head = head.joined(Parts(bare.hair, wig.blend, wig.style.triangles))

        body = Parts(bare.body, self.anny.blend, self.anny.body_triangles)
        if rng.random() < DRESSED_SHARE:
            body = body._replace(vertices=dress(*body, rng))
        if rng.random() < SCARF_SHARE:
            body = body.with_solid(sample_scarf(rng, bare.size), 0)
        return Person(head.turned(turn, pivot), head.triangles, hair_start,
                      body.turned(turn, pivot), body.triangles, bare.face.astype(np.float32),
                      expression, bare.generator, bare.identity)


class Parts(NamedTuple):
    """A mesh that bends at the neck: vertices (N, 3) m, blend (N,), triangles (T, 3)."""

    vertices: np.ndarray
    blend: np.ndarray
    triangles: np.ndarray

    def joined(self, other: Parts, first: int | None = None) -> Parts:
        """Return this mesh and `other`, with `first` added to the indices of `other` (None: appended)."""
        first = len(self.vertices) if first is None else first
        return Parts(np.concatenate([self.vertices, other.vertices]),
                     np.concatenate([self.blend, other.blend]),
                     np.concatenate([self.triangles, other.triangles + np.int32(first)]))

    def with_solid(self, solid: np.ndarray, blend: float) -> Parts:
        """Return this mesh and triangles (T, 3, 3) that move with the head (blend 1) or the torso (0)."""
        count = 3 * len(solid)
        return self.joined(Parts(solid.reshape(-1, 3), np.full(count, blend, np.float32),
                                 np.arange(count, dtype=np.int32).reshape(-1, 3)))

    def turned(self, turn: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """Return vertices (N, 3) float32 m with the torso turned against the head."""
        return turn_torso(self.vertices.astype(np.float32), self.blend, turn, pivot)


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
            distances, self.nearest_roots = cKDTree(mean[anny.place[ict.roots]]).query(hair, k=8)
            weights = 1 / (distances + 0.005) ** 2
            self.root_weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
