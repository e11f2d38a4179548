# SPDX-License-Identifier: Apache-2.0
"""Compare tracked faces with faces of single images: found, false and flickering.

python benchmarks/tracking.py --hair HAIR_FOLDER

Synthetic scenes of the validation split are static; only the noise of the cameras changes. Needs
the dependencies of training.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
from depthface_ros.tools.progress import progress
from depthface_ros.tracking.face_tracker import FaceTracker
from training.evaluation.frames import SyntheticFrames, intrinsics_of
from training.synthesis.scene.views import measure

IMAGES, FIRST = 12, 2  # of a scene; the first do not count, since new tracks are not public at once
STEP_NS = 33_333_333
REACH = 0.10  # m between the sellions of a found face and its person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=50)
    parser.add_argument('--seed', type=int, default=123)
    parser.add_argument('--hair', type=Path)
    parser.add_argument('--keep', type=float, nargs='*',
                        default=[0.05, 0.1, 0.25, EstimatorConfig().min_confidence],
                        help='values of estimator.track_keep_confidence')
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = SyntheticFrames('validation', options.seed, None, options.hair)
    counts = {keep: np.zeros(4, int) for keep in (None, *options.keep)}
    for number in progress(range(options.scenes), options.scenes, 'scenes'):
        scene, view, _ = frames[number]
        generator = torch.Generator().manual_seed(number)
        images = [(measure([view], [scene.camera.sensor], generator)[0] * 1000)
                  .round().numpy().astype(np.uint16) for _ in range(IMAGES)]
        truth = np.array([head.camera_from_face[:3, 3] for head in scene.heads]).reshape(-1, 3)
        for keep, count in counts.items():
            count += tally(sightings(images, intrinsics_of(scene), keep), truth)
    print(f'{"":24}{"found":>8}{"false per 100 images":>22}{"comes or goes":>15}')
    for keep, (found, heads, false, flips) in counts.items():
        name = 'each image by itself' if keep is None else f'followed, keep {keep:g}'
        per_100 = 100 * false / (options.scenes * (IMAGES - FIRST))
        print(f'{name:24}{100 * found / heads:7.1f}%{per_100:22.1f}{flips:15d}')


def sightings(images: list, intrinsics, keep: float | None) -> list[np.ndarray]:
    """Return the sellions (N, 3) of the faces in each image, without the first ones."""
    estimator = FaceEstimator(config=EstimatorConfig(track_keep_confidence=keep or 0.0))
    tracker = FaceTracker(estimator)
    found = []
    for number, depth in enumerate(images):
        faces = estimator(depth, intrinsics) if keep is None else [
            track.face for track in tracker(depth, intrinsics, number * STEP_NS) if track.seen]
        found.append(np.array([face.camera_from_face[:3, 3] for face in faces]).reshape(-1, 3))
    return found[FIRST:]


def tally(found: list[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """Count found heads, heads, false faces, and heads whose detection changed between two images.

    :returns: (4,) over all images.
    """
    near = [np.linalg.norm(faces[:, None] - truth, axis=-1) < REACH for faces in found]
    hits = np.array([pairs.any(axis=0) for pairs in near])
    false = sum(int((~pairs.any(axis=1)).sum()) for pairs in near)
    return np.array([hits.sum(), hits.size, false, (hits[1:] != hits[:-1]).sum()])


if __name__ == '__main__':
    main()
