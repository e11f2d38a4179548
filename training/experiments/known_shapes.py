# SPDX-License-Identifier: Apache-2.0
"""How well could a tracker of rendered streams be that knew everything but the pose?

Each stream gives the true mesh and expression of every image, and the true poses up to one constant
error of the face frame. The error is fitted to the depth of all images at once, from 0, by rigid
point-to-plane steps. What it becomes is due to the camera's errors that stay over a stream.
"""
from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from depthface_ros.estimation.point_to_plane import (
    MeshTriangles,
    distances,
    in_camera,
    pixels_around,
)
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import depth_in_metres
from depthface_ros.geometry.rotations import rotation_from_vector, vector_from_rotation
from depthface_ros.tools.provenance import measured
from training.evaluation.stream_figures import distance_bands, mean_and_error
from training.synthesis.streams.stream import Stream, load_streams

STEPS = 3
VISIBLE = 0.7  # fraction of a face in view from which on an image counts
LEAST_IMAGES = 5  # of a person
REACH, REACH_PER_SQUARE = 0.01, 0.004  # m, and m / m^2: a distance that counts a quarter


def constant_error(stream: Stream, person: int) -> np.ndarray | None:
    """Return position (m) and rotation vector (rad) of the constant error, face frame: (6,).

    None of a person whom too few images show.
    """
    images = [i for i in range(len(stream))
              if stream.in_view(i, person) and stream.visible[i, person] > VISIBLE]
    if len(images) < LEAST_IMAGES:
        return None
    true_from_fitted = np.eye(4)
    for _ in range(STEPS):
        normal_matrix, right_side = np.zeros((6, 6)), np.zeros(6)
        for i in images:
            jacobian, weight, distance = _measurements(stream, i, person, true_from_fitted)
            weighted = jacobian.T * weight
            normal_matrix += weighted @ jacobian
            right_side += weighted @ distance
        step = np.linalg.solve(normal_matrix, right_side)
        move = np.eye(4)
        move[:3, :3], move[:3, 3] = rotation_from_vector(step[None, 3:])[0], step[:3]
        true_from_fitted = true_from_fitted @ move
    return np.concatenate([true_from_fitted[:3, 3],
                           vector_from_rotation(true_from_fitted[:3, :3])])


def _measurements(stream: Stream, i: int, person: int, true_from_fitted: np.ndarray):
    """Return the Jacobian (T, 6), weights (T,) and distances (T,) m of one image, float64."""
    triangles = MeshTriangles(FaceModel.load().triangles)
    pose = (stream.poses[i, person] @ true_from_fitted).astype(np.float32)[None]
    vertices, distance_m = stream.vertices[i, person][None], float(pose[0, 2, 3])
    planes = triangles.planes(pose, vertices)
    centre, normal = in_camera(pose, planes)
    pixels = pixels_around(depth_in_metres(stream.image(i)), stream.intrinsics, centre)
    residual, weights = distances(pixels, centre, normal, planes.visible_area,
                                  max(REACH, REACH_PER_SQUARE * distance_m ** 2))
    centre, normal = planes.centre[0].T.astype(float), planes.normal[0].T.astype(float)
    jacobian = np.concatenate([normal, np.cross(centre, normal)], axis=1)
    return jacobian, (weights * planes.visible_area[:, 0])[0].astype(float), residual[0]


def figures(streams: Iterable[Stream]) -> dict[str, dict]:
    """Return means and standard errors by distance; degrees and mm."""
    errors = defaultdict(list)
    for stream in streams:
        for person in range(len(stream.identities)):
            error = constant_error(stream, person)
            if error is not None:
                for name in ('all', *distance_bands(stream)):
                    errors[name].append((np.degrees(np.linalg.norm(error[3:])),
                                         1000 * np.linalg.norm(error[:3])))
    return {name: {'people': len(group)} | {
                key: mean_and_error(values)
                for key, values in zip(('rotation_deg', 'sellion_mm'), np.array(group).T)}
            for name, group in sorted(errors.items(), key=lambda item: -len(item[1]))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('streams', type=Path, help='folder of `evaluate --streams --streams-folder`')
    parser.add_argument('--out', type=Path, help='JSON file')


def run(options: argparse.Namespace) -> None:
    groups = figures(load_streams(options.streams))
    for name, row in groups.items():
        (turn, turn_error), (shift, shift_error) = row['rotation_deg'], row['sellion_mm']
        print(f'{name:12} {row["people"]:3} people, rotation {turn:.2f} ± {turn_error:.2f} deg, '
              f'sellion {shift:.1f} ± {shift_error:.1f} mm')
    if options.out:
        options.out.write_text(json.dumps({'measured': measured(), 'groups': groups}, indent=1) + '\n')
