# SPDX-License-Identifier: Apache-2.0
"""Motions of people as functions of time: where a neck is, how a head turns, what a face does."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import roma
import torch

from depthface_ros.geometry.crop import FACE_FROM_HEAD
from training.synthesis.people.expressions import INDEX, random_expression
from training.synthesis.people.person import PeopleFactory
from training.synthesis.people.torso import NECK_PIVOT
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.random_scene import Head, facing_pose

REST_S = 1.0  # s at the start of a script during which nobody moves
START_S = 0.4  # s until a motion that starts then is at its full size
NEUTRAL = np.zeros(len(INDEX), np.float32)
# Coefficients that talking and smiling people move; the figures name them.
MOVING = ('jawOpen', 'mouthFunnel', 'mouthPucker', 'mouthSmileLeft', 'mouthSmileRight',
          'browInnerUp', 'eyeBlinkLeft', 'eyeBlinkRight')

Motion = Callable[[float], np.ndarray]  # of the time in seconds


@dataclass(frozen=True, eq=False)
class Actor:
    """A person in motion.

    seed:       who it is: one seed gives one identity, hair, glasses and clothes
    neck:       (3,) m, camera frame, the pivot of the head's rotations
    angles:     (3,) rad, yaw, pitch and roll of the head from facing the camera
    expression: (52,) ARKit coefficients
    torso_yaw:  rad, from facing the camera
    """

    people: PeopleFactory
    seed: int
    neck: Motion
    angles: Motion
    expression: Motion = lambda seconds: NEUTRAL
    torso_yaw: float = 0.0

    def at(self, seconds: float) -> Head:
        """Return the person at a time."""
        neck, face_from_head = self.neck(seconds), np.array(FACE_FROM_HEAD)
        facing = facing_pose(neck, 0, 0, 0)[:3, :3].astype(float)
        face = facing @ axis_rotation('zyx', self.angles(seconds))
        torso = facing @ axis_rotation('z', [self.torso_yaw])
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = face
        pose[:3, 3] = neck - face @ face_from_head @ NECK_PIVOT
        turn = roma.rotmat_to_rotvec(torch.from_numpy(
            face_from_head.T @ face.T @ torso @ face_from_head)).numpy().astype(np.float32)
        person = self.people.sample(np.random.default_rng(self.seed), self.expression(seconds),
                                    turn)
        return Head(pose, person)


def started(seconds: float, start: float = REST_S) -> float:
    """Return a smooth ramp from 0 before a start to 1 after START_S."""
    return ramp((seconds - start) / START_S)


def ramp(part: float) -> float:
    """Return a smooth step: 0 below 0, 1 above 1."""
    part = np.clip(part, 0, 1)
    return float(part * part * (3 - 2 * part))


def bump(seconds: float, middle: float, width: float) -> float:
    """Return a smooth bump: 1 at a moment, 0 beyond a width around it, s."""
    return float(0.5 + 0.5 * np.cos(np.pi * np.clip((seconds - middle) / width, -1, 1)))


def waves(rng: np.random.Generator, amplitudes, frequencies, start: float = REST_S) -> Motion:
    """Draw smooth random oscillations of given amplitudes (D,) that start from a random offset.

    :param frequencies: (K,) Hz of the sines that are added.
    """
    amplitudes = np.asarray(amplitudes, float)
    phase = rng.uniform(0, 2 * np.pi, (len(amplitudes), len(frequencies)))
    weight = rng.dirichlet(np.full(len(frequencies), 3), len(amplitudes))
    offset = 0.3 * amplitudes * rng.uniform(-1, 1, len(amplitudes))

    def motion(seconds: float) -> np.ndarray:
        angle = 2 * np.pi * np.array(frequencies) * (seconds - start)
        moved = (weight * (np.sin(angle + phase) - np.sin(phase))).sum(1)
        return offset + started(seconds, start) * amplitudes * moved

    return motion


def turning(rng: np.random.Generator, amplitudes, start: float = REST_S) -> Motion:
    """Draw turns of a head with amplitudes of yaw, pitch and roll, rad, from a time on."""
    return waves(rng, amplitudes, (0.35, 0.7, 1.1), start)


def weights(**values: float) -> np.ndarray:
    """Return coefficients (52,) by name, clipped to 0..1."""
    expression = NEUTRAL.copy()
    for name, value in values.items():
        expression[INDEX[name]] = np.clip(value, 0, 1)
    return expression


def talking(rng: np.random.Generator, start: float = REST_S, smile_at: float = 2.6) -> Motion:
    """Draw speech of about two syllables per second from a time on, a smile, and blinks."""
    phase, rate = rng.uniform(0, 2 * np.pi, 3), rng.uniform(1.6, 2.4)
    blinks = start + rng.uniform(0.1, 0.7) + np.array([0, 1.1])

    def expression(seconds: float) -> np.ndarray:
        smile = bump(seconds, smile_at, 0.45)
        syllables = 0.5 + 0.5 * np.sin(2 * np.pi * seconds * rate * np.array([1, 0.62, 0.45])
                                       + phase)
        jaw, funnel, pucker = started(seconds, start) * syllables * np.array([0.7, 0.6, 0.6])
        blink = max(bump(seconds, middle, 0.12) for middle in blinks)
        return weights(
            jawOpen=jaw * (1 - 0.6 * smile), mouthFunnel=funnel * (1 - smile),
            mouthPucker=pucker * (1 - smile), mouthSmileLeft=0.8 * smile,
            mouthSmileRight=0.75 * smile, cheekSquintLeft=0.4 * smile,
            cheekSquintRight=0.4 * smile, browInnerUp=0.7 * bump(seconds, start + 0.8, 0.5),
            eyeBlinkLeft=blink, eyeBlinkRight=blink)

    return expression


def smiling(rng: np.random.Generator) -> Motion:
    """Draw smiles of different strength on both sides, one every second from REST_S on."""
    strength, crooked = rng.uniform(0.4, 1, 8), rng.uniform(0.75, 1, (8, 2))

    def expression(seconds: float) -> np.ndarray:
        k = int(max(seconds - REST_S, 0))
        smile = strength[k] * bump(seconds, REST_S + k + 0.5, 0.5) * (seconds > REST_S)
        left, right = smile * crooked[k]
        return weights(mouthSmileLeft=left, mouthSmileRight=right, cheekSquintLeft=0.5 * left,
                       cheekSquintRight=0.5 * right, jawOpen=0.15 * smile)

    return expression


def grimaces(rng: np.random.Generator, every_s: float = 0.5) -> Motion:
    """Draw random expressions one after the other, all coefficients among them."""
    drawn = [NEUTRAL] * 3 + [random_expression(rng) for _ in range(20)]

    def expression(seconds: float) -> np.ndarray:
        step, part = divmod(max(seconds, 0) / every_s, 1)
        before, after = drawn[int(step)], drawn[int(step) + 1]
        return (before + ramp(2 * part) * (after - before)).astype(np.float32)

    return expression
