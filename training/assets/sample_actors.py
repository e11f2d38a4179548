# SPDX-License-Identifier: Apache-2.0
"""Animate synthetic people who sit, turn their heads and talk, as smooth functions of time."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch

from depthface_ros.geometry.crop import FACE_FROM_HEAD
from training.synthesis.people.anny_people import AnnyPeople
from training.synthesis.people.expressions import INDEX
from training.synthesis.people.hair import HairStyle
from training.synthesis.people.person import CACHE, Person
from training.synthesis.people.torso import NECK_PIVOT, dress, turn_torso
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.random_scene import Head, facing_pose

PERIOD = 5.0  # s; every motion repeats after it, so a recording of this length loops


@dataclass(frozen=True)
class Actor:
    """One person and their motion: amplitudes in radians and metres, phase in turns."""

    people: AnnyPeople
    identity: int
    hair: HairStyle | None
    seat: tuple[float, float, float]  # camera frame, m, where the neck turns
    torso_yaw: float
    yaw: float
    pitch: float
    roll: float
    sway: float
    phase: float

    @classmethod
    def cast(cls, hair_folder: Path | None) -> tuple[Actor, Actor]:
        """Return the two people of the sample recording."""
        people = AnnyPeople.open('validation', CACHE)
        styles = [HairStyle.load(Path(hair_folder) / f'{name}.mhclo') if hair_folder else None
                  for name in ('short02', 'ponytail01')]
        return (cls(people, 3, styles[0], (-0.31, 0.10, 0.95), 0.2, yaw=0.7, pitch=0.3, roll=0.3,
                    sway=0.025, phase=0.0),
                cls(people, 12, styles[1], (0.35, 0.12, 1.10), -0.3, yaw=0.6, pitch=0.3, roll=0.3,
                    sway=0.04, phase=0.35))

    def at(self, seconds: float) -> Head:
        """Return the person at a time."""
        facing = facing_pose(self.seat, 0, 0, 0)[:3, :3]
        sway = self.sway * self._waves(seconds, (1, 2), 3)
        neck = self.seat + sway * [1, 0.3, 0.8]
        angles = self._waves(seconds, (1, 2, 3), 3) * [self.yaw, self.pitch, self.roll]
        head = facing @ axis_rotation('zyx', angles)
        torso = facing @ axis_rotation('zx', (self.torso_yaw, 0.5 * sway[0]))
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = head @ np.array(FACE_FROM_HEAD).T
        pose[:3, 3] = neck - head @ NECK_PIVOT
        turn = roma.rotmat_to_rotvec(torch.from_numpy(head.T @ torso)).numpy().astype(np.float32)
        return Head(pose, self._person(self._expression(seconds), turn))

    def _person(self, expression, torso_turn) -> Person:
        people = self.people
        vertices = people.with_expression(self.identity, expression)
        head = [people.head_triangles]
        face = people.face(vertices)
        hair = None if self.hair is None else self.hair.on(vertices, people.place)
        clothed = dress(vertices, people.blend, people.body_triangles, np.random.default_rng(0))
        turned = turn_torso(clothed, people.blend, torso_turn, NECK_PIVOT)
        head_vertices = turned
        if hair is not None:
            head.append(self.hair.triangles + len(turned))
            head_vertices = np.concatenate([turned, hair])
        return Person(head_vertices.astype(np.float32), np.concatenate(head),
                      hair_start=len(people.head_triangles), body_vertices=turned,
                      body_triangles=people.body_triangles, face_vertices=face,
                      expression=expression, generator='anny',
                      identity=self.identity).in_face_frame()

    def _expression(self, seconds):
        """Return coefficients (52,) float32: two phrases of speech, a smile between, and two blinks."""
        turns = (seconds / PERIOD + self.phase) % 1
        talking = _bump(turns, 0.27, 0.24) + _bump(turns, 0.77, 0.18)
        syllables = self._waves(seconds, (9, 13, 17), 4) * 0.5 + 0.5
        smile = _bump(turns, 0.54, 0.13)
        blink = _bump(turns, 0.1, 0.03) + _bump(turns, 0.62, 0.03)
        weights = {
            'jawOpen': 0.9 * talking * syllables[0], 'mouthFunnel': 0.5 * talking * syllables[1],
            'mouthPucker': 0.3 * talking * syllables[2] * (1 - smile),
            'mouthStretchLeft': 0.3 * talking * syllables[3],
            'mouthStretchRight': 0.3 * talking * syllables[3],
            'mouthSmileLeft': 0.8 * smile, 'mouthSmileRight': 0.75 * smile,
            'cheekSquintLeft': 0.4 * smile, 'cheekSquintRight': 0.4 * smile,
            'browInnerUp': 0.5 * _bump(turns, 0.35, 0.15), 'browOuterUpLeft': 0.4 * smile,
            'browOuterUpRight': 0.4 * smile, 'eyeBlinkLeft': blink, 'eyeBlinkRight': blink}
        expression = np.zeros(len(INDEX), np.float32)
        for name, weight in weights.items():
            expression[INDEX[name]] = np.clip(weight, 0, 1)
        return expression

    def _waves(self, seconds, harmonics, count):
        """Return `count` periodic functions of time within -1..1, different for each person: (count,)."""
        rng = np.random.default_rng([self.identity, *harmonics])
        phase = rng.uniform(0, 2 * np.pi, (count, len(harmonics)))
        amplitude = rng.dirichlet(np.full(len(harmonics), 4), count)
        angle = 2 * np.pi * np.array(harmonics) * seconds / PERIOD
        return (amplitude * np.sin(angle + phase)).sum(1)


def _bump(turns, middle, width):
    """Return a smooth bump: 1 at a moment of the period, 0 beyond a width around it; both in turns."""
    away = (turns - middle + 0.5) % 1 - 0.5
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(away / width, -1, 1))
