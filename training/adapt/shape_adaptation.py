# SPDX-License-Identifier: Apache-2.0
"""Adapt the face-shape network to a target domain: batches of both domains, and a schedule."""
from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from depthface_ros.geometry.crop import shape_crop
from training.adapt.matched_poses import resampling_weights
from training.adapt.methods import Adaptation
from training.adapt.mirrored_batches import with_mirror_crops
from training.adapt.target_domain import VIEWS, select, view_batch, with_mirror_images
from training.data.augment import Observation, crops_of
from training.data.predicted_crops import CROPS, shape_makers
from training.data.rendered_dataset import FaceWindows
from training.models.average import averaged_network
from training.models.networks import FaceShapeNet, HeadPoseNet
from training.train.fit import FitSettings, fit

# Of the weights after the training; the rest are those before it. Half of the way keeps the gain on
# the target, and a third of the loss on other cameras (docs/research/adaptation.md).
AFTER_FRACTION = 0.5
# Methods that compare the domains sample the source in the poses of the target.
MATCHED = {'adversarial', 'consistency', 'holes'}


def adapt_shape(network: FaceShapeNet, methods: tuple[str, ...], source: FaceWindows,
                target: Observation, settings: FitSettings, folder: Path, device: torch.device,
                batch: int, pose_network: HeadPoseNet) -> FaceShapeNet:
    """Train on labelled windows of the source and faces of the target.

    Both domains are mirrored, in the data, in each batch and in a loss term. So an adaptation to
    people who look to one side does not make the network asymmetric. The schedule alone ends the
    training.

    :param network: to start from; it is left as it is.
    :param batch: crops of each domain.
    :param pose_network: places half of the crops of the source, as in the training of the shape
        network.
    :returns: the network with the average of the weights before and after the training.
    """
    target = with_mirror_images(target)
    makers = shape_makers(pose_network)
    faces = torch.nonzero(source.is_face)[:, 0]
    probabilities = torch.ones(len(faces))
    if set(methods) & MATCHED:
        probabilities = resampling_weights(source.camera_from_face[faces], target.camera_from_face)

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        windows = max(1, batch // (2 * CROPS))
        index = faces[torch.multinomial(probabilities, windows, True, generator=generator)]
        batch_of_source = with_mirror_crops(crops_of(source, index, makers, generator))
        if not methods:
            return batch_of_source
        count = max(1, batch // (2 * VIEWS))
        index = torch.randint(len(target.is_face), (count,), generator=generator)
        views = view_batch(select(target, index), generator)
        return batch_of_source | {f'target_{name}': value for name, value in views.items()}

    torch.manual_seed(settings.seed)  # of the discriminator
    adaptation = Adaptation(copy.deepcopy(network), methods, settings.steps)
    adapted = fit(adaptation, make_batch, lambda model, batch: model(batch), lambda model: {},
                  settings, folder, device).network.cpu()
    return averaged_network(network, adapted, AFTER_FRACTION).eval()


def crops_as_predicted(windows: Observation) -> Tensor:
    """Return the shape crops (N, 4, S, S) of the pipeline."""
    return shape_crop(windows.depth_m, windows.intrinsics, windows.camera_from_face)
