# SPDX-License-Identifier: Apache-2.0
"""Depth cameras to synthesise for: random ones to train on, real ones to validate on."""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from training.synthesis.sensors import Sensor

DARK_HAIR = 0.2  # fraction of structured-light cameras that return almost nothing from hair
FAMILIES = ('structured_light', 'active_stereo', 'time_of_flight')


class Camera(NamedTuple):
    """A depth camera without distortion; pixel (u, v) has its centre at exactly (u, v)."""

    name: str
    family: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    sensor: Sensor


def sample_camera(rng: np.random.Generator, split: str = 'train') -> Camera:
    """Draw a camera: 'train' draws random parameters, 'validation' picks a real camera.

    :raises ValueError: another split.
    """
    if split == 'validation':
        return VALIDATION_CAMERAS[rng.integers(len(VALIDATION_CAMERAS))]
    if split != 'train':
        raise ValueError(f"split {split!r}: expected 'train' or 'validation'")
    family = FAMILIES[rng.integers(len(FAMILIES))]
    sizes, relative_focal = _GEOMETRY[family]
    while True:
        width, height = sizes[rng.integers(len(sizes))]
        fx = width * rng.uniform(*relative_focal)
        if not is_reserved(family, fx / width):
            break
    fy = fx * rng.uniform(0.99, 1.01)
    cx = (width - 1) / 2 + width * rng.normal(0, 0.012)
    cy = (height - 1) / 2 + height * rng.normal(0, 0.015)
    return Camera('random', family, width, height, fx, fy, cx, cy, sample_sensor(rng, family))


def is_reserved(family: str, relative_focal: float) -> bool:
    """Return whether a camera is reserved: too similar to a camera of the validation split.

    Validation measures sensors that training excludes. Two cameras are alike when they are of one
    family and their fx / width agree within 2 %. Noise settings need no such rule: training
    draws each of theirs from a continuous range, so no draw repeats a fixed set of 24 numbers.
    """
    return any(camera.family == family
               and abs(relative_focal * camera.width / camera.fx - 1) < 0.02
               for camera in VALIDATION_CAMERAS)


def sample_sensor(rng: np.random.Generator, family: str) -> Sensor:
    """Draw sensor settings of a family."""
    def log_uniform(low, high):
        return math.exp(rng.uniform(math.log(low), math.log(high)))

    def sometimes(chance, low, high):
        return log_uniform(low, high) if rng.random() < chance else 0.0

    noise = log_uniform(0.3, 1.8)
    side = 1 if rng.random() < 0.7 else -1
    common = {
        'noise_incidence': 1e-4 * log_uniform(0.5, 2),
        'incidence_limit': math.radians(rng.uniform(75, 87)),
        'edge_jump': rng.uniform(0.02, 0.06),
        'speckle': sometimes(0.5, 0.0003, 0.02),
        'hole': sometimes(0.3, 0.003, 0.08),
        'hair_hole': sometimes(0.6, 0.01, 0.6),
        'bias': log_uniform(0.0003, 0.003),
        'offset': rng.normal(0, 0.002),
        'max_range': rng.uniform(3.5, 6.5),
    }
    if family == 'structured_light':
        if rng.random() < DARK_HAIR:
            common['hair_hole'] = rng.uniform(0.8, 1)
        return Sensor(
            **common, lateral=rng.uniform(0.05, 0.5),
            noise_base=0.0012 * noise, noise_quadratic=0.0019 * noise, noise_knee=0.4,
            correlation=rng.uniform(2, 5), smoothing=rng.uniform(0, 0.6),
            baseline=side * rng.uniform(0.055, 0.085), disparity_step=rng.choice([1 / 8, 1 / 16]),
            fattening=rng.uniform(0, 1.5), edge_drop=rng.uniform(0, 0.6),
            min_range=rng.uniform(0.25, 0.5))
    if family == 'active_stereo':
        return Sensor(
            **common, lateral=rng.uniform(0.2, 0.6),
            noise_base=rng.uniform(0, 0.0005), disparity_noise=0.06 * noise,
            correlation=rng.uniform(2, 5), smoothing=rng.uniform(0, 1),
            baseline=side * rng.uniform(0.04, 0.1), disparity_step=1 / 32,
            fattening=rng.uniform(0, 3), edge_drop=rng.uniform(0, 0.7),
            min_range=rng.uniform(0.1, 0.3))
    return Sensor(
        **common | {'hair_hole': common['hair_hole'] / 2}, lateral=rng.uniform(0, 0.4),
        noise_base=0.0005 * log_uniform(0.7, 3.5), noise_linear=0.001 * noise, noise_knee=0.5,
        correlation=rng.uniform(1.5, 5), smoothing=rng.uniform(0, 0.6), flying=1.0,
        edge_drop=rng.uniform(0, 0.9), min_range=rng.uniform(0.1, 0.4))


# Image sizes, and the range of fx / width that training draws from.
_GEOMETRY = {
    'structured_light': (((640, 480), (640, 400), (320, 240), (1280, 1024)), (0.75, 1.1)),
    'active_stereo': (((640, 480), (848, 480), (1280, 720), (640, 360), (480, 270), (424, 240)),
                      (0.45, 1.0)),
    'time_of_flight': (((640, 576), (512, 424), (320, 288), (640, 480), (320, 240), (224, 172)),
                       (0.55, 1.05)),
}


def _structured_light(name, **settings):
    sensor = Sensor(noise_base=0.0012, noise_quadratic=0.0019, noise_knee=0.4,
                    noise_incidence=1e-4, correlation=3, lateral=0.5, baseline=0.075,
                    disparity_step=1 / 8, incidence_limit=math.radians(80), fattening=0.7,
                    edge_drop=0.3, speckle=0.002, hole=0.01, hair_hole=0.3, bias=0.001,
                    min_range=0.4, max_range=5)
    return Camera(name, 'structured_light', 640, 480, 575.8, 575.8, 319.5, 239.5,
                  sensor._replace(**settings))


def _active_stereo(name, width, height, focal, **settings):
    sensor = Sensor(noise_base=0.0002, disparity_noise=0.08, noise_incidence=1e-4, correlation=3.5,
                    lateral=0.4, smoothing=0.5, baseline=0.05, disparity_step=1 / 32,
                    incidence_limit=math.radians(78), fattening=1.5, edge_drop=0.4, speckle=0.004,
                    hole=0.02, hair_hole=0.25, bias=0.0015, min_range=0.2, max_range=5)
    return Camera(name, 'active_stereo', width, height, focal, focal, (width - 1) / 2 + 2.3,
                  (height - 1) / 2 - 1.7, sensor._replace(**settings))


def _time_of_flight(name, width, height, focal, **settings):
    sensor = Sensor(noise_base=0.0005, noise_linear=0.001, noise_knee=0.5, noise_incidence=1e-4,
                    correlation=1.3, lateral=0.25, flying=1, incidence_limit=math.radians(82),
                    edge_jump=0.03, edge_drop=0.7, speckle=0.001, hole=0.004, hair_hole=0.2,
                    bias=0.0015, offset=0.001, min_range=0.2, max_range=4)
    return Camera(name, 'time_of_flight', width, height, focal, focal, (width - 1) / 2 - 1.4,
                  (height - 1) / 2 + 2.1, sensor._replace(**settings))


# Image sizes and focal lengths as the cameras' drivers report them; the noise of each family at
# its published size. D415 and D455 differ from the D435 by their baselines.
VALIDATION_CAMERAS = (
    _structured_light('Kinect v1'),
    _structured_light('Xtion', bias=0.0006, hair_hole=0.4, speckle=0.001, offset=-0.001),
    _active_stereo('RealSense D435 640x480', 640, 480, 385),
    _active_stereo('RealSense D435 848x480', 848, 480, 425, disparity_noise=0.06),
    _active_stereo('RealSense D415', 640, 480, 610, baseline=0.055, disparity_noise=0.05),
    _active_stereo('RealSense D455', 848, 480, 425, baseline=0.095, min_range=0.4),
    _time_of_flight('Azure Kinect NFOV', 640, 576, 504),
    _time_of_flight('Orbbec Femto Bolt', 640, 576, 505, edge_drop=0.5, noise_base=0.0007),
    _time_of_flight('Kinect v2', 512, 424, 365, noise_base=0.0012, correlation=3, lateral=0.5,
                    edge_drop=0.4, offset=0.003, min_range=0.4),
)
