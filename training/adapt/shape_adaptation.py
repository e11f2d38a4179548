# SPDX-License-Identifier: Apache-2.0
"""Adapt the face-shape network to a target: batches of both domains, and a schedule."""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from depthface_ros.geometry.crop import shape_crop
from training.adapt.adversarial import Adaptation, settle
from training.adapt.domain_losses import resampling_weights
from training.adapt.target_domain import VIEWS, take, view_batch
from training.data.augment import Observation, crops_of
from training.data.predicted_crops import CROPS, shape_makers
from training.data.rendered_dataset import FaceWindows
from training.models.networks import FaceShapeNet, HeadPoseNet
from training.train.fit import FitSettings, fit


def adapt_shape(network: FaceShapeNet, methods: tuple[str, ...], source: FaceWindows,
                target: Observation, settings: FitSettings, folder: Path, device: torch.device,
                batch: int, pose_network: HeadPoseNet) -> FaceShapeNet:
    """Train on labelled windows of the source and faces of the target; return the average.

    The schedule alone ends it: neither a label nor a figure of the target decides when. Without
    methods the target is not looked at, but for the poses that the source is drawn by.

    :param network: to start from; it is trained in place.
    :param batch: crops of each domain.
    :param pose_network: half of the source's crops stand where it puts them, as when the shape network was trained.
    """
    makers = shape_makers(pose_network)
    faces = torch.nonzero(source.is_face)[:, 0]
    chances = resampling_weights(source.camera_from_face[faces], target.camera_from_face)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        index = faces[torch.multinomial(chances, batch // CROPS, True, generator=generator)]
        labelled = crops_of(source, index, makers, generator)
        if not methods:
            return labelled
        index = torch.randint(len(target.is_face), (batch // VIEWS,), generator=generator)
        views = view_batch(take(target, index), generator)
        return labelled | {f'target_{name}': value for name, value in views.items()}

    torch.manual_seed(settings.seed)  # of the discriminator
    adaptation = Adaptation(network, methods, settings.steps)
    adapted = fit(adaptation, make_batch, lambda model, batch: model(batch), lambda model: {},
                  settings, folder, device).network
    if methods:
        settle(adapted, crops_as_predicted(target).to(device))
    return adapted.cpu().eval()


def crops_as_predicted(seen: Observation) -> Tensor:
    """The shape crops (N, 4, S, S) that the pipeline would give the network."""
    return shape_crop(seen.depth_m, seen.intrinsics, seen.camera_from_face)
