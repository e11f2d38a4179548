# SPDX-License-Identifier: Apache-2.0
"""Statistics of noise, holes and edges that can be compared between real and synthetic images."""
from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

HALF = 3  # px; surfaces are fitted in windows of 2 HALF + 1
JUMP = 0.08  # m between a head and its background
FLAT, STEEP = np.radians((30, 50))


def head_statistics(depth_m: np.ndarray, limit: float, focal: float) -> dict[str, float]:
    """Return statistics of a crop (H, W) around a head, metres, 0 invalid; background is beyond limit (m).

    noise_mm:       median standard deviation from a quadratic surface, in windows of 7 x 7 pixels
    noise_p90_mm:   the 90th percentile of the same
    noise_flat_mm:  the median of windows inclined by less than FLAT to the image plane
    noise_steep_mm: the median of windows inclined by more than STEEP
    alike:          correlation of that deviation between neighbours in a row
    step_mm:        median distance between neighbouring depth values that occur on the head
    hole_percent:   pixels without depth among those of the head, 4 px and more from its outline
    top_hole_percent: the same in the upper third of the head, mostly hair
    flying_percent: pixels between the head and its background, per 100 of its outline
    gap_px:         median count of pixels without depth between head and background, along rows
    gap_p90_px:     the 90th percentile of the same
    behind_percent: measured pixels outside of the head, among all there

    :param focal: px, for the inclination of surfaces.
    NaN where an image has too few such pixels.
    """
    pieces, count = label((depth_m > 0) & (depth_m < limit))
    head = pieces == 1 + np.bincount(pieces[pieces > 0] - 1).argmax() if count else pieces > 0
    deviation, slope, alike = surface_deviation(depth_m, head)
    inclination = np.arctan(focal * slope / np.median(depth_m[head])) if len(slope) else slope
    filled = np.zeros_like(head)
    for row, of_head in zip(filled, head):
        columns = np.flatnonzero(of_head)
        row[columns.min(initial=len(row)):columns.max(initial=0) + 1] = True
    inside = distance_transform_edt(filled) >= 4
    top = inside & (np.cumsum(filled) <= filled.sum() / 3).reshape(filled.shape)
    widths, flying = edges(depth_m, limit)
    return {
        'noise_mm': 1000 * _quantile(deviation, 0.5),
        'noise_p90_mm': 1000 * _quantile(deviation, 0.9),
        'noise_flat_mm': 1000 * _quantile(deviation[inclination < FLAT], 0.5),
        'noise_steep_mm': 1000 * _quantile(deviation[inclination > STEEP], 0.5),
        'alike': alike,
        'step_mm': 1000 * _quantile(np.diff(np.unique(depth_m[head].round(5))), 0.5),
        'hole_percent': _percent(depth_m[inside] == 0),
        'top_hole_percent': _percent(depth_m[top] == 0),
        'flying_percent': 100 * flying / len(widths) if len(widths) else np.nan,
        'gap_px': _quantile(widths, 0.5),
        'gap_p90_px': _quantile(widths, 0.9),
        'behind_percent': _percent(depth_m[~filled] > 0)}


def _percent(which: np.ndarray) -> float:
    return 100 * float(which.mean()) if which.size else np.nan


def _quantile(values: np.ndarray, fraction: float) -> float:
    return float(np.quantile(values, fraction)) if len(values) else np.nan


def surface_deviation(depth_m: np.ndarray, head: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit quadratic surfaces in windows within a head (H, W) bool.

    :returns: standard deviations (N,) m from the surfaces, their slopes (N,) m per pixel, and the
        correlation of the deviations of neighbours in a row, NaN without windows.
    """
    size = 2 * HALF + 1
    v, u = np.mgrid[-HALF:HALF + 1, -HALF:HALF + 1].reshape(2, -1) / HALF
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], 1)
    fit = np.linalg.pinv(basis)
    residual = np.eye(size * size) - basis @ fit
    windows = np.lib.stride_tricks.sliding_window_view(depth_m, (size, size))[::2, ::2]
    whole = np.lib.stride_tricks.sliding_window_view(head, (size, size))[::2, ::2].all((2, 3))
    windows = windows[whole].reshape(-1, size * size)
    smooth = np.ptp(windows, axis=1) < 0.04  # excludes edges, such as those of a nose
    rest = windows[smooth] @ residual.T
    slope = np.linalg.norm(windows[smooth] @ fit[1:3].T, axis=1) / HALF
    variance = (rest ** 2).sum(1) / (size * size - basis.shape[1])
    rest = rest.reshape(-1, size, size)
    if not len(rest):
        return np.zeros(0), np.zeros(0), np.nan
    return np.sqrt(variance), slope, float((rest[:, :, 1:] * rest[:, :, :-1]).mean() / (rest ** 2).mean())


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
