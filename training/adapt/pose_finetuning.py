# SPDX-License-Identifier: Apache-2.0
"""Fine-tune the head-pose network on labelled frames of a real camera and on the source."""
from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from depthface_ros import FaceEstimator
from depthface_ros.tools.progress import progress
from training.adapt.adapted_models import fit_settings, typical_crops, write_models
from training.adapt.datasets import Dataset, open_dataset
from training.adapt.target_domain import observation, select
from training.data.augment import Observation, joined, observe, pose_batch, several
from training.data.frame_views import cut_window, rectified
from training.data.rendered_dataset import FaceWindows
from training.models.from_onnx import load_onnx
from training.models.networks import HeadPoseNet
from training.train.fit import fit
from training.train.pose import CROPS, pose_loss

SAME_HEAD = 0.25  # m between a labelled head and a detected face
MAX_FRAME_RESIDUAL = 15.0  # degrees, median, that a constant rotation may leave
HELD_OUT_PEOPLE = 5  # one person in so many is held out


@dataclass(frozen=True)
class LabelledHeads:
    """N labelled heads and their estimates."""

    windows: Observation  # its poses are not used
    camera_from_head: np.ndarray  # (N, 4, 4) labels, in the head frame of the data set
    camera_from_face: np.ndarray  # (N, 4, 4) predictions, NaN where no face was found
    person: np.ndarray  # (N,) str


def finetune(options: argparse.Namespace, source: FaceWindows) -> None:
    """Train on all people but one in five, and report true errors on those held out."""
    dataset = open_dataset(options.labels[0], Path(options.labels[1]))
    options.out.mkdir(parents=True, exist_ok=True)
    before = FaceEstimator('cpu', models_folder=options.models)
    heads = estimate_labelled_heads(dataset, before, options.frames)
    held_out = np.isin(heads.person, dataset.people[::HELD_OUT_PEOPLE])
    if held_out.all():
        held_out = np.arange(len(held_out)) >= 0.8 * len(held_out)
    head_from_face = constant_offset(heads.camera_from_head[~held_out],
                                     heads.camera_from_face[~held_out])
    poses = labels_in_face_frame(heads, head_from_face)
    usable = np.isfinite(poses).all((1, 2))
    windows = replace(heads.windows, camera_from_face=torch.from_numpy(poses).float())
    learn = select(windows, torch.from_numpy(np.flatnonzero(usable & ~held_out)))
    print(f'{len(learn.is_face)} frames to learn from, {int(held_out.sum())} held out')

    network = finetune_pose(load_onnx('head_pose', options.models / 'head_pose.onnx',
                                      typical_crops(source, pose_batch)),
                            source, learn, options)
    write_models(options.models, options.out, 'head_pose', network, {'adapted': {
        'labels': options.labels[0], 'steps': options.steps, 'frames': len(learn.is_face)}})
    adapted = FaceEstimator('cpu', models_folder=options.out)
    after = estimate_labelled_heads(dataset, adapted, options.frames)
    report = {when: errors(poses[held_out], each.camera_from_face[held_out])
              for when, each in (('before', heads), ('after', after))}
    (options.out / 'report.json').write_text(json.dumps(report, indent=1) + '\n')
    for when, figures in report.items():
        print(when, ' '.join(f'{name}={value:.3g}' for name, value in figures.items()))


def estimate_labelled_heads(dataset: Dataset, estimator: FaceEstimator, most: int) -> LabelledHeads:
    """Return the labelled heads in evenly spaced frames of a data set, and their estimates.

    :param most: frames, at most.
    :raises ValueError: no frame has a label.
    """
    total = sum(1 for _ in dataset)
    step = -(-total // most) if total else 1
    depths, cameras, labels, predictions, people = [], [], [], [], []
    for number, sample in enumerate(progress(dataset, total, 'estimating heads')):
        if number % step or sample.camera_from_head is None:
            continue
        frame, label = rectified(sample.frame), sample.camera_from_head
        faces = estimator(frame.depth, frame.intrinsics)
        apart = [np.linalg.norm(face.head_centre - label[:3, 3])
                 if np.isfinite(label[:3, 3]).all() else 0. for face in faces]
        nearest = int(np.argmin(apart)) if apart and min(apart) < SAME_HEAD else None
        if nearest is None and not np.isfinite(label).all():
            continue
        centre = faces[nearest].head_centre if nearest is not None else label[:3, 3]
        depth, camera = cut_window(frame, centre)
        for column, value in zip((depths, cameras, labels, people),
                                 (depth, camera, label, sample.person)):
            column.append(value)
        predictions.append(faces[nearest].camera_from_face if nearest is not None
                           else np.full((4, 4), np.nan))
    if not labels:
        raise ValueError('no frame of the data set has a pose and a face: expected labelled heads '
                         'that the networks find')
    windows = observation(np.stack(depths), np.array(cameras, np.float32),
                          np.zeros((len(labels), 4, 4), np.float32))
    return LabelledHeads(windows, np.stack(labels), np.stack(predictions), np.array(people))


def constant_offset(camera_from_head: np.ndarray, camera_from_face: np.ndarray) -> np.ndarray:
    """Return head_from_face (4, 4): from the face frame to the head frame of the data set.

    Every data set defines the centre and axes of a head in its own way. So a constant transform
    between labels and predictions is no error (Cobo et al. 2024). It is the mean rotation over the
    better half of the heads, and the median shift, NaN where labels have no position.

    :raises ValueError: the residual rotations are so large that the labels use other conventions.
    """
    found = np.isfinite(camera_from_face).all((1, 2))
    if found.sum() < 3:
        raise ValueError(f'faces were found in {int(found.sum())} labelled frames: expected at '
                         'least 3, better hundreds')
    label, face = camera_from_head[found], camera_from_face[found]
    relative = Rotation.from_matrix(np.swapaxes(label[:, :3, :3], 1, 2) @ face[:, :3, :3])
    mean = relative.mean()
    for _ in range(3):
        residual = (mean.inv() * relative).magnitude()
        mean = relative[residual <= np.median(residual)].mean()
    median = np.degrees(np.median((mean.inv() * relative).magnitude()))
    if median > MAX_FRAME_RESIDUAL:
        raise ValueError(f'labels and predictions differ by {median:.0f} degrees (median) after '
                         f'the best constant rotation: expected at most {MAX_FRAME_RESIDUAL:g}. '
                         'Check whether the rotations of this data set are transposed, or its '
                         'angles in another order')
    offset = np.eye(4)
    offset[:3, :3] = mean.as_matrix()
    shift = np.swapaxes(label[:, :3, :3], 1, 2) @ (face[:, :3, 3:] - label[:, :3, 3:])
    offset[:3, 3] = np.median(shift[:, :, 0], axis=0)
    return offset


def labels_in_face_frame(heads: LabelledHeads, head_from_face: np.ndarray) -> np.ndarray:
    """Return camera_from_face (N, 4, 4) of the labels; a missing position is the predicted one."""
    poses = heads.camera_from_head @ head_from_face
    lacking = ~np.isfinite(poses[:, :3, 3]).all(1)
    poses[lacking, :3, 3] = heads.camera_from_face[lacking, :3, 3]
    poses[:, 3] = [0, 0, 0, 1]
    return poses


def finetune_pose(network: HeadPoseNet, source: FaceWindows, labelled: Observation,
                  options: argparse.Namespace) -> HeadPoseNet:
    """Train on batches of half source, half labelled frames, to keep the accuracy on the source."""
    all_windows = torch.arange(len(source))
    windows = max(1, options.batch // CROPS)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        rendered = observe(source, source.draw(all_windows, windows, generator), generator)
        real = select(labelled, torch.randint(len(labelled.is_face), (windows,),
                                            generator=generator))
        return joined([several(pose_batch, seen, generator, CROPS) for seen in (rendered, real)])

    return fit(network, make_batch, pose_loss, lambda model: {},
               fit_settings(options, options.seed), options.out / 'run-pose',
               torch.device(options.device)).cpu()


def errors(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return errors (degrees, mm) and misses of predicted poses (N, 4, 4); NaN is a miss."""
    found = np.isfinite(predicted).all((1, 2)) & np.isfinite(truth).all((1, 2))
    true, estimate = truth[found], predicted[found]
    residual = np.swapaxes(true[:, :3, :3], 1, 2) @ estimate[:, :3, :3]
    degrees = np.degrees(Rotation.from_matrix(residual).magnitude())
    millimetres = 1000 * np.linalg.norm(true[:, :3, 3] - estimate[:, :3, 3], axis=1)
    return {'frames': len(predicted), 'missed_percent': 100 * float(1 - found.mean()),
            'geodesic_deg_median': float(np.median(degrees)),
            'geodesic_deg_mean': float(degrees.mean()),
            'geodesic_deg_p95': float(np.percentile(degrees, 95)),
            'sellion_mm_median': float(np.median(millimetres))}
