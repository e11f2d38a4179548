# SPDX-License-Identifier: Apache-2.0
"""Where the heads are: the whole frame at low resolution to head centres in metres."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depthface_ros.engines.contract import FINDER_CELL, FINDER_HEIGHT, FINDER_WIDTHS
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import Intrinsics, depth_in_metres, point_map
from depthface_ros.settings import setting

MAX_DEPTH = 6.5  # m; what lies further was never rendered for training: it is taken for nothing
# px, after sampling: heads in a small part of an image would look larger than any in training
MAX_FOCAL = 180.0
# m; cells that vote nearer than this to a peak's vote mean the same head. Peaks that look at
# something before the head err the most, so the first mean is taken of more votes than the last.
VOTE_RADII = (0.15, 0.10)
VOTE_SHARE = 0.3  # of the peak's heat that a cell must have to be asked
BESIDE_PEAK = 2.0  # times the threshold: as hot must a cell be that is no local maximum
MIN_DEPTH = 0.1  # m; nearer than any depth camera measures


@dataclass(frozen=True)
class FinderConfig:
    """What counts as a head."""

    threshold: float = setting(0.05, 'Heat map value from which on a head is looked at closely; '
                               'the confidence of its pose helps to decide.', 0.0, 1.0)
    separation: float = setting(0.15, 'Metres between two head centres, at least.', 0.0, 1.0)
    max_heads: int = setting(16, 'Heads looked at per image, at most.', 1, 64)


def finder_input(depth, intrinsics: Intrinsics):
    """What the head finder sees: (4, 120, W) float32, x, y, z (m) and validity (0 or 1).

    W is 160, or 224 for wide images.

    Depth is sampled, not averaged: a mean of face and background is a point of neither.

    :param depth: (H, W) uint16 millimetres or float32 metres; numpy or torch.
    """
    xp = namespace(depth)
    stride = finder_stride(*depth.shape, intrinsics.fx)
    sampled = depth_in_metres(depth[stride // 2::stride, stride // 2::stride])
    height, width = sampled.shape
    canvas = xp.zeros((4, FINDER_HEIGHT, next(w for w in FINDER_WIDTHS if w >= width)),
                      dtype=xp.float32, device=device_of(depth))
    if height and width:
        valid = (sampled > 0) & (sampled < MAX_DEPTH)
        sampled = xp.where(valid, sampled, xp.zeros_like(sampled))
        canvas[:3, :height, :width] = point_map(sampled, intrinsics, stride // 2, stride, axis=0)
        canvas[3, :height, :width] = xp.astype(valid, xp.float32)
    return canvas


def finder_stride(height: int, width: int, focal: float = 0.0) -> int:
    """How many pixels apart the finder samples an image of this size and focal length (px)."""
    return max(1, -(-width // FINDER_WIDTHS[-1]), -(-height // FINDER_HEIGHT),
               math.ceil(focal / MAX_FOCAL))


def decode(heatmap: np.ndarray, offset: np.ndarray, points: np.ndarray,
           config: FinderConfig = FinderConfig()) -> tuple[np.ndarray, np.ndarray]:
    """Head centres (N, 3) float32 in metres, camera frame, and their scores (N,); best first.

    Each cell votes for a head centre: the nearest point measured in the cell, plus the cell's
    offset. Local maxima of the heat map stand, and hot cells beside them that vote for another
    place: a maximum may look at a hand before the head. Of those that mean the same head the
    hottest stays; then the votes around each are averaged, twice, which errs less than one alone.

    :param heatmap: (30, W / 4) in 0..1.
    :param offset: (3, 30, W / 4) metres.
    :param points: (4, 120, W) what :func:`finder_input` gave.
    """
    padded = np.full([size + 2 for size in heatmap.shape], -np.inf, np.float32)
    padded[1:-1, 1:-1] = heatmap
    highest = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])  # of three rows
    highest = np.maximum(np.maximum(highest[:, :-2], highest[:, 1:-1]), highest[:, 2:])

    row, column = np.nonzero(heatmap > VOTE_SHARE * config.threshold)  # no other cell is asked
    blocks = points.reshape(4, heatmap.shape[0], FINDER_CELL, heatmap.shape[1], FINDER_CELL)
    blocks = blocks[:, row, :, column].reshape(-1, 4, FINDER_CELL ** 2)
    depths = np.where(blocks[:, 3] > 0, blocks[:, 2], np.inf)
    nearest = np.argmin(depths, axis=1)
    votes = blocks[np.arange(len(blocks)), :3, nearest] + offset[:, row, column].T
    measured = np.isfinite(depths).any(axis=1) & np.isfinite(votes).all(axis=1)
    row, column, votes = row[measured], column[measured], votes[measured]
    heat = heatmap[row, column]

    least = config.threshold * np.where(heat == highest[row, column], 1, BESIDE_PEAK)
    stands = (heat > least) & (votes[:, 2] > MIN_DEPTH)
    centres, scores = votes[stands], heat[stands]
    order = np.argsort(-scores, kind='stable')
    order = order[separate(centres[order], config.separation)[:config.max_heads]]
    centres, scores = centres[order], scores[order]

    weights = np.where(heat > VOTE_SHARE * scores[:, None], heat, 0)
    for radius in VOTE_RADII:
        near = np.linalg.norm(votes[None] - centres[:, None], axis=-1) < radius
        total = (weights * near).sum(axis=1, keepdims=True)
        centres = np.where(total > 0, (weights * near) @ votes / np.maximum(total, 1e-9), centres)
    return centres.astype(np.float32), scores


def separate(positions: np.ndarray, distance: float) -> np.ndarray:
    """Indices of the positions (N, 3), best first, that stay: each silences worse ones near it."""
    if len(positions) < 2:
        return np.arange(len(positions))
    near = np.linalg.norm(positions[:, None] - positions[None], axis=-1) < distance
    alive = np.ones(len(positions), bool)
    for i in range(len(positions)):
        if alive[i]:
            alive[i + 1:] &= ~near[i, i + 1:]
    return np.flatnonzero(alive)
