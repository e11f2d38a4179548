# SPDX-License-Identifier: Apache-2.0
"""Head detection: input and decoding of a network that votes for head centres at low resolution."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from depthface_ros.engines.contract import DETECTOR_CELL, DETECTOR_HEIGHT, DETECTOR_WIDTHS
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import Intrinsics, depth_in_metres, point_map
from depthface_ros.settings import setting

MIN_DEPTH, MAX_DEPTH = 0.1, 6.5  # m; the nearest that cameras measure, the farthest of training
# px after sampling: in a window of an image heads would look larger than any in training
MAX_FOCAL = 180.0
VOTE_FRACTION = 0.3  # of the score of a peak, from which on a cell votes for its head
NO_PEAK_FACTOR = 2.0  # times the threshold: least score of a cell that is no local maximum
# m; votes nearer than this to a centre are averaged. The first radius is larger, because the votes
# of peaks on occluders are the least accurate.
VOTE_RADII = (0.15, 0.10)


@dataclass(frozen=True)
class DetectorConfig:
    """Which peaks of the heat map are candidates."""

    threshold: float = setting(0.05, 'Detector score from which on a head is a candidate; the '
                               'confidence of its pose decides.', 0.0, 1.0)
    separation: float = setting(0.15, 'Minimum distance between two head centres in metres.',
                                0.0, 1.0)
    max_heads: int = setting(16, 'Maximum number of candidates per image.', 1, 64)


class Votes(NamedTuple):
    """Votes of M cells for head centres."""

    centre: np.ndarray  # (M, 3) m, camera frame
    score: np.ndarray  # (M,) 0..1
    peak: np.ndarray  # (M,) whether the cell is a local maximum of the heat map


def detector_input(depth, intrinsics: Intrinsics):
    """Return the detector's input (4, 120, W) float32: x, y, z in metres, and validity (0 or 1).

    W is 160, or 224 for wide images. Depth is sampled, not averaged: a mean of face and background
    is a point of neither.

    :param depth: (H, W) uint16 millimetres or float32 metres; numpy or torch.
    """
    xp = namespace(depth)
    stride = detector_stride(*depth.shape, intrinsics.fx)
    sampled = depth_in_metres(depth[stride // 2::stride, stride // 2::stride])
    height, width = sampled.shape
    canvas = xp.zeros((4, DETECTOR_HEIGHT, next(w for w in DETECTOR_WIDTHS if w >= width)),
                      dtype=xp.float32, device=device_of(depth))
    if height and width:
        valid = (sampled > 0) & (sampled < MAX_DEPTH)
        sampled = xp.where(valid, sampled, xp.zeros_like(sampled))
        canvas[:3, :height, :width] = point_map(sampled, intrinsics, stride // 2, stride, axis=0)
        canvas[3, :height, :width] = xp.astype(valid, xp.float32)
    return canvas


def detector_stride(height: int, width: int, focal: float = 0.0) -> int:
    """Return the stride in pixels with which an image of this size and focal length is sampled."""
    return max(1, -(-width // DETECTOR_WIDTHS[-1]), -(-height // DETECTOR_HEIGHT),
               math.ceil(focal / MAX_FOCAL))


def decode(heatmap: np.ndarray, offset: np.ndarray, points: np.ndarray,
           config: DetectorConfig = DetectorConfig()) -> tuple[np.ndarray, np.ndarray]:
    """Return head centres (N, 3) float32 m, camera frame, and scores (N,), best first.

    :param heatmap: (30, W / 4) in 0..1.
    :param offset: (3, 30, W / 4) metres, from the nearest point of each cell to the head centre.
    :param points: (4, 120, W) of :func:`detector_input`.
    """
    votes = _votes(heatmap, offset, points, VOTE_FRACTION * config.threshold)
    # Cells beside a peak can be candidates, too: a peak on a hand hides the head behind it.
    least = config.threshold * np.where(votes.peak, 1, NO_PEAK_FACTOR)
    candidate = (votes.score > least) & (votes.centre[:, 2] > MIN_DEPTH)
    centres, scores = votes.centre[candidate], votes.score[candidate]
    best = np.argsort(-scores, kind='stable')
    best = best[non_maximum_suppression(centres[best], config.separation)[:config.max_heads]]
    return _averaged(votes, centres[best], scores[best]), scores[best]


def non_maximum_suppression(positions: np.ndarray, distance: float) -> np.ndarray:
    """Return the indices of positions (N, 3), best first, that no better one is nearer to."""
    if len(positions) < 2:
        return np.arange(len(positions))
    near = np.linalg.norm(positions[:, None] - positions[None], axis=-1) < distance
    kept = np.ones(len(positions), bool)
    for i in range(len(positions)):
        if kept[i]:
            kept[i + 1:] &= ~near[i, i + 1:]
    return np.flatnonzero(kept)


def _votes(heatmap: np.ndarray, offset: np.ndarray, points: np.ndarray, least: float) -> Votes:
    """Return the votes of cells with a score above the least one and a measured point."""
    row, column = np.nonzero(heatmap > least)
    cells = points.reshape(4, heatmap.shape[0], DETECTOR_CELL, heatmap.shape[1], DETECTOR_CELL)
    cells = cells[:, row, :, column].reshape(-1, 4, DETECTOR_CELL ** 2)
    depths = np.where(cells[:, 3] > 0, cells[:, 2], np.inf)
    nearest = cells[np.arange(len(cells)), :3, np.argmin(depths, axis=1)]
    centre = nearest + offset[:, row, column].T
    valid = np.isfinite(depths).any(axis=1) & np.isfinite(centre).all(axis=1)
    row, column = row[valid], column[valid]
    score = heatmap[row, column]
    return Votes(centre[valid], score, score == _maximum_3x3(heatmap)[row, column])


def _maximum_3x3(heatmap: np.ndarray) -> np.ndarray:
    """Return the largest value of each cell (H, W) and its eight neighbours."""
    padded = np.full([size + 2 for size in heatmap.shape], -np.inf, np.float32)
    padded[1:-1, 1:-1] = heatmap
    of_rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return np.maximum(np.maximum(of_rows[:, :-2], of_rows[:, 1:-1]), of_rows[:, 2:])


def _averaged(votes: Votes, centres: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return centres (N, 3) float32 after two steps of the mean shift over the votes near them.

        centre <- sum_i score_i vote_i / sum_i score_i   over votes within the radius
    """
    weights = np.where(votes.score > VOTE_FRACTION * scores[:, None], votes.score, 0)
    for radius in VOTE_RADII:
        distance = np.linalg.norm(votes.centre[None] - centres[:, None], axis=-1)
        near = weights * (distance < radius)
        total = near.sum(axis=1, keepdims=True)
        centres = np.where(total > 0, near @ votes.centre / np.maximum(total, 1e-9), centres)
    return centres.astype(np.float32)
