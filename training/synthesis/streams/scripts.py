# SPDX-License-Identifier: Apache-2.0
"""The scripts of streams: who does what before the camera."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthesis.people.person import PeopleFactory
from training.synthesis.scene.cameras import VALIDATION_CAMERAS, Camera
from training.synthesis.sensors import Sensor
from training.synthesis.streams.motion import Actor, talking, turning, waves
from training.synthesis.streams.render import Play

# A camera with little noise, as phones and industrial sensors have at short range.
PRECISE = Camera('precise, 0.5 mm', 'structured_light', 640, 480, 590., 590., 318.2, 241.3, Sensor(
    noise_base=0.0005, correlation=2, lateral=0.3, smoothing=0.3, incidence_limit=1.4, flying=0.0,
    edge_drop=0.3, speckle=0.0005, hair_hole=0.2, bias=0.0002, depth_unit=0.0001, min_range=0.2,
    max_range=5))
CAMERAS = (PRECISE, *(next(camera for camera in VALIDATION_CAMERAS if camera.name == name)
                      for name in ('Kinect v1', 'RealSense D435 640x480', 'Azure Kinect NFOV')))
DISTANCES = (0.6, 1.2, 2.5)  # m
RATES = (30.0, 15.0)  # Hz

Write = Callable[[np.random.Generator, PeopleFactory, Camera, float], Play]


def talk(rng: np.random.Generator, people: PeopleFactory, camera: Camera,
         distance: float) -> Play:
    """One person rests for a second, then turns and talks, and smiles at the end."""
    return Play([Actor(people, person(rng), swaying(rng, place(rng, camera, distance)),
                       turning(rng, (0.6, 0.25, 0.2)), talking(rng), rng.normal(0, 0.25))])


def person(rng: np.random.Generator) -> int:
    """Draw the seed of a person."""
    return int(rng.integers(2 ** 31))


def place(rng: np.random.Generator, camera: Camera, distance: float) -> np.ndarray:
    """Draw a neck (3,), m, camera frame: the head is in the inner half of the image."""
    size, focal = np.array([camera.width, camera.height]), np.array([camera.fx, camera.fy])
    x, y = 0.5 * rng.uniform(-0.5, 0.5, 2) * size / focal * distance
    return np.array([x, y + 0.1, distance + 0.1])


def swaying(rng: np.random.Generator, neck: np.ndarray, size: float = 0.03):
    """Draw the motion of a neck around its place."""
    sway = waves(rng, size * np.array([1, 0.3, 1]), (0.3, 0.6))
    return lambda seconds: neck + sway(seconds)


SCRIPTS: dict[str, Write] = {'talk': talk}
