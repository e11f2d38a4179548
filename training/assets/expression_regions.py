# SPDX-License-Identifier: Apache-2.0
"""Build `depthface_ros/models/expression_regions.npz`: where expressions move a face."""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.alignment import aligned_triangles
from depthface_ros.face_model.mesh import FaceModel
from training.synthesis.people.anny_people import AnnyPeople
from training.synthesis.people.person import CACHE

LEAST = 0.0005  # m, rms of the moved triangles, below which a coefficient moves none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER / 'expression_regions.npz',
                        metavar='FILE', help='default: %(default)s')


def run(options: argparse.Namespace) -> None:
    people, model = AnnyPeople.open('train', CACHE), FaceModel.load()
    moved = np.stack([people.face(action) for action in people.actions])
    motion = squared_motion(moved, model)
    np.savez_compressed(options.out, motion=motion.astype(np.float16))
    print(f'{options.out}: {len(motion)} expressions, {options.out.stat().st_size / 1024:.0f} KiB')


def squared_motion(moved: np.ndarray, model: FaceModel) -> np.ndarray:
    """Return the squared motion (52, T) of triangles by displacements (52, V, 3) m, of sum 1.

    Both sides are made mirror images of each other.
    """
    square = np.square(moved[:, aligned_triangles(model)].mean(axis=2)).sum(axis=2)
    mirrored = np.roll(square, square.shape[1] // 2, axis=1)[model.expression_mirror]
    square = (square + mirrored) / 2
    total = square.sum(axis=1, keepdims=True)
    return np.where(total > square.shape[1] * LEAST ** 2 / 10, square / np.maximum(total, 1e-12), 0)
