# SPDX-License-Identifier: Apache-2.0
"""Compare adaptation methods on a simulated camera unlike any in training, with several seeds.

The target domain is faces of new people, measured by a sensor outside of the training distribution.
Only the oracle uses its labels. All rows are evaluated on the same frames of further people.
"""
from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from depthface_ros.face_model.mesh import FaceModel
from training.adapt.adapt import add_training_arguments, source_windows
from training.adapt.adapted_models import first_networks, fit_settings
from training.adapt.shape_adaptation import adapt_shape, crops_as_predicted
from training.adapt.target_domain import camera_of, select
from training.data.augment import (
    Observation,
    crop_from_face,
    pose_batch,
    rigid,
    rigid_inverse,
    transform,
)
from training.data.rendered_dataset import FaceWindows
from training.experiments.studies import compute_once, mean_and_spread, result_name, results_of
from training.models.networks import FaceShapeNet, HeadPoseNet
from training.synthesis.scene.cameras import VALIDATION_CAMERAS
from training.synthesis.sensors import Sensor, SensorBatch, simulate
from training.train.pose import rotation_from_6d
from training.train.shape import vertex_distance

NEAR, FAR = 0.4, 1.5  # m, of the target's faces
# A weak illuminator: surfaces tilted by more than 46 degrees and edges are not measured. Training draws limits of 75 to 85 degrees.
UNSEEN = Sensor(noise_base=0.0015, noise_incidence=1e-4, correlation=3, lateral=0.4,
                incidence_limit=0.8,
                edge_drop=1.0, speckle=0.002, hole=0.01, hair_hole=0.2, bias=0.001)
TARGETS = {'unseen': UNSEEN} | {camera.name: camera.sensor for camera in VALIDATION_CAMERAS}
# Compared rows: name -> methods, as in training.adapt.methods.LOSSES.
ROWS = {'source only': (), 'adversarial': ('adversarial',),
        'rigid-motion consistency': ('consistency',),
        'borrowed holes': ('holes',), 'adversarial and borrowed holes': ('adversarial', 'holes'),
        'rigid-motion consistency and borrowed holes': ('consistency', 'holes'),
        'oracle': ('supervised',)}


def observe_faces(windows: FaceWindows, sensor: Sensor, generator: torch.Generator) -> Observation:
    """Return the faces of a data set at NEAR to FAR, through one sensor; one draw of noise each."""
    distance = windows.camera_from_face[:, 2, 3]
    index = torch.nonzero(windows.is_face & (distance > NEAR) & (distance < FAR))[:, 0]
    depth = torch.cat([
        simulate(windows.depth(part), SensorBatch.stack([sensor] * len(part)),
                 windows.fx_native[part], windows.pixel_scale[part], generator,
                 hair=windows.hair(part), centre=windows.intrinsics[part][:, 2:])
        for part in index.split(64)])
    return Observation(depth, camera_of(windows.intrinsics[index]),
                       windows.camera_from_face[index], windows.offsets[index].float(),
                       windows.expression[index].float(), torch.ones(len(index)))


@torch.no_grad()
def predicted_poses(network: HeadPoseNet, seen: Observation,
                    generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return predicted poses (N, 4, 4), and which (N,) of them are accepted as faces."""
    batch = pose_batch(seen, generator, roll_rad=0.)
    six, sellion, log_variance, logit = (torch.cat(parts) for parts in zip(*(
        network(part) for part in batch['crop'].split(64))))
    crop_from_true, crop_from_predicted = (crop_from_face(*pose) for pose in (
        (batch['rotation'], batch['sellion']), (rotation_from_6d(six), sellion)))
    pose = seen.camera_from_face @ rigid_inverse(crop_from_true) @ crop_from_predicted
    return pose, (logit[:, 0] > 0) & (log_variance[:, 0] < 2 * math.log(0.25))


@torch.no_grad()
def true_errors(network: FaceShapeNet, seen: Observation, predicted: Tensor) -> dict[str, float]:
    """Return millimetres between predicted and true vertices, of the shape and in the camera frame."""
    template = torch.from_numpy(FaceModel.load().template.copy())
    crops = crops_as_predicted(replace(seen, camera_from_face=predicted))
    offsets, _, residual = (torch.cat(parts)
                            for parts in zip(*(network.eval()(part) for part in crops.split(64))))
    posed = transform(predicted @ rigid(residual), template + offsets)
    truth = transform(seen.camera_from_face, template + seen.offsets)
    mesh = vertex_distance(posed, truth).mean(1) * 1000
    return {'shape_mm': float(vertex_distance(offsets, seen.offsets).mean() * 1000),
            'mesh_mm': float(mesh.mean()),
            'mesh_median_mm': float(mesh.median())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser)
    parser.add_argument('--target-pools', type=Path, required=True,
                        help='rendered with --validation-scenes and a '
                        'seed of its own: the people of the target')
    parser.add_argument('--out', type=Path, default=Path('training_runs/adapt_study'))
    parser.add_argument('--target', choices=TARGETS, default='unseen')
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    source = source_windows(options)
    generator = torch.Generator().manual_seed(0)
    sensor = TARGETS[options.target]
    adapt_on, judge_on = (observe_faces(FaceWindows.load(pools / 'windows-validation'), sensor, generator)
                          for pools in (options.target_pools, options.pools))
    pose_network, start = first_networks(options.models, source)
    target, truth = _as_found(adapt_on, pose_network, generator)
    judged, true_pose = _as_found(judge_on, pose_network, generator)
    judged_truth = replace(judged, camera_from_face=true_pose)

    results = options.out / options.target.lower().replace(' ', '_')
    results.mkdir(parents=True, exist_ok=True)
    compute_once(results / 'before.json', lambda: true_errors(start, judged_truth, judged.camera_from_face)
          | {'target_faces': len(target.is_face), 'judged_faces': len(judged.is_face)})
    for seed in options.seeds:
        for row in options.rows:
            def outcome(row=row, seed=seed) -> dict[str, float]:
                methods = ROWS[row]
                faces = replace(target, camera_from_face=truth) if row == 'oracle' else target
                network = adapt_shape(start, methods, source, faces, fit_settings(options, seed),
                                      results / 'runs' / f'{"+".join(methods) or "source"}-{seed}',
                                      torch.device(options.device), options.batch, pose_network)
                return true_errors(network, judged_truth, judged.camera_from_face)
            compute_once(results / f'{result_name(row, seed)}.json', outcome)
    print_study(results)


def _as_found(seen: Observation, network: HeadPoseNet,
              generator: torch.Generator) -> tuple[Observation, Tensor]:
    """Return the accepted faces with their predicted poses, and their true poses."""
    predicted, found = predicted_poses(network, seen, generator)
    index = torch.nonzero(found)[:, 0]
    kept = select(seen, index)
    return replace(kept, camera_from_face=predicted[index]), kept.camera_from_face


def print_study(results: Path) -> None:
    """Print means and spread over seeds, and the fraction of the gap to the oracle that each row closes."""
    rows = {row: list(values.values()) for row in ROWS if (values := results_of(results, row))}
    before = json.loads((results / 'before.json').read_text())
    table = Table(title=f'{results.name}: before {before}')
    for name in ('', 'shape mm', 'gap closed', 'mesh mm', 'gap closed', 'mesh median mm'):
        table.add_column(name, justify='left' if not name else 'right')
    for row, values in rows.items():
        cells = []
        for name in ('shape_mm', 'mesh_mm', 'mesh_median_mm'):
            figures = np.array([value[name] for value in values])
            cells.append(mean_and_spread(figures))
            if name != 'mesh_median_mm':
                ends = [np.mean([value[name] for value in rows[end]]) if end in rows else np.nan
                        for end in ('source only', 'oracle')]
                cells.append(f'{100 * (ends[0] - figures.mean()) / (ends[0] - ends[1]):.0f} %')
        table.add_row(row, *cells)
    Console(width=140).print(table)
