# SPDX-License-Identifier: Apache-2.0
"""Beards, cropped hair, masks and cloth on a head, made by displacing its skin outwards.

The labelled face stays on the skin; only the rendered surface moves outwards.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.synthesis.meshes import largest_piece, vertex_normals

# Middle and semi-axes (m) of ellipsoids around an adult's skull and mouth, face frame.
SKULL = np.array([[-0.086, 0, 0.018], [0.106, 0.080, 0.099]], np.float32)
MUZZLE = np.array([[-0.045, 0, -0.068], [0.070, 0.062, 0.056]], np.float32)


class Regions(NamedTuple):
    """Where things grow or are worn on a generator's head: (N,) float32 in 0..1, soft borders."""

    beard: np.ndarray
    moustache: np.ndarray
    scalp: np.ndarray
    mask: np.ndarray
    bonnet: np.ndarray
    veil: np.ndarray
    lenses: np.ndarray


def head_regions(mean: np.ndarray, triangles: np.ndarray) -> Regions:
    """Return the regions of a mean adult head: vertices (N, 3) m in the face frame, triangles (T, 3)."""
    x, y, z = mean.T
    side = np.abs(y)
    skin = np.zeros(len(mean), bool)
    skin[largest_piece(triangles)] = True
    back = np.maximum(-x - 0.01, 0)

    def above(value, width=0.006):
        return np.clip(value / width + 0.5, 0, 1)

    lips = np.hypot(y / 0.030, (z + 0.0725) / 0.0125)
    around_lips = above(0.02 * (lips - 1), 0.004)
    front = above(x + 0.082, 0.01)
    beard = front * above(-0.058 + 0.85 * back - z) * above(z + 0.155, 0.04) * around_lips
    beard *= above(side - 0.017 + 100 * (z < -0.062))  # below the nose it is a moustache
    moustache = front * (x > -0.02) * above(-0.0545 - z, 0.003) * above(z + 0.066, 0.006) \
        * above(0.026 - side) * around_lips
    hairline = 0.068 - 0.45 * np.maximum(-x - 0.03, 0)
    hairline = np.where(x < -0.128, -0.075, hairline)
    scalp = above(z - hairline, 0.008)
    mask = (x > -0.06) * above(-0.018 - 0.3 * back - z, 0.004) * above(z + 0.118, 0.008) \
        * above(0.062 - side, 0.012)
    bonnet = above(z - 0.052 - 0.35 * (x + 0.03), 0.012)
    opening = np.hypot(y / 0.062, (z + 0.032) / 0.088)
    veil = np.maximum(above(0.06 * (opening - 1), 0.006), x < -0.07) * above(z + 0.14, 0.03)
    lens = np.hypot((side - 0.031) / 0.025, (z + 0.005) / 0.021)
    lenses = (lens < 1) & (x > -0.04)
    return Regions(*((region * skin).astype(np.float32) for region in
                     (beard, moustache, scalp, mask, bonnet, veil, lenses)))


def grow(vertices: np.ndarray, triangles: np.ndarray, weight: np.ndarray, length: float,
         roughness: float, rng: np.random.Generator, droop: float = 0.0) -> np.ndarray:
    """Push vertices (N, 3) m out along their normals by weights (N,) times a noisy length (m).

    roughness: 0 smooth, 1 as unkempt as hair; droop: part of the length by which it also hangs.
    """
    moved = np.flatnonzero(weight)
    near = weight[triangles].any(1)
    out = vertex_normals(vertices, triangles[near])[moved]
    places = vertices[moved]
    waves = rng.normal(0, 1, (3, 5)) * rng.uniform(30, 250, 5)
    locks = np.sin(places @ waves + rng.uniform(0, 6.28, 5)).mean(1)
    noise = 1 + roughness * (0.7 * locks + 0.25 * rng.normal(0, 1, len(moved)))
    out[:, 2] -= droop
    result = vertices.copy()
    result[moved] += (length * weight[moved] * noise.clip(0.1))[:, None] * out
    return result


def cover(vertices: np.ndarray, weight: np.ndarray, ellipsoid: np.ndarray, size: float,
          rng: np.random.Generator) -> np.ndarray:
    """Push vertices (N, 3) m out to a folded ellipsoid, by weights (N,).

    ellipsoid: (2, 3) m, middle and semi-axes for an adult; size: of the person, relative to one.
    """
    moved = np.flatnonzero(weight)
    middle, radii = ellipsoid * size
    away = vertices[moved] - middle
    radius = np.linalg.norm(away / radii, axis=1)
    waves = rng.normal(0, 1, (3, 4)) * rng.uniform(8, 60, 4)
    folds = np.sin(vertices[moved] @ waves + rng.uniform(0, 6.28, 4)).mean(1)
    stretch = np.maximum((1 + rng.uniform(0.01, 0.05) * folds) / radius, 1.02) - 1
    result = vertices.copy()
    result[moved] += away * (np.minimum(stretch, 1) * weight[moved])[:, None]
    return result


def groom(vertices: np.ndarray, triangles: np.ndarray, regions: Regions, size: float, bald: bool,
          rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Add a random beard, cropped hair, mask, bonnet or veil, or nothing.

    bald: no wig is worn, so the scalp is free for something. Returns vertices (N, 3) and which
    triangles (T,) are hair now.
    """
    hairy = np.zeros(len(vertices), np.float32)
    if rng.random() < 0.22:
        kind = rng.choice(4, p=[0.4, 0.2, 0.2, 0.2])
        weight = (np.maximum(regions.beard, regions.moustache), regions.beard, regions.moustache,
                 np.maximum(regions.beard * (vertices[:, 0] > -0.03), regions.moustache))[kind]
        length = size * np.exp(rng.uniform(np.log(0.002), np.log(0.03)))
        length *= 0.4 if kind == 2 else 1
        vertices = grow(vertices, triangles, weight, length, rng.uniform(0.3, 1), rng,
                        droop=rng.uniform(0, 1) if length > 0.01 else 0)
        hairy = weight
    if rng.random() < 0.03:
        mask = MUZZLE + [[0, 0, 0], rng.uniform(-0.003, 0.01, 3)]
        vertices = cover(vertices, regions.mask, mask, size, rng)
        hairy = hairy * (regions.mask < 0.5)
    kind = rng.random()
    if bald and kind < 0.55:
        length = size * np.exp(rng.uniform(np.log(0.002), np.log(0.025)))
        vertices = grow(vertices, triangles, regions.scalp, length, rng.uniform(0.2, 1), rng)
        hairy = np.maximum(hairy, regions.scalp)
    elif bald and kind < 0.85:
        thickness = rng.uniform(0.002, 0.02, 3) + [0, 0, rng.choice([0, 0.03]) * rng.random()]
        if kind < 0.62:
            thickness = thickness + rng.uniform(0.015, 0.04)  # a turban
        region = regions.bonnet if kind < 0.75 else regions.veil
        vertices = cover(vertices, region, SKULL + [[0, 0, 0], thickness], size, rng)
    return vertices.astype(np.float32), (hairy > 0.3)[triangles].all(1)
