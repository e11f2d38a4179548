# SPDX-License-Identifier: Apache-2.0
"""Networks to adapt, read from a folder of models and written to another."""
from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from training.data.augment import observe, pose_batch, shape_batch
from training.data.rendered_dataset import FaceWindows
from training.models.export import export, write_card
from training.models.from_onnx import load_onnx
from training.models.networks import FaceShapeNet, HeadPoseNet
from training.train.fit import FitSettings

TYPICAL = 128  # crops from which the statistics of batch normalisation are computed


def fit_settings(options: argparse.Namespace, seed: int) -> FitSettings:
    return FitSettings(steps=options.steps, learning_rate=options.learning_rate,
                       warmup_steps=max(1, min(50, options.steps // 5)),
                       ema_decay=0.98, loader_workers=options.loader_workers, seed=seed,
                       keep_statistics=True, report_every=50)


def first_networks(models: Path, source: FaceWindows) -> tuple[HeadPoseNet, FaceShapeNet]:
    """Load the pose and the shape network from a folder of ONNX files, to train."""
    return tuple(load_onnx(name, models / f'{name}.onnx', typical_crops(source, make_batch))
                 for name, make_batch in (('head_pose', pose_batch), ('face_shape', shape_batch)))


def typical_crops(source: FaceWindows, make_batch) -> torch.Tensor:
    """Return crops as a network gets them, to restore the statistics that export folds away."""
    generator = torch.Generator().manual_seed(0)
    index = torch.nonzero(source.is_face)[:, 0]
    index = index[torch.randint(len(index), (TYPICAL,), generator=generator)]
    return make_batch(observe(source, index, generator), generator)['crop']


def write_models(models: Path, out: Path, name: str, network: torch.nn.Module,
                 notes: dict) -> None:
    """Copy the networks of a folder and replace one, whose card names its origin."""
    for path in sorted(models.glob('*')):
        if path.suffix in ('.onnx', '.json', '.npz') and path.name.partition('.')[0] != name:
            shutil.copy(path, out / path.name)
    export(network, name, out / f'{name}.onnx')
    card = models / f'{name}.json'
    origin = json.loads(card.read_text()) if card.exists() else {}
    write_card(name, out / f'{name}.onnx', None, {'adapted_from': origin} | notes)
