# SPDX-License-Identifier: Apache-2.0
"""The losses of the adaptation methods: on labelled source crops and on crops of the target."""
from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthface_ros.face_model.expression_displacements import expression_displacements
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_crops, mirrored_shape
from training.adapt.adversarial import DomainDiscriminator, adversarial_loss, reversal_scale
from training.adapt.target_domain import VIEWS
from training.data.augment import rigid, transform
from training.models.networks import FaceShapeNet
from training.train.shape import ShapeLoss, vertex_distance

# The gradient with respect to features is then some tenths of that of the errors in mm.
DOMAIN_WEIGHT = 10.
EXPRESSION_DIRECTIONS = 30  # nearly all of the variance of the 52 displacements


class Prediction(NamedTuple):
    """The outputs of the network for a batch."""

    features: Tensor  # (B, F)
    offsets: Tensor  # (B, V, 3) m, face frame
    expression: Tensor  # (B, 52) logits
    residual: Tensor  # (B, 6)


class Adaptation(nn.Module):
    """The network with the modules of its adaptation; maps a batch to named loss terms.

    The second half of each batch is the mirror image of the first half. Besides the terms of the
    methods, both halves have to agree, in both domains.

    :param methods: names of LOSSES, whose terms are added up; none: the source alone.
    :param steps: number of steps after which the reversed gradient has its full scale.
    """

    def __init__(self, network: FaceShapeNet, methods: tuple[str, ...], steps: int):
        super().__init__()
        unknown = set(methods) - set(LOSSES)
        if unknown:
            raise ValueError(f'methods {sorted(unknown)}: expected some of {", ".join(METHODS)}')
        model = FaceModel.load()
        self.network, self.methods, self.steps = network, methods, steps
        self.discriminator = DomainDiscriminator(
            network.expression.in_features) if 'adversarial' in methods else None
        self.register_buffer('step', torch.zeros((), dtype=torch.int64))
        self.register_buffer('template', torch.from_numpy(model.template.copy()))
        self.shape_loss = ShapeLoss(self.template.clone())
        self.before = None
        if 'self-training' in methods:
            self.before = copy.deepcopy(network).requires_grad_(False)
            self.register_buffer('expression_span', expression_span())

    @property
    def progress(self) -> float:
        return min(1., int(self.step) / self.steps)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source = self.predict(batch['crop'])
        terms = self.supervised(source, batch) | {'mirror': self.asymmetry(source)}
        if self.methods:
            target = self.predict(batch['target_crop'])
            for method in self.methods:
                terms |= LOSSES[method](self, source, target, batch)
            views = [Prediction(*parts) for parts in zip(*(part.chunk(VIEWS) for part in target))]
            terms['target_mirror'] = sum(map(self.asymmetry, views)) / VIEWS
        self.step += 1
        return terms

    def predict(self, crops: Tensor) -> Prediction:
        encoder = self.network.encoder
        features = encoder(crops.contiguous(memory_format=torch.channels_last)).float()
        return Prediction(features, *(out.float() for out in self.network.decode(features)))

    def supervised(self, predicted: Prediction, labels: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.shape_loss(lambda crop: predicted[1:], labels)

    @torch.no_grad()
    def with_kept_expressions(self, labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return labels whose expressions are the predictions of the network before the training."""
        crops = labels['crop'].contiguous(memory_format=torch.channels_last)
        offsets, expression, _ = (out.float() for out in self.before(crops))
        change = (labels['offsets'] - offsets).flatten(1)
        by_expression = (change @ self.expression_span.T) @ self.expression_span
        return labels | {'offsets': labels['offsets'] - by_expression.view_as(offsets),
                         'expression': torch.sigmoid(expression)}

    def posed(self, predicted: Prediction, camera_from_view: Tensor) -> Tensor:
        """Return vertices (B, V, 3) m in the camera frame."""
        return transform(camera_from_view @ rigid(predicted.residual),
                         self.template + predicted.offsets)

    def mirrored(self, predicted: Prediction) -> Prediction:
        """Return the predictions of faces from those of their mirror images."""
        return Prediction(predicted.features, **mirrored_shape(predicted._asdict()))

    def asymmetry(self, predicted: Prediction) -> Tensor:
        """Return the disagreement, in mm, between the halves of a batch; one mirrors the other."""
        one, other = (Prediction(*half) for half in zip(*(part.chunk(2) for part in predicted)))
        still = torch.eye(4, device=one.offsets.device).expand(len(one.offsets), 4, 4)
        return agreement(self, one, still, self.mirrored(other), still)


def adversarial(adaptation: Adaptation, source: Prediction, target: Prediction,
                batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make features of both domains indistinguishable to a discriminator (Ganin et al. 2016)."""
    scale = reversal_scale(adaptation.progress)
    return {'domain': DOMAIN_WEIGHT * adversarial_loss(
        adaptation.discriminator, source.features, target.features, scale)}


def consistency(adaptation: Adaptation, source: Prediction, target: Prediction,
                batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make two views of a face under a known motion give the same face."""
    first, second = (Prediction(*parts) for parts in zip(*(part.chunk(VIEWS) for part in target)))
    poses = batch['target_pose'].chunk(VIEWS)
    return {'consistency': agreement(adaptation, first, poses[0], second, poses[1])}


def holes(adaptation: Adaptation, source: Prediction, target: Prediction,
          batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervise source faces through the holes of target faces in similar poses."""
    pierced = adaptation.predict(borrow_holes(batch['crop'], batch['target_crop']))
    return {f'pierced_{name}': term for name, term in adaptation.supervised(pierced, batch).items()}


def self_training(adaptation: Adaptation, source: Prediction, target: Prediction,
                  batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervise target faces with the labels of the pipeline, but keep predicted expressions.

    The labels correct the mean shape of faces before the camera. With their expressions, the
    network learns part of this correction by damping smiles (docs/research/adaptation.md).
    """
    labels = adaptation.with_kept_expressions(target_entries(batch))
    return {f'target_{name}': term for name, term in adaptation.supervised(target, labels).items()}


def supervised(adaptation: Adaptation, source: Prediction, target: Prediction,
               batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Supervise target faces with true labels: the oracle of a study."""
    terms = adaptation.supervised(target, target_entries(batch))
    return {f'target_{name}': term for name, term in terms.items()}


METHODS: dict[str, Callable[..., dict[str, Tensor]]] = {
    'adversarial': adversarial, 'consistency': consistency, 'holes': holes,
    'self-training': self_training}
LOSSES = METHODS | {'supervised': supervised}  # with the one that needs true labels


def target_entries(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of the target domain, without their prefix."""
    return {name.removeprefix('target_'): value for name, value in batch.items()
            if name.startswith('target_')}


def expression_span() -> Tensor:
    """Return orthonormal directions (EXPRESSION_DIRECTIONS, V * 3) of displacements by expressions."""
    displacements = torch.from_numpy(expression_displacements()).flatten(1)
    return torch.linalg.svd(displacements, full_matrices=False)[2][:EXPRESSION_DIRECTIONS]


def agreement(adaptation: Adaptation, one: Prediction, one_pose: Tensor, other: Prediction,
              other_pose: Tensor) -> Tensor:
    """Return the distance of two predictions of the same faces.

    The sum of the mean distances of shapes and of posed meshes, in mm, and of the expressions.
    """
    shape = vertex_distance(one.offsets, other.offsets).mean() * 1000
    posed = adaptation.posed(one, one_pose), adaptation.posed(other, other_pose)
    mesh = vertex_distance(*posed).mean() * 1000
    expression = 10 * F.mse_loss(torch.sigmoid(one.expression), torch.sigmoid(other.expression))
    return shape + mesh + expression


def borrow_holes(source: Tensor, target: Tensor) -> Tensor:
    """Return crops (B, 4, S, S) of the source with the holes of the most similar target crops.

    Similarity is the distance of the crops' points on a coarse grid. Similar crops show faces in
    similar poses.
    """
    candidates = torch.cat([target, mirrored_crops(target)])
    coarse = [F.avg_pool2d(crops, 12).flatten(1) for crops in (source, candidates)]
    chosen = candidates[torch.cdist(*coarse).argmin(1)]
    return torch.where(chosen[:, 3:] == 0, 0., source)
