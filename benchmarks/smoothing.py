# SPDX-License-Identifier: Apache-2.0
"""Measure jitter and lag with and without smoothing: the sample recording and a still head.

python benchmarks/smoothing.py
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'demo')]

from sample import Sample, read_sample

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.estimation.types import Face
from depthface_ros.geometry.rotations import vector_from_rotation
from depthface_ros.tools.provenance import measured
from depthface_ros.tracking.face_tracker import FaceTracker
from depthface_ros.tracking.smoothing import FaceSmoother, SmoothingConfig
from depthface_ros.tracking.tracks import TrackerConfig

STILL_IMAGES, STILL_STEP_NS = 90, 33_333_333  # 3 s at 30 Hz
STILL_NOISE = 0.0013  # m at 1 m, sigma of a Kinect v1; proportional to the squared distance


# figure of a row -> heading and form
COLUMNS = {'rotation_deg': ('rotation °', '.2f'), 'sellion_mm': ('sellion mm', '.2f'),
           'mesh_mm': ('mesh mm', '.1f'), 'rotation_jitter_deg': ('jitter °', '.2f'),
           'sellion_jitter_mm': ('jitter mm', '.2f'), 'vertex_jitter_mm': ('vertices mm', '.2f'),
           'expression_jitter': ('coefficients', '.3f'), 'turn_lag_ms': ('lag turning ms', '.0f'),
           'move_lag_ms': ('lag moving ms', '.0f')}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=Path, help='write the figures there, too')
    options = parser.parse_args()
    sample = read_sample(ROOT / 'demo' / 'sample.mcap')
    estimator, rows = FaceEstimator(), []
    for title, images in (('sample recording, 15 Hz', moving(sample)),
                          ('at rest, fresh noise, 30 Hz', still(sample))):
        sequences = [sequence for sequence in follow(estimator, sample, images).values()
                     if len(sequence) > 10]
        rows += [{'images': title, 'faces': name} | figures(sequences, config)
                 for name, config in (('raw', None), ('smoothed', SmoothingConfig()))]
    print(f'{"":38}' + ''.join(f'{heading:>16}' for heading, _ in COLUMNS.values()))
    for row in rows:
        print(f'{row["images"]:28}{row["faces"]:10}' + ''.join(
            f'{"-" if row[key] is None else format(row[key], form):>16}'
            for key, (_, form) in COLUMNS.items()))
    if options.json:
        options.json.write_text(json.dumps({'measured': measured(), 'rows': rows}, indent=1)
                                + '\n')


def moving(sample: Sample):
    """Yield stamp, depth image and stamp of the ground truth."""
    for stamp_ns in sorted(sample.depths):
        yield stamp_ns, sample.depths[stamp_ns], stamp_ns


def still(sample: Sample):
    rng, first = np.random.default_rng(0), min(sample.depths)
    depth_m = sample.depths[first] / 1000
    for i in range(STILL_IMAGES):
        noisy = depth_m + STILL_NOISE * depth_m ** 2 * rng.normal(size=depth_m.shape)
        yield i * STILL_STEP_NS, np.round(1000 * noisy).clip(0).astype(np.uint16), first


def follow(estimator: FaceEstimator, sample: Sample, images) -> dict[str, list]:
    """Return per id a list over images: stamp, face, true pose and, where it exists, true mesh."""
    tracker = FaceTracker(estimator, replace(TrackerConfig(),
                                             smoothing=SmoothingConfig(enabled=False)))
    sequences: dict[str, list] = {}
    for stamp_ns, depth, truth_ns in images:
        poses = sample.poses[truth_ns]
        for track in tracker(depth, sample.intrinsics, stamp_ns):
            person = min(poses, key=lambda name: np.linalg.norm(
                poses[name][:3, 3] - track.face.camera_from_face[:3, 3]))
            if track.seen:
                sequences.setdefault(track.id, []).append((
                    stamp_ns, track.face, poses[person],
                    sample.meshes.get(truth_ns, {}).get(person)))
    return sequences


def smoothed(sequence: list, config: SmoothingConfig | None) -> list[Face]:
    if config is None:
        return [face for _, face, *_ in sequence]
    smoother = FaceSmoother(sequence[0][1], sequence[0][0], config)
    return [smoother.face] + [smoother.update(face, stamp_ns)
                              for stamp_ns, face, *_ in sequence[1:]]


def figures(sequences: list[list], config: SmoothingConfig | None) -> dict[str, float | None]:
    """Return errors against the truth, their changes between images, and their lag."""
    errors, meshes, changes, lags = [], [], [], []
    for sequence in sequences:
        faces = smoothed(sequence, config)
        seconds = np.array([stamp_ns for stamp_ns, *_ in sequence]) * 1e-9
        truth = np.array([pose for _, _, pose, _ in sequence])
        found = np.array([face.camera_from_face for face in faces], float)
        turn = vector_from_rotation(truth[:, :3, :3].transpose(0, 2, 1) @ found[:, :3, :3])
        shift = found[:, :3, 3] - truth[:, :3, 3]
        errors += list(zip(norm(turn), norm(shift)))
        for face, (_, _, pose, mesh) in zip(faces, sequence):
            if mesh is not None:
                meshes.append(norm(face.vertices - mesh @ pose[:3, :3].T - pose[:3, 3]).mean())
        vertices_face = np.array([(face.vertices - face.camera_from_face[:3, 3])
                                  @ face.camera_from_face[:3, :3] for face in faces])
        expression = np.array([face.expression for face in faces])
        changes.append([rms(norm(np.diff(values, axis=0)))
                        for values in (turn, shift, vertices_face)]
                       + [rms(np.diff(expression, axis=0))])
        lags.append([lag(turn, angular_velocity(truth, seconds)),
                     lag(shift, np.gradient(truth[:, :3, 3], seconds, axis=0))])
    rotation, sellion = np.mean(errors, axis=0)
    jitter, late = rms(np.array(changes), axis=0), 1000 * np.mean(lags, axis=0)
    values = (np.degrees(rotation), 1000 * sellion, 1000 * np.mean(meshes), np.degrees(jitter[0]),
              1000 * jitter[1], 1000 * jitter[2], jitter[3], *late)
    return {name: float(value) if np.isfinite(value) else None
            for name, value in zip(COLUMNS, values)}


def angular_velocity(poses: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return angular velocities (N, 3), rad/s, in the moving frame."""
    steps = vector_from_rotation(poses[:-1, :3, :3].transpose(0, 2, 1) @ poses[1:, :3, :3])
    steps = steps / np.diff(seconds)[:, None]
    return np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])


def lag(error: np.ndarray, velocity: np.ndarray) -> float:
    """Return the lag in seconds, by least squares: error = mean - lag velocity."""
    power = (velocity ** 2).sum()
    return -((error - error.mean(axis=0)) * velocity).sum() / power if power > 1e-9 else np.nan


def norm(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def rms(values: np.ndarray, axis=None):
    return np.sqrt(np.mean(np.square(values), axis=axis))


if __name__ == '__main__':
    main()
