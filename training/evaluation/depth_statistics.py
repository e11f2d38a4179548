# SPDX-License-Identifier: Apache-2.0
"""Statistics of noise, holes and edges that can be compared between real and synthetic images."""
from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

HALF = 3  # px; surfaces are fitted in windows of 2 HALF + 1
JUMP = 0.08  # m between a head and its background


def head_statistics(depth_m: np.ndarray, limit: float) -> dict[str, float]:
    """Return statistics of a crop (H, W) around a head, metres, 0 invalid; background is beyond limit (m).

    noise_mm:       median standard deviation from a quadratic surface, in windows of 7 x 7 pixels
    noise_p90_mm:   the 90th percentile of the same
    alike:          correlation of that deviation between neighbours in a row
    hole_percent:   pixels without depth among those of the head, 4 px and more from its outline
    flying_percent: pixels between the head and its background, per 100 of its outline
    gap_px:         median count of pixels without depth between head and background, along rows
    NaN where an image has too few such pixels.
    """
    pieces, count = label((depth_m > 0) & (depth_m < limit))
    head = pieces == 1 + np.bincount(pieces[pieces > 0] - 1).argmax() if count else pieces > 0
    deviation, alike = surface_deviation(depth_m, head)
    filled = np.zeros_like(head)
    for row, of_head in zip(filled, head):
        columns = np.flatnonzero(of_head)
        row[columns.min(initial=len(row)):columns.max(initial=0) + 1] = True
    inside = distance_transform_edt(filled) >= 4
    widths, flying = edges(depth_m, limit)
    return {
        'noise_mm': 1000 * _quantile(deviation, 0.5),
        'noise_p90_mm': 1000 * _quantile(deviation, 0.9),
        'alike': alike,
        'hole_percent': 100 * float((depth_m[inside] == 0).mean()) if inside.any() else np.nan,
        'flying_percent': 100 * flying / len(widths) if len(widths) else np.nan,
        'gap_px': _quantile(widths, 0.5)}


def _quantile(values: np.ndarray, fraction: float) -> float:
    return float(np.quantile(values, fraction)) if len(values) else np.nan


def surface_deviation(depth_m: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit quadratic surfaces in windows within a head (H, W) bool.

    :returns: standard deviations (N,) m from the surfaces, and the correlation of the deviations of
        neighbours in a row; NaN without windows.
    """
    size = 2 * HALF + 1
    v, u = np.mgrid[-HALF:HALF + 1, -HALF:HALF + 1].reshape(2, -1) / HALF
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], 1)
    residual = np.eye(size * size) - basis @ np.linalg.pinv(basis)
    windows = np.lib.stride_tricks.sliding_window_view(depth_m, (size, size))[::2, ::2]
    whole = np.lib.stride_tricks.sliding_window_view(head, (size, size))[::2, ::2].all((2, 3))
    windows = windows[whole].reshape(-1, size * size)
    smooth = np.ptp(windows, axis=1) < 0.04  # excludes edges, such as those of a nose
    rest = windows[smooth] @ residual.T
    variance = (rest ** 2).sum(1) / (size * size - basis.shape[1])
    rest = rest.reshape(-1, size, size)
    if not len(rest):
        return np.zeros(0), np.nan
    return np.sqrt(variance), float((rest[:, :, 1:] * rest[:, :, :-1]).mean() / (rest ** 2).mean())


def edges(depth_m: np.ndarray, limit: float) -> tuple[np.ndarray, int]:
    """Find the edges along rows from surfaces nearer than a limit (m) to a background JUMP behind them.

    :returns: the counts (N,) of pixels without depth at each edge, and the number of flying pixels.
    """
    widths, flying = [], 0
    for row in depth_m:
        valid = np.flatnonzero(row)
        z = row[valid]
        step = np.flatnonzero((np.minimum(z[1:], z[:-1]) < limit) & (np.abs(np.diff(z)) > JUMP)
                              & (np.maximum(z[1:], z[:-1]) > limit))
        widths += (valid[step + 1] - valid[step] - 1).tolist()
        middle = z[1:-1]
        low, high = np.minimum(z[:-2], z[2:]), np.maximum(z[:-2], z[2:])
        flying += int(((middle > low + 0.02) & (middle < high - 0.02) & (low < limit)
                       & (high - low > JUMP)).sum())
    return np.array(widths), flying
