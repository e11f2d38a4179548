# SPDX-License-Identifier: Apache-2.0
"""Build `depthface_ros/models/expression_displacements.npz`: what each expression does to a mesh."""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.face_model.mirror import mirrored_offsets
from training.synthesis.people.anny_people import AnnyPeople
from training.synthesis.people.head_axes import head_model, in_face_frame
from training.synthesis.people.ict_people import IctPeople
from training.synthesis.people.person import CACHE

LEVELS = 127  # of the stored integers; the largest displacement of an expression takes all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--ict', type=Path, help='folder of ICT-FaceKit light; without it the '
                        "displacements are Anny's alone")
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER / 'expression_displacements.npz',
                        metavar='FILE', help='default: %(default)s')


def run(options: argparse.Namespace) -> None:
    people = AnnyPeople.open('train', CACHE)
    of_models = [np.stack([people.face(action) for action in people.actions])]
    if options.ict:
        of_models.append(ict_displacements(options.ict))
    # Real people resemble neither model; the mean of both is nearer to a stranger than either.
    displacements = both_sides_alike(in_face_axes(np.mean(of_models, axis=0)))
    scale = np.abs(displacements).max(axis=(1, 2)) / LEVELS
    levels = np.round(displacements / np.maximum(scale, 1e-12)[:, None, None])
    np.savez_compressed(options.out, levels=levels.astype(np.int8), scale=scale.astype(np.float32))
    print(f'{options.out}: {len(displacements)} expressions of {len(of_models)} head models, '
          f'{options.out.stat().st_size / 1024:.0f} KiB')


def ict_displacements(folder: Path) -> np.ndarray:
    """Return the displacements (52, V, 3) m, head axes, of the mean head of ICT-FaceKit."""
    ict = IctPeople.open(folder, CACHE)
    _, rotation = ict.neutral(0, head_model())
    return np.stack([ict.face(ict.displacement(only) @ rotation.T)
                     for only in np.eye(len(EXPRESSION_NAMES), dtype=np.float32)])


def in_face_axes(displacements: np.ndarray) -> np.ndarray:
    """Return displacements (52, V, 3) of the head axes in the axes of the face frame."""
    origin = in_face_frame(np.zeros((1, 3), np.float32))
    return (in_face_frame(displacements.reshape(-1, 3)) - origin).reshape(displacements.shape)


def both_sides_alike(displacements: np.ndarray) -> np.ndarray:
    """Return the mean of displacements (52, V, 3) and of those of the mirrored expressions."""
    mirrored = mirrored_offsets(displacements)[FaceModel.load().expression_mirror]
    return (displacements + mirrored) / 2
