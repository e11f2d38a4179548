# SPDX-License-Identifier: Apache-2.0
"""Depth images with any number of realistic heads, for any camera: copies of one recorded head."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.io.bags import BagRecording

SAMPLE = Path(__file__).resolve().parents[1] / 'demo' / 'sample.mcap'
WALL_MM = 3000
HALF_BOX = np.array([0.20, 0.26, 0.20])  # m around a head's centre, with the neck
GAP_PX = 10  # up to twice as wide gaps within a head are holes
FINER = 3  # points per recorded pixel and axis, so that finer images have no gaps
# head centres, m, camera frame: people in front of a robot
PLACES = {1: [(0, 0, 0.9)],
          3: [(x, 0, 1.2) for x in (-0.42, 0, 0.42)],
          8: [(x, y, 1.7) for y in (-0.3, 0.3) for x in (-0.75, -0.25, 0.25, 0.75)]}
# width, height -> focal length, px, of typical cameras
CAMERAS = {(320, 240): 288.0, (640, 480): 575.0, (848, 480): 610.0, (1280, 720): 910.0}


def crowd(heads: int, size: tuple[int, int]) -> tuple[np.ndarray, Intrinsics]:
    """Return a (height, width) uint16 depth image, mm, of heads before a wall, and its camera."""
    width, height = size
    camera = Intrinsics(CAMERAS[size], CAMERAS[size], (width - 1) / 2, (height - 1) / 2)
    image = np.full((height, width), WALL_MM, np.uint16)
    for place in PLACES[heads]:
        x, y, z = (recorded_head() + place).T
        u, v = (np.round(pixel).astype(int) for pixel in camera.project(x / z, y / z))
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        np.minimum.at(image, (v[inside], u[inside]), (1000 * z[inside]).astype(np.uint16))
    return without_gaps(image), camera


def without_gaps(image: np.ndarray) -> np.ndarray:
    """Return an image whose heads show no wall through them: what was not recorded is a hole."""
    heads = (image < WALL_MM).astype(np.uint8)
    kernel = np.ones((2 * GAP_PX + 1, 2 * GAP_PX + 1), np.uint8)
    closed = cv2.morphologyEx(heads, cv2.MORPH_CLOSE, kernel)
    return np.where(closed > heads, 0, image).astype(np.uint16)


@lru_cache(maxsize=1)
def recorded_head() -> np.ndarray:
    """Return points (P, 3) of the nearest head in the sample recording, m from its centre."""
    frame = next(iter(BagRecording(SAMPLE)))
    faces = FaceEstimator('cpu')(frame.depth, frame.intrinsics)
    centre = min((face.head_centre for face in faces), key=lambda point: point[2])
    height, width = frame.depth.shape
    v, u = np.mgrid[:height * FINER, :width * FINER] / FINER
    z = frame.depth[v.astype(int), u.astype(int)] / 1000
    x, y = frame.intrinsics.unproject(u - 0.5 + 0.5 / FINER, v - 0.5 + 0.5 / FINER)
    points = np.stack([x * z, y * z, z], axis=-1)[z > 0] - centre
    return points[(np.abs(points) < HALF_BOX).all(axis=-1)]
