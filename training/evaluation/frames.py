# SPDX-License-Identifier: Apache-2.0
"""Synthetic frames through the whole pipeline, and a record for each face."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import Face
from training.data.render import SPLITS, people_factory
from training.evaluation.errors import Record, describe, errors, inner_face, reported_uncertainty
from training.evaluation.processes import spread
from training.synthesis.scene.cameras import sample_camera
from training.synthesis.scene.random_scene import Head, Scene, sample_scene
from training.synthesis.scene.views import View, measure, render_frame

MATCH_WITHIN = 0.10  # m between sellions
ON_FACE = 0.01  # m along the ray, between a vertex and the surface visible at its pixel
FAR_OFF = 0.01  # tolerance for noise, as a fraction of the distance
FRAMES_PER_TASK = 20


# of a face that was found at a head, in a depth image (H, W) uint16 mm
Errors = Callable[[Face, Head, np.ndarray, Intrinsics], Record]


@dataclass(frozen=True)
class SyntheticFrames:
    """Endless frames of a split; each depends only on these settings and its number."""

    split: str = 'validation'
    seed: int = 0
    ict: Path | None = None  # as for `people_factory`
    hair: Path | None = None
    perfect_camera: bool = False  # neither noise nor holes, and unlimited range

    def __getitem__(self, number: int) -> tuple[Scene, View, np.ndarray]:
        """Return the scene, its noiseless view, and the image of the camera: (H, W) uint16 mm."""
        salt = (self.seed, SPLITS.index(self.split), 7, number)
        rng = np.random.default_rng(salt)
        scene = sample_scene(rng, people_factory(self.split, self), sample_camera(rng, self.split))
        view = render_frame(scene)
        generator = torch.Generator().manual_seed(int(rng.integers(2 ** 40)))
        depth = (view.depth if self.perfect_camera else
                 measure([view], [scene.camera.sensor], generator)[0])
        return scene, view, (depth * 1000).round().numpy().astype(np.uint16)


@dataclass(frozen=True)
class Trial:
    """The frames, the estimator and the errors of an evaluation."""

    frames: SyntheticFrames
    models: Path = MODELS_FOLDER
    config: EstimatorConfig = EstimatorConfig()
    calibration: Calibration | None = None  # None: the one in `models`
    errors: Errors = errors  # computes the record of a found face

    def records(self, count: int, workers: int = 1) -> list[Record]:
        """Return records of all faces and of all false faces in the first `count` frames."""
        people_factory(self.frames.split, self.frames)  # bakes its cache before workers need it
        tasks = [(self, numbers) for numbers in _chunks(range(count), FRAMES_PER_TASK)]
        return [record for part in spread(_run_task, tasks, workers, 'evaluating') for record in part]

    def run(self, number: int) -> tuple[Scene, View, np.ndarray, list[Face]]:
        """Render one frame; return it with the faces that are found in it."""
        scene, view, depth = self.frames[number]
        return scene, view, depth, _estimator(self)(depth, intrinsics_of(scene))


def intrinsics_of(scene: Scene) -> Intrinsics:
    camera = scene.camera
    return Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy)


def frame_records(number: int, scene: Scene, view: View, depth: np.ndarray,
                  faces: Sequence[Face],
                  errors: Errors = errors) -> list[Record]:
    """Return a record for each head, found or not, and for each face that matches no head."""
    of_head, camera = match(faces, scene.heads), intrinsics_of(scene)
    records = []
    for k, head in enumerate(scene.heads):
        record = describe(scene, head, float(view.face_visible[k]), float(view.head_visible[k]))
        found = k in of_head
        record['measured'] = measured_fraction(view, depth, head)
        records.append({'frame': number, 'head': k, 'real': True, 'found': found} | record
                       | (errors(faces[of_head[k]], head, depth, camera) if found else {}))
    return records + [
        {'frame': number, 'real': False, 'found': True, 'camera': scene.camera.name,
         'family': scene.camera.family, 'distance_m': float(face.camera_from_face[2, 3])}
        | reported_uncertainty(face) for i, face in enumerate(faces) if i not in of_head.values()]


def measured_fraction(view: View, depth: np.ndarray, head: Head) -> float:
    """Return the fraction of the face's visible vertices with a measured depth close to the truth."""
    x, y, z = head.vertices_camera[inner_face()].T
    u = (view.fx * x / z + view.cx).round().astype(int)
    v = (view.fy * y / z + view.cy).round().astype(int)
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
    u, v, z = u[inside], v[inside], z[inside]
    in_view = np.abs(view.depth.numpy()[v, u] - z) < ON_FACE
    right = np.abs(depth[v, u] / 1000 - z) < ON_FACE + FAR_OFF * z
    return float(right[in_view].mean()) if in_view.any() else 0.


def match(faces: Sequence[Face], heads: Sequence[Head]) -> dict[int, int]:
    """Assign faces to heads one to one, at most MATCH_WITHIN apart."""
    if not faces or not heads:
        return {}
    distance = np.linalg.norm(np.array([face.camera_from_face[:3, 3] for face in faces])
                         - np.array([head.camera_from_face[:3, 3] for head in heads])[:, None],
                         axis=-1)
    pairs = zip(*linear_sum_assignment(np.minimum(distance, MATCH_WITHIN)))
    return {int(k): int(i) for k, i in pairs if distance[k, i] < MATCH_WITHIN}


def _run_task(task: tuple[Trial, range]) -> list[Record]:
    trial, numbers = task
    torch.set_num_threads(1)
    records = []
    for number in numbers:
        records += frame_records(number, *trial.run(number), trial.errors)
    return records


@cache
def _estimator(trial: Trial) -> FaceEstimator:
    return FaceEstimator('cpu', trial.config, trial.models, trial.calibration)


def _chunks(numbers: range, size: int) -> list[range]:
    return [numbers[i:i + size] for i in range(0, len(numbers), size)]
