# SPDX-License-Identifier: Apache-2.0
"""Turn a torso against the head that stays in the face frame, and dress it."""

from __future__ import annotations

import numpy as np

from training.synthesis.meshes import vertex_normals

# The neck turns about a point between the ears' level and the shoulders (m, face frame of an
# adult).
NECK_PIVOT = np.array([-0.105, 0, -0.13], np.float32)
NECK_LENGTH = 0.1


def neck_blend(points: np.ndarray) -> np.ndarray:
    """Return the blend weight of the head: 1 above jaw and nape, 0 below the neck, smooth between.

    points: (N, 3) m in the face frame, of a head of adult size. Returns (N,) float32.
    """
    below = 0.5 * np.clip(-points[:, 0] - 0.025, 0, 0.14) - 0.13 - points[:, 2]
    part = np.clip(below / NECK_LENGTH, 0, 1)
    return (1 - part * part * (3 - 2 * part)).astype(np.float32)


def random_neck_turn(rng: np.random.Generator) -> np.ndarray:
    """Draw the rotation vector (3,) rad of the torso in the face frame: x rolls, y pitches, z yaws."""
    limits = np.radians([25, 30, 60])
    return np.clip(rng.normal(0, np.radians([8, 11, 27])), -limits, limits).astype(np.float32)


def turn_torso(vertices: np.ndarray, blend: np.ndarray, turn: np.ndarray,
               pivot: np.ndarray) -> np.ndarray:
    """Rotate each vertex about the neck by the fraction 1 - blend of the turn.

    vertices (N, 3) m; blend (N,); turn (3,) rotation vector; pivot (3,) m. Returns (N, 3).
    Rodrigues' formula, with one axis and an angle per vertex.
    """
    full = float(np.linalg.norm(turn))
    moving = blend < 1
    if full < 1e-6 or not moving.any():
        return vertices
    axis = turn / full
    arms = vertices[moving] - pivot
    angle = (full * (1 - blend[moving]))[:, None]
    along = (arms @ axis)[:, None] * axis
    turned = vertices.copy()
    across = np.cross(axis, arms)
    turned[moving] = pivot + along + (arms - along) * np.cos(angle) + across * np.sin(angle)
    return turned


def dress(vertices: np.ndarray, blend: np.ndarray, triangles: np.ndarray,
          rng: np.random.Generator) -> np.ndarray:
    """Blow up the torso by one to three wavy centimetres, like clothes, except for the neck.

    vertices (N, 3) m; blend (N,); triangles (T, 3). Returns (N, 3).
    """
    normals = vertex_normals(vertices, triangles)
    waves = rng.normal(0, 1, (3, 4)) * rng.uniform(10, 45, 4)
    folds = np.sin(vertices @ waves.astype(np.float32) + rng.uniform(0, 6.28, 4)).mean(1)
    thickness = rng.uniform(0.005, 0.025) * (1 + 0.6 * folds)
    ramp = np.clip((0.3 - blend) / 0.3, 0, 1)
    return (vertices + normals * (thickness * ramp)[:, None]).astype(np.float32)
