# SPDX-License-Identifier: Apache-2.0
"""Train the refiner: from the residual of an alignment to a finer pose, shape and expression.

It learns from faces as the pipeline aligns them. So it is trained last: after the other networks,
and after `calibrate` has measured the error prior of the alignment.
"""
from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from roma import rotmat_to_rotvec
from torch import Tensor

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.engines import MODELS_FOLDER, Engine, open_engine
from depthface_ros.engines.cpu import float_file
from depthface_ros.estimation.alignment import face_modes
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.error_prior import ERROR_PRIOR_FILE, POSE
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.refinement import EXPRESSIONS, LOG_DISTANCE, LOG_STDS, MODES
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.crop import HEAD_CENTRE_FACE
from training.data.augment import Observation, observe, rigid, rigid_inverse, transform
from training.data.predicted_crops import JITTER_M, LARGEST_M, LARGEST_RAD
from training.data.render import SPLITS
from training.data.rendered_dataset import FaceWindows
from training.models.from_onnx import first_weights
from training.models.networks import FaceRefinerNet
from training.models.provenance import note_run
from training.options import add_fit_arguments, fit_settings
from training.synthesis.meshes import vertex_normals
from training.train import parallel
from training.train.fit import fit
from training.train.pose import negative_log_likelihood
from training.train.shape import vertex_distance

UPSTREAM = ('head_finder', 'head_pose', 'face_shape')  # networks whose output it refines
# includes some faces that the pipeline would not report
CONFIG = replace(EstimatorConfig(), min_confidence=0.5, max_rotation_std=math.inf, surface=False)
VERTICES = slice(None, None, 8)  # a subset of the mesh, which carries the same loss
WINDOWS_AT_ONCE = 64
WEIGHT_DECAY = 0.05
# Loss weights beside a millimetre of mesh: per millimetre across the surface, millimetre at the sellion, radian,
# nat of expression. Most of the distance between vertices lies along the surface, where depth carries little.
ACROSS_WEIGHT, SELLION_WEIGHT, ROTATION_WEIGHT, EXPRESSION_WEIGHT = 2., 0.3, 240., 10.
MIN_DISTANCE = 0.4  # m; the weight of a face stops growing below
# Rotation sigmas: one of unit weight, and the smallest one that still raises the weight of pose terms.
UNIT_SIGMA, MIN_SIGMA = math.radians(1.2), math.radians(0.3)
POSE_TERMS = {'posed', 'sellion', 'rotation'}
MIN_DEVIATION = 0.08  # of an expression coefficient; rarer ones weigh no more


class RecordingEngine:
    """An engine whose refiner corrects nothing and whose refiner input is kept in `features`."""

    def __init__(self, engine: Engine):
        self.name, self._engine, self.features = engine.name, engine, None

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        if network != 'face_refiner':
            return self._engine.run(network, array)
        self.features = array
        return {'correction': np.zeros((len(array), POSE + MODES), np.float32),
                'expression': 1 / (1 + np.exp(-array[:, -EXPRESSIONS:])),
                'log_variance': np.zeros((len(array), 2), np.float32)}


def gather(task: tuple[argparse.Namespace, Path, str, int]) -> None:
    """Align the faces of a shard, through several sensors each, and write training samples."""
    options, folder, split, number = task
    torch.set_num_threads(1)
    target = folder / f'{split}_{number:05d}.npz'
    if target.exists():
        return
    windows = FaceWindows.load(options.pools / f'windows-{split}', slice(number, number + 1))
    faces = torch.nonzero(windows.is_face)[:, 0]
    engine = RecordingEngine(open_engine('cpu', options.models)[0])
    estimator = FaceEstimator(engine, CONFIG, options.models, Calibration.load(options.models))
    generator = torch.Generator().manual_seed(
        (options.seed * len(SPLITS) + SPLITS.index(split)) * 1_000_003 + number)
    samples: list[dict[str, np.ndarray]] = []
    for _ in range(options.observations):
        for index in faces.split(WINDOWS_AT_ONCE):
            seen = observe(windows, index, generator, other_sensors=split == 'train')
            centre = seen.camera_from_face.new_tensor(HEAD_CENTRE_FACE).expand(len(index), 1, 3)
            centre = transform(seen.camera_from_face, centre)[:, 0]
            centre += JITTER_M * torch.randn(centre.shape, generator=generator)
            for i in range(len(index)):
                found = estimator(seen.depth_m[i].numpy(), Intrinsics(*(
                    float(getattr(seen.intrinsics, name)[i]) for name in ('fx', 'fy', 'cx', 'cy'))),
                    HeadCandidates(centre[i:i + 1].numpy()))
                samples += [sample for face in found for sample in _sample(face, engine.features[0], seen, i)]
    partial = target.with_name(f'.{target.name}')  # a kill leaves no incomplete shard
    names = samples[0] if samples else ()  # a shard without faces leaves an empty file
    np.savez(partial, **{name: np.stack([sample[name] for sample in samples]) for name in names})
    partial.replace(target)


def _sample(face: Face, features: np.ndarray, seen: Observation, i: int) -> list[dict[str, np.ndarray]]:
    """Return an aligned face with its truth; nothing if it is another face or far off."""
    pose = torch.from_numpy(face.camera_from_face)
    error = (rigid_inverse(pose[None]) @ seen.camera_from_face[i:i + 1])[0]
    turn = rotmat_to_rotvec(error[:3, :3])
    if turn.norm() > LARGEST_RAD or error[:3, 3].norm() > LARGEST_M:
        return []
    aligned = (face.vertices - face.camera_from_face[:3, 3]) @ face.camera_from_face[:3, :3]
    return [{'features': features.astype(np.float16),
             'residual': torch.cat([turn, error[:3, 3]]).numpy(),
             'aligned': (aligned - FaceModel.load().template)[VERTICES].astype(np.float16),
             'offsets': seen.offsets[i, VERTICES].half().numpy(),
             'expression': seen.expression[i].half().numpy()}]


def samples_of(options: argparse.Namespace, folder: Path, split: str) -> dict[str, Tensor]:
    """Return all samples of a split; compute those that do not exist yet."""
    shards = len(list((options.pools / f'windows-{split}').glob('shard_*.npz')))
    tasks = [(options, folder, split, number) for number in range(shards)]
    if parallel.rank() == 0:
        with multiprocessing.get_context('spawn').Pool(options.workers) as pool:
            for _ in track(pool.imap_unordered(gather, tasks), f'aligning faces: {split}', total=shards):
                pass
    parallel.wait()
    gathered = map(np.load, sorted(folder.glob(f'{split}_*.npz'))[:shards])
    parts = [part for part in gathered if part.files]
    if not parts:
        raise FileNotFoundError(f'no faces were found in windows of {options.pools}: run `python -m training render` '
                                'first, or train the networks before')
    return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}


class RefinerLoss:
    """Vertex errors in mm with and without the pose, pose errors and their likelihood, expression."""

    def __init__(self, expression: Tensor):
        """:param expression: (N, 52), of the training samples: errors of rare coefficients weigh more."""
        model = FaceModel.load()
        self._template = torch.from_numpy(model.template[VERTICES].copy())
        self._modes = torch.from_numpy(face_modes()[:, VERTICES].copy())
        self._normals = torch.from_numpy(vertex_normals(model.template, model.triangles)[VERTICES].copy())
        self._rarity = 1 / expression.float().std(0).clamp(min=MIN_DEVIATION)

    def vertices(self, correction: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return offsets (B, v, 3) m and their truth, and both in the frame of the aligned pose."""
        modes, template = self._modes.to(correction.device), self._template.to(correction.device)
        offsets = batch['aligned'].float() + torch.einsum('bk,kvi->bvi', correction[:, POSE:], modes)
        truth = batch['offsets'].float()
        return (offsets, truth, transform(rigid(correction[:, :POSE]), template + offsets),
                transform(rigid(batch['residual']), template + truth))

    def __call__(self, model: FaceRefinerNet, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        correction, expression, log_variance = model(batch['features'].float())
        offsets, truth, posed, posed_truth = self.vertices(correction, batch)
        error = correction[:, :POSE] - batch['residual']
        squared = error.square().unflatten(1, (2, 3)).sum(2)  # of rotation and translation
        cross_entropy = F.binary_cross_entropy_with_logits(expression, batch['expression'].float(), reduction='none')
        # Noise grows with the distance: far faces teach less, and their errors are larger.
        nearness = 1 / batch['features'][:, LOG_DISTANCE].float().exp().clamp(min=MIN_DISTANCE)
        # Pose terms weigh by the predicted precision, without its gradient.
        precision = UNIT_SIGMA / torch.exp(0.5 * log_variance[:, 0].detach()).clamp(min=MIN_SIGMA)
        return {name: ((precision if name in POSE_TERMS else nearness) * term).mean() for name, term in {
            'shape': 1000 * vertex_distance(offsets, truth).mean(1),
            'across': 1000 * ACROSS_WEIGHT * ((offsets - truth) * self._normals.to(offsets.device)).sum(2).abs().mean(1),
            'posed': 1000 * vertex_distance(posed, posed_truth).mean(1),
            'sellion': 1000 * SELLION_WEIGHT * torch.sqrt(squared[:, 1] + 1e-9),
            'rotation': ROTATION_WEIGHT * torch.sqrt(squared[:, 0] + 1e-6),
            'likelihood': negative_log_likelihood(squared.detach(), log_variance).mean(1),
            'expression': EXPRESSION_WEIGHT * (cross_entropy * self._rarity.to(expression.device)).mean(1)}.items()}


@torch.no_grad()
def refiner_figures(model: FaceRefinerNet, batch: dict[str, Tensor], loss: RefinerLoss) -> dict[str, float]:
    """Return errors on a fixed batch (mm, degrees), correlations, and the same before refinement."""
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in batch.items()}
    correction, expression, log_variance = model(batch['features'].float())
    figures = {}
    for name, corrected, predicted in (('', correction, log_variance),
                                  ('_before', torch.zeros_like(correction), batch['features'][:, LOG_STDS].float())):
        offsets, truth, posed, posed_truth = loss.vertices(corrected, batch)
        error = rigid_inverse(rigid(batch['residual'])) @ rigid(corrected[:, :POSE])
        turn, shift = rotmat_to_rotvec(error[:, :3, :3]).norm(dim=1), error[:, :3, 3].norm(dim=1)
        figures |= {f'_deg_median{name}': float(torch.rad2deg(turn).median()),
                    f'_sellion_mm{name}': float(1000 * shift.median()),
                    f'_sigma_correlation{name}': float(correlation(predicted, torch.stack([turn, shift], 1).clamp(min=1e-6).log()).mean()),
                    f'_shape_mm{name}': float(1000 * vertex_distance(offsets, truth).mean()),
                    f'_posed_mm{name}': float(1000 * vertex_distance(posed, posed_truth).mean())}
    logits = batch['features'][:, -EXPRESSIONS:].float()
    for name, predicted in (('', expression), ('_before', logits)):
        figures[f'_correlation{name}'] = float(correlation(torch.sigmoid(predicted), batch['expression'].float()).mean())
    return figures


def correlation(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the correlation (K,) of each column of two (N, K) arrays; 0 where one is constant."""
    predicted, truth = predicted - predicted.mean(0), truth - truth.mean(0)
    return (predicted * truth).sum(0) / (predicted.norm(dim=0) * truth.norm(dim=0)).clamp(min=1e-9)


def fingerprint(models: Path) -> str:
    """Return a hash of the files that determine how the pipeline aligns faces."""
    files = [*(float_file(models, network) for network in UPSTREAM), models / ERROR_PRIOR_FILE]
    return hashlib.sha256(b''.join(file.read_bytes() for file in files if file.exists())).hexdigest()[:8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_fit_arguments(parser, steps=5000, batch=512)
    parser.set_defaults(learning_rate=1e-3)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER,
                        help='folder with the other networks, calibrated')
    parser.add_argument('--observations', type=int, default=3, help='at each window, with another sensor')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes that align faces')


def run(options: argparse.Namespace) -> None:
    settings = replace(fit_settings(options), weight_decay=WEIGHT_DECAY)
    folder = options.runs / 'refiner'
    gathered = folder / f'samples-{fingerprint(options.models)}'
    gathered.mkdir(parents=True, exist_ok=True)
    training = {name: value.to(settings.draw_on) for name, value in samples_of(options, gathered, 'train').items()}
    held_out = samples_of(options, gathered, 'validation')
    count = len(training['features'])

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(count, (options.batch // settings.parts,), generator=generator,
                              device=settings.draw_on)
        return {name: value[index] for name, value in training.items()}

    network = first_weights('face_refiner', options.start, lambda: held_out['features'][:8].float())
    loss = RefinerLoss(training['expression'])
    note_run(folder, options, 'face_refiner', count)
    fit(network, make_batch, loss, lambda net: refiner_figures(net, held_out, loss), settings, folder,
        torch.device(options.device))
