# SPDX-License-Identifier: Apache-2.0
"""Adapt the face-shape network to a target domain: batches of both domains, and a schedule."""
from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from depthface_ros.geometry.crop import shape_crop
from training.adapt.adversarial import Adaptation
from training.adapt.domain_losses import resampling_weights
from training.adapt.mirrored_batches import with_mirror_crops
from training.adapt.target_domain import VIEWS, take, view_batch, with_mirror_images
from training.data.augment import Observation, crops_of
from training.data.predicted_crops import CROPS, shape_makers
from training.data.rendered_dataset import FaceWindows
from training.models.networks import FaceShapeNet, HeadPoseNet
from training.train.fit import FitSettings, fit

# Methods that compare the domains: there the camera has to stand to the faces alike.
MATCHED = {'adversarial', 'consistency', 'holes'}


def adapt_shape(network: FaceShapeNet, methods: tuple[str, ...], source: FaceWindows,
                target: Observation, settings: FitSettings, folder: Path, device: torch.device,
                batch: int, pose_network: HeadPoseNet) -> FaceShapeNet:
    """Train on labelled windows of the source and faces of the target; return the averaged network.

    Both domains are mirrored, in the data, in each batch and in a loss term. So an adaptation to
    people who look to one side does not make the network asymmetric. The schedule alone ends the
    training. Methods that compare both domains sample the source in the poses of the target.

    :param network: to start from; it is trained in place.
    :param batch: crops of each domain.
    :param pose_network: places half of the crops of the source, as in the training of the shape network.
    """
    target = with_mirror_images(target)
    makers = shape_makers(pose_network)
    faces = torch.nonzero(source.is_face)[:, 0]
    probabilities = resampling_weights(
        source.camera_from_face[faces], target.camera_from_face) if set(methods) & MATCHED else torch.ones(len(faces))

    def make_batch(generator: torch.Generator) -> dict[str, Tensor]:
        windows = max(1, batch // (2 * CROPS))
        index = faces[torch.multinomial(probabilities, windows, True, generator=generator)]
        batch_of_source = with_mirror_crops(crops_of(source, index, makers, generator))
        if not methods:
            return batch_of_source
        index = torch.randint(len(target.is_face), (max(1, batch // (2 * VIEWS)),), generator=generator)
        views = view_batch(take(target, index), generator)
        return batch_of_source | {f'target_{name}': value for name, value in views.items()}

    first = copy.deepcopy(network)
    torch.manual_seed(settings.seed)  # of the discriminator
    adaptation = Adaptation(network, methods, settings.steps)
    adapted = fit(adaptation, make_batch, lambda model, batch: model(batch), lambda model: {},
                  settings, folder, device).network.cpu()
    return midway(adapted, first).eval()


@torch.no_grad()
def midway(network: FaceShapeNet, first: FaceShapeNet) -> FaceShapeNet:
    """Return the network with the mean of its weights and those before the training, in place.

    Half of the way keeps the gain on the target, and a third of the loss on other cameras
    (docs/research/adaptation.md; Wortsman et al., CVPR 2022).
    """
    for adapted, before in zip(network.parameters(), first.parameters()):
        adapted.lerp_(before, 0.5)
    return network


def crops_as_predicted(seen: Observation) -> Tensor:
    """Return the shape crops (N, 4, S, S) of the pipeline."""
    return shape_crop(seen.depth_m, seen.intrinsics, seen.camera_from_face)
