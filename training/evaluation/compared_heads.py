# SPDX-License-Identifier: Apache-2.0
"""Heads of a recording, and rendered heads in the same poses before a similar camera."""
from __future__ import annotations

import argparse
import itertools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.estimation.types import Face
from depthface_ros.geometry.camera import Intrinsics, depth_in_metres
from depthface_ros.geometry.crop import shape_crop
from depthface_ros.io.recordings import open_recording
from depthface_ros.tools.progress import progress
from training.data.frame_views import rectified
from training.data.render import people_factory
from training.evaluation.depth_statistics import head_statistics
from training.synthesis.contact_sheet import shade
from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.cameras import Camera, sample_sensor
from training.synthesis.scene.random_scene import Head, assemble, outline_of
from training.synthesis.scene.views import measure, render_frame

HALF = 0.17  # m from a head's centre to the border of its crop
BEHIND = 0.12  # m from a head's centre to the nearest background
TILE = 160  # px
VISIBLE = 0.7  # least visible fraction of the compared faces
POSE_JITTER = 4.0  # degrees, one sigma per axis, between a real head and its rendered counterparts
TRIALS = 4  # to render a face that is found
SAME_HEAD = 0.1  # m
# landmarks of the face model (iBUG) whose distances describe expressions
DISTANCES = {'mouth_opening_mm': (62, 66), 'mouth_width_mm': (48, 54), 'eye_distance_mm': (36, 45)}


class Sighting(NamedTuple):
    """A face that the pipeline finds in a frame, recorded or rendered."""

    depth_m: np.ndarray  # (H, W) of the frame, 0 invalid
    intrinsics: Intrinsics
    face: Face
    distances: dict[str, float]  # mm, between landmarks of the predicted mesh

    def aligned(self) -> torch.Tensor:
        """Return the crop of the shape network (4, S, S), in face coordinates."""
        return torch.from_numpy(shape_crop(self.depth_m, self.intrinsics, self.face.camera_from_face[None])[0])

    def surroundings(self) -> np.ndarray:
        """Return the pixels within HALF metres of the head's centre: depth (H', W') in metres."""
        x, y, z = self.face.head_centre
        middle = self.intrinsics.project(x / z, y / z)
        half = HALF * self.intrinsics.fx / z
        columns, rows = (slice(max(int(centre - half), 0), max(int(centre + half), 1)) for centre in middle)
        return self.depth_m[rows, columns]

    def statistics(self) -> dict[str, float]:
        """Return figures of noise, holes, edges and expression."""
        z = float(self.face.head_centre[2])
        return head_statistics(self.surroundings(), z + BEHIND, self.intrinsics.fx) | self.distances

    def tile(self) -> np.ndarray:
        """Return a shaded picture with repeated pixels, lit alike for all: (TILE, TILE, 3) uint8."""
        focal, z = self.intrinsics.fx, float(self.face.head_centre[2])
        picture = Image.fromarray(shade(self.surroundings(), focal, focal))
        scale = TILE / (2 * HALF * focal / z)
        size = [max(1, min(round(scale * side), TILE)) for side in picture.size]
        tile = Image.new('RGB', (TILE, TILE), (13, 13, 51))
        tile.paste(picture.resize(size, Image.Resampling.NEAREST))
        return np.asarray(tile)


def sightings(depth: np.ndarray, intrinsics: Intrinsics, estimator: FaceEstimator) -> list[Sighting]:
    """Return the faces of a depth image without lens distortion."""
    found = []
    for face in estimator(depth, intrinsics):
        points = estimator.face_model.landmarks(face.vertices)
        found.append(Sighting(depth_in_metres(depth), intrinsics, face, {
            name: 1000 * float(np.linalg.norm(points[one] - points[other]))
            for name, (one, other) in DISTANCES.items()}))
    return found


def recorded_heads(options: argparse.Namespace, estimator: FaceEstimator) -> list[Sighting]:
    """Return all faces in every `options.step`-th frame of a recording.

    :raises ValueError: there is none.
    """
    recording = open_recording(options.real, options.intrinsics)
    frames = map(rectified, itertools.islice(recording, 0, None, options.step))
    found = [seen for frame in progress(frames, None, 'finding faces')
             for seen in sightings(frame.depth, frame.intrinsics, estimator)]
    if not found:
        raise ValueError(f'no face was found in {options.real}: nothing to compare with')
    return found


def rendered_heads(options: argparse.Namespace, real: list[Sighting], estimator: FaceEstimator,
                   rng: np.random.Generator) -> list[Sighting]:
    """Return a rendered face for each recorded one, in its pose, through random sensors of a family.

    What the detector does not find is left out and drawn again, as in the recording.
    """
    people = people_factory('train', options)
    found: list[Sighting] = []
    for like in progress(real, len(real), 'rendering faces'):
        for _ in range(TRIALS):
            seen = render_like(like, people, options, estimator, rng)
            if seen is not None:
                found.append(seen)
                break
    return found


def render_like(like: Sighting, people, options: argparse.Namespace, estimator: FaceEstimator,
                rng: np.random.Generator) -> Sighting | None:
    """Render another person in the pose of a face; return None if it is occluded or not found."""
    height, width = like.depth_m.shape
    camera_width, camera_height = options.size or (width, height)
    left, top = (camera_width - width) // 2, (camera_height - height) // 2
    sensor = sample_sensor(rng, options.family)
    camera = Camera('compared', options.family, camera_width, camera_height, like.intrinsics.fx, like.intrinsics.fy,
                    like.intrinsics.cx + left, like.intrinsics.cy + top, sensor)
    pose = like.face.camera_from_face.copy()
    pose[:3, :3] = pose[:3, :3] @ axis_rotation('xyz', np.radians(rng.normal(0, POSE_JITTER, 3)))
    head = Head(pose, people.sample(rng))
    scene = assemble(rng, camera, [(head, outline_of(head))])
    view = render_frame(scene)
    if view.face_visible[0] < VISIBLE:
        return None
    depth = measure([view], [sensor])[0].numpy()[top:top + height, left:left + width]
    near = [seen for seen in sightings(np.ascontiguousarray(depth), like.intrinsics, estimator)
            if np.linalg.norm(seen.face.head_centre - head.centre_camera) < SAME_HEAD]
    return near[0] if near else None
