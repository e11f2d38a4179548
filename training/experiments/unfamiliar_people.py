# SPDX-License-Identifier: Apache-2.0
"""People whose faces no generator makes: heads of the generators, smoothly deformed.

Networks and face modes were learnt from the generators. A random smooth field moves skin, hair and
glasses of a head alike, so its face has an unseen shape and a known truth.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from depthface_ros.face_model.mesh import FaceModel
from training.synthesis.people.person import Person

WAVES = 24  # of the random field
WAVELENGTH = (0.05, 0.20)  # m, from noses to whole faces
STD_M = 0.002  # of the field, per axis


class UnfamiliarPeople:
    """Sample people like a factory, and deform their heads."""

    def __init__(self, people):
        """:param people: a PeopleFactory."""
        self._people = people

    def sample(self, rng: np.random.Generator) -> Person:
        person = self._people.sample(rng)
        return deformed(person, rng)


def deformed(person: Person, rng: np.random.Generator) -> Person:
    """Return a person with a deformed head, in the face frame of the new face.

        x -> R (x + sum_i a_i cos(k_i . x + phase_i)) + t
    """
    model = FaceModel.load()
    direction = rng.normal(size=(WAVES, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    wave = 2 * np.pi * direction / rng.uniform(*WAVELENGTH, (WAVES, 1))
    phase, amplitude = rng.uniform(0, 2 * np.pi, WAVES), rng.normal(
        0, STD_M * np.sqrt(2 / WAVES), (WAVES, 3))

    def moved(points: np.ndarray) -> np.ndarray:
        return points + np.cos(points.astype(float) @ wave.T + phase) @ amplitude

    # The face frame follows from the vertices that expressions hardly move, and the sellion.
    before = person.face_vertices[model.stable].astype(float)
    after = moved(before)
    turn, _ = Rotation.align_vectors(before - before.mean(0), after - after.mean(0))
    origin = moved(person.face_vertices[[model.sellion]])

    def in_new_frame(points: np.ndarray) -> np.ndarray:
        return turn.apply(moved(points) - origin).astype(np.float32)

    return person._replace(face_vertices=in_new_frame(person.face_vertices),
                           head_vertices=in_new_frame(person.head_vertices))
