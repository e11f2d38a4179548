# SPDX-License-Identifier: Apache-2.0
"""The scripts of streams: who does what before the camera."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.synthesis.people.person import PeopleFactory
from training.synthesis.scene.cameras import VALIDATION_CAMERAS, Camera
from training.synthesis.scene.hands import camera_from_hand
from training.synthesis.sensors import Sensor
from training.synthesis.streams.motion import (
    NEUTRAL,
    REST_S,
    Actor,
    Motion,
    bump,
    grimaces,
    ramp,
    smiling,
    talking,
    turning,
    waves,
)
from training.synthesis.streams.render import Play, render_stream
from training.synthesis.streams.stream import Stream

# A camera with little noise, as phones and industrial sensors have at short range.
PRECISE = Camera('precise, 0.5 mm', 'structured_light', 640, 480, 590., 590., 318.2, 241.3, Sensor(
    noise_base=0.0005, correlation=2, lateral=0.3, smoothing=0.3, incidence_limit=1.4, flying=0.0,
    edge_drop=0.3, speckle=0.0005, hair_hole=0.2, bias=0.0002, depth_unit=0.0001, min_range=0.2,
    max_range=5))
CAMERAS = (PRECISE, *(next(camera for camera in VALIDATION_CAMERAS if camera.name == name)
                      for name in ('Kinect v1', 'RealSense D435 640x480', 'Azure Kinect NFOV')))
RATES = (30.0, 15.0)  # Hz
OUT = 0.4  # m beyond the image's edge at which nothing of a person is in view
WALK = (0.5, 3.0)  # m from the camera to the face
NECK_BEHIND = 0.1  # m from a face to its neck, as far behind as below


@dataclass(frozen=True, eq=False)
class Stage:
    """Where a script plays, and by whom."""

    rng: np.random.Generator
    people: PeopleFactory
    camera: Camera
    distance: float  # m, of the first face

    def actor(self, neck: Motion, angles: Motion | None = None,
              expression: Motion = lambda seconds: NEUTRAL) -> Actor:
        """Draw a person; without angles the head turns a little all the time."""
        return Actor(self.people, int(self.rng.integers(2 ** 31)), neck,
                     angles or turning(self.rng, (0.3, 0.12, 0.1), start=0.0), expression,
                     self.rng.normal(0, 0.25))

    def place(self, spread: float = 0.5) -> np.ndarray:
        """Draw a neck (3,) m, camera frame, in a middle part of the image."""
        half = 0.5 * np.array([self.camera.width / self.camera.fx,
                               self.camera.height / self.camera.fy]) * self.distance
        x, y = spread * half * self.rng.uniform(-1, 1, 2) * [1, 0.6]
        return np.array([x, y + NECK_BEHIND, self.distance + NECK_BEHIND])

    def edge(self, z: float) -> float:
        """Return the x, m, at which nothing of a person at z is in view."""
        return 0.5 * self.camera.width / self.camera.fx * z + OUT

    def swaying(self, start: float = REST_S) -> Motion:
        """Draw the motion of a neck around a place of its own."""
        neck, sway = self.place(), waves(self.rng, (0.03, 0.01, 0.03), (0.3, 0.6), start)
        return lambda seconds: neck + sway(seconds)


def rest(stage: Stage) -> Play:
    """One person keeps still."""
    neck, angles = stage.place(), stage.rng.normal(0, (0.3, 0.12, 0.08))
    return Play([stage.actor(lambda seconds: neck, lambda seconds: angles)])


def turn(stage: Stage) -> Play:
    """One person rests for a second, then turns the head far to both sides."""
    return Play([stage.actor(stage.swaying(), turning(stage.rng, (1.0, 0.35, 0.3)))])


def talk(stage: Stage) -> Play:
    """One person rests for a second, then turns and talks, and smiles at the end."""
    return Play([stage.actor(stage.swaying(), turning(stage.rng, (0.6, 0.25, 0.2)),
                             talking(stage.rng))])


def smile(stage: Stage) -> Play:
    """One person rests for a second, then smiles every second."""
    return Play([stage.actor(stage.swaying(), turning(stage.rng, (0.3, 0.1, 0.1)),
                             smiling(stage.rng))])


def grimace(stage: Stage) -> Play:
    """One person rests for a second, then makes random faces, two a second."""
    return Play([stage.actor(stage.swaying(), turning(stage.rng, (0.3, 0.1, 0.1)),
                             grimaces(stage.rng))], seconds=5.0)


def walk(stage: Stage) -> Play:
    """One person comes from 3 m to 0.5 m, or goes back, talking."""
    near = max(WALK[0], stage.camera.sensor.min_range + 0.15)
    ends = np.array([near, WALK[1]])[::stage.rng.choice([-1, 1])]
    place = stage.place(spread=0.25)[:2] - [0, NECK_BEHIND]
    direction, phase = place / stage.distance, stage.rng.uniform(0, 6)

    def neck(seconds: float) -> np.ndarray:
        z = ends[0] + (ends[1] - ends[0]) * ramp(seconds / 4)
        bob = 0.01 * np.sin(11 * seconds + phase)
        return np.array([*direction * z, z]) + [0, bob + NECK_BEHIND, NECK_BEHIND]

    return Play([stage.actor(neck, expression=talking(stage.rng, start=0.0))], seconds=4.0)


def leave(stage: Stage) -> Play:
    """One person leaves the image sideways after a second, and comes back after another one."""
    place, side = stage.place(spread=0.2), stage.rng.choice([-1, 1])
    away = side * stage.edge(stage.distance) - place[0]

    def neck(seconds: float) -> np.ndarray:
        gone = ramp((seconds - 1.0) / 0.9) - ramp((seconds - 2.7) / 0.9)
        return place + [gone * away, 0, 0]

    return Play([stage.actor(neck, expression=talking(stage.rng, start=0.0))], seconds=4.5)


def cross(stage: Stage) -> Play:
    """Two people walk past each other, so the nearer one covers the farther one for a moment."""
    height = stage.place()[1] / stage.distance

    def walker(z: float, side: float) -> Actor:
        reach = 0.3 * stage.camera.width / stage.camera.fx * z

        def neck(seconds: float) -> np.ndarray:
            return np.array([side * reach * (1 - 2 * ramp((seconds - 0.4) / 2.6)), height * z,
                             z + NECK_BEHIND])

        sway = turning(stage.rng, (0.2, 0.1, 0.08), start=0.0)
        return stage.actor(neck, lambda seconds: sway(seconds) - [side * 0.35, 0, 0],
                           talking(stage.rng, start=0.0))

    side = stage.rng.choice([-1, 1])
    return Play([walker(stage.distance, side), walker(stage.distance + 0.6, -side)], seconds=3.5)


def hand(stage: Stage) -> Play:
    """A hand reaches before the face of one person who turns a little, and draws back."""
    place = stage.place(spread=0.3)
    palm = place - [0, 0.12, NECK_BEHIND + 0.16]  # before the nose
    arm = stage.people.arms.sample(stage.rng) @ camera_from_hand(stage.rng, palm, 'shown').T
    back = arm.mean(axis=(0, 1)) * [1, 1, 0]  # to the elbow
    back *= 0.4 / np.linalg.norm(back)

    def things(seconds: float) -> list[np.ndarray]:
        drawn_back = back * (1 - bump(seconds, 1.7, 0.8))
        return [(arm + palm + drawn_back).astype(np.float32)]

    return Play([stage.actor(lambda seconds: place)], things=things)


def swap(stage: Stage) -> Play:
    """A person steps aside, and another one takes the place at once."""
    place, side = stage.place(spread=0.2), stage.rng.choice([-1, 1])

    def first(seconds: float) -> np.ndarray:
        return place + [side * 0.8 * ramp((seconds - 1.1) / 0.9), 0, 0]

    def second(seconds: float) -> np.ndarray:
        return place - [side * 0.9 * (1 - ramp((seconds - 1.3) / 0.9)), 0, 0]

    return Play([stage.actor(first), stage.actor(second)], seconds=3.5)


# script -> its function and distances; 'far' is `talk` where few pixels show a face
SCRIPTS: dict[str, tuple[Callable[[Stage], Play], tuple[float, ...]]] = {
    'rest': (rest, (0.6, 1.2, 2.5)), 'turn': (turn, (0.6, 1.2, 2.0)),
    'talk': (talk, (0.6, 1.2, 2.5)), 'far': (talk, (2.0, 2.5, 3.0)),
    'smile': (smile, (0.6, 1.2, 0.9)), 'grimace': (grimace, (0.6, 0.75, 0.9)),
    'walk': (walk, WALK[:1]), 'leave': (leave, (1.2, 0.9, 1.6)),
    'cross': (cross, (1.0, 1.2, 1.4)), 'hand': (hand, (0.8, 1.2, 1.0)),
    'swap': (swap, (1.2, 1.4, 1.6))}


def name_of(script: str, number: int, seed: int = 0) -> str:
    """Return the name of a stream's files."""
    return f'{script}-{number:02d}' + (f'-seed{seed}' if seed else '')


def written(script: str, number: int, people: PeopleFactory, seed: int = 0) -> Stream:
    """Render the stream of a script with a number; twelve of them have all cameras and distances."""
    play, distances = SCRIPTS[script]
    key = [seed, number, *script.encode()]
    stage = Stage(np.random.default_rng(key), people, CAMERAS[number % len(CAMERAS)],
                  distances[number % len(distances)])
    rate = RATES[(number + number // len(CAMERAS)) % len(RATES)]
    return render_stream(name_of(script, number, seed), script, play(stage), stage.camera, rate,
                         stage.distance, int(np.random.default_rng(key).integers(2 ** 31)))
