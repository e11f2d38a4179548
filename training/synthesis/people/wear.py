# SPDX-License-Identifier: Apache-2.0
"""Glasses, the peaks of caps, scarves and collars: solids in a person's face frame.

Triangles (T, 3, 3), metres.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.synthesis.random_rotations import axis_rotation
from training.synthesis.scene.solids import ellipsoid, revolve


class Glasses(NamedTuple):
    """frame: (T, 3, 3); lenses: (S, 3, 3), empty if transparent; glare: whether what lies
    behind the lenses measures as badly as hair does."""

    frame: np.ndarray
    lenses: np.ndarray
    glare: bool


def sample_glasses(rng: np.random.Generator, landmarks: np.ndarray) -> Glasses:
    """Draw glasses that fit a face.

    landmarks: (70, 3) m, face frame: iBUG's 68, then the pupils, right and left.
    """
    wire = np.exp(rng.uniform(np.log(0.0005), np.log(0.002)))  # half the frame's thickness
    half_width, half_height = rng.uniform(0.020, 0.029), rng.uniform(0.013, 0.026)
    corners = rng.uniform(2, 5)  # 2: an ellipse, more: a rounded rectangle
    depth = max(landmarks[27, 0] + 0.001, landmarks[68:, 0].mean() + rng.uniform(0.013, 0.018))
    height = landmarks[68:, 2].mean() + rng.uniform(-0.008, 0.002)
    wrap, tilt = rng.uniform(0.02, 0.2), rng.uniform(0, 0.2)
    angle = np.arange(21) * (2 * np.pi / 20)
    cosine, sine = np.cos(angle), np.sin(angle)
    across = half_width * np.sign(cosine) * np.abs(cosine) ** (2 / corners)
    upwards = half_height * np.sign(sine) * np.abs(sine) ** (2 / corners)
    frame, lenses, inner_ends, outer_ends = [], [], [], []
    for side, middle in ((-1, landmarks[68]), (1, landmarks[69])):
        y = side * max(abs(middle[1]), half_width + 0.006)
        rim = np.stack([depth - wrap * np.abs(across + side * 0.01) * (across * side > -0.01)
                        + tilt * upwards, y + across, height + upwards], 1)
        frame.append(tube(rim, wire))
        fan = np.stack([rim[:-1], rim[1:], np.broadcast_to(rim[:-1].mean(0), (20, 3))], 1)
        lenses.append(fan)
        inner_ends.append(rim[10 if side > 0 else 0])
        outer = rim[0 if side > 0 else 10]
        outer_ends.append(outer)
        ear = landmarks[16 if side > 0 else 0] + [-0.03, side * 0.002, 0.006]
        temple = landmarks[16 if side > 0 else 0] + [0.03, side * 0.002, 0.006]
        frame.append(tube(np.stack([outer, temple, ear, ear + [-0.015, 0, -0.02]]),
                          max(wire, 0.0012)))
    bridge = np.stack([inner_ends[0], np.mean(inner_ends, 0) + [0.003, 0, 0.004], inner_ends[1]])
    frame.append(tube(bridge, wire))
    kind = rng.choice(['clear', 'glare', 'dark'], p=[0.35, 0.4, 0.25])
    shown = np.concatenate(lenses) if kind == 'dark' else np.zeros((0, 3, 3))
    return Glasses(np.concatenate(frame), shown, kind == 'glare')


def tube(path: np.ndarray, radius: float) -> np.ndarray:
    """Return a square tube along a path (N, 3): (8 (N - 1), 3, 3), facing outwards, open at its ends."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    helper = np.eye(3)[np.abs(along).max(0).argmin()]
    first = np.cross(along, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    ring = path[:, None] + 1.4 * radius * np.stack([first, second, -first, -second, first], 1)
    a, b, c, d = ring[:-1, :-1], ring[:-1, 1:], ring[1:, :-1], ring[1:, 1:]
    return np.stack([np.stack([a, b, d], 2), np.stack([a, d, c], 2)]).reshape(-1, 3, 3)


def sample_peak(rng: np.random.Generator, size: float) -> np.ndarray:
    """Draw the peak of a cap, or the brim of a hat, of a head of this relative size."""
    brim = rng.random() < 0.3
    radii = (0.19, 0.16, 0.004) if brim else (rng.uniform(0.07, 0.1), 0.075, 0.004)
    middle = (-0.09, 0, 0.07) if brim else (0.0, 0, 0.068)
    turn = axis_rotation('y', [rng.uniform(-0.1, 0.35) if not brim else rng.normal(0, 0.1)])
    return (ellipsoid(radii, 24, 8) @ turn.T + middle) * size


def sample_scarf(rng: np.random.Generator, size: float) -> np.ndarray:
    """Draw a scarf, a collar or a hood that lies around the neck."""
    inner, height = rng.uniform(0.068, 0.085), rng.uniform(0.03, 0.11)
    thick = rng.uniform(0.012, 0.045)
    angle = np.linspace(0, 2 * np.pi, 9)
    profile = np.stack([inner + thick * (1 + np.cos(angle)) / 2,
                        height * np.sin(angle) / 2], 1)
    scarf = revolve(profile, 24)
    around = np.arctan2(scarf[..., 1], scarf[..., 0])
    folds = 1 + rng.uniform(0.02, 0.1) * np.sin(rng.integers(2, 8) * around + 40 * scarf[..., 2])
    scarf = scarf * folds[..., None] @ axis_rotation('y', [rng.uniform(0, 0.35)]).T
    return (scarf + [-0.1, 0, rng.uniform(-0.2, -0.16)]) * size
