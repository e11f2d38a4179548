# SPDX-License-Identifier: Apache-2.0
"""What noise, holes and edges of depth images amount to, in numbers that real and synthetic share."""
from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, label

HALF = 3  # px; surfaces are fitted in windows of 2 HALF + 1
JUMP = 0.08  # m between a person and what is behind


def image_statistics(depth_m: np.ndarray, reach: float = 0.25) -> dict[str, float]:
    """Statistics of the nearest thing in an image: a person's head, in a crop around it.

    depth_m: (H, W) metres, 0 invalid; reach: m behind the nearest (2nd percentile) that still
    belongs to the thing. Returns
    noise_mm:     median standard deviation from a quadratic surface, in windows of 7 x 7 pixels
    noise_p90_mm: the 90th percentile of the same
    alike:        correlation of that deviation between neighbours in a row
    hole_percent: pixels without depth among those of the thing (4 px and more from its outline)
    flying_percent: pixels between the thing and its background, per pixel of its outline
    gap_px:       median count of pixels without depth between thing and background
    NaN where an image shows too little of something.
    """
    near = np.percentile(depth_m[depth_m > 0], 2)
    thing = (depth_m > 0) & (depth_m < near + reach)
    pieces, count = label(thing)
    thing = pieces == np.bincount(pieces[thing]).argmax() if count else thing
    deviation, alike = surface_deviation(depth_m, thing)
    filled = np.zeros_like(thing)
    for row, of_thing in enumerate(thing):
        columns = np.flatnonzero(of_thing)
        if len(columns):
            filled[row, columns[0]:columns[-1] + 1] = True
    inside = distance_transform_edt(filled) >= 4
    gaps, flying, outlines = edges(depth_m, near + reach)
    return {
        'noise_mm': 1000 * float(np.median(deviation)) if len(deviation) else np.nan,
        'noise_p90_mm': 1000 * float(np.percentile(deviation, 90)) if len(deviation) else np.nan,
        'alike': alike,
        'hole_percent': 100 * float((depth_m[inside] == 0).mean()) if inside.any() else np.nan,
        'flying_percent': 100 * flying / outlines if outlines else np.nan,
        'gap_px': float(np.median(gaps)) if len(gaps) else np.nan}


def surface_deviation(depth_m: np.ndarray, thing: np.ndarray) -> tuple[np.ndarray, float]:
    """Standard deviations (N,) m from quadratic surfaces in windows within a thing (H, W), and how
    alike neighbours' deviations are."""
    size = 2 * HALF + 1
    v, u = np.mgrid[-HALF:HALF + 1, -HALF:HALF + 1].reshape(2, -1) / HALF
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], 1)
    residual = np.eye(size * size) - basis @ np.linalg.pinv(basis)
    windows = np.lib.stride_tricks.sliding_window_view(depth_m, (size, size))[::2, ::2]
    whole = np.lib.stride_tricks.sliding_window_view(thing, (size, size))[::2, ::2].all((2, 3))
    windows = windows[whole].reshape(-1, size * size)
    smooth = np.ptp(windows, axis=1) < 0.04  # no edge of a nose within
    rest = windows[smooth] @ residual.T
    variance = (rest ** 2).sum(1) / (size * size - basis.shape[1])
    rest = rest.reshape(-1, size, size)
    if not len(rest):
        return np.zeros(0), np.nan
    return np.sqrt(variance), float((rest[:, :, 1:] * rest[:, :, :-1]).mean() / (rest ** 2).mean())


def edges(depth_m: np.ndarray, limit: float) -> tuple[np.ndarray, int, int]:
    """Along rows, from a thing nearer than a limit (m) to a background JUMP behind it: the counts
    of pixels without depth between them, how many pixels fly, how many edges there are."""
    gaps, flying = [], 0
    for row in depth_m:
        valid = np.flatnonzero(row)
        z = row[valid]
        step = np.flatnonzero((np.minimum(z[1:], z[:-1]) < limit) & (np.abs(np.diff(z)) > JUMP)
                              & (np.maximum(z[1:], z[:-1]) > limit))
        gaps += (valid[step + 1] - valid[step] - 1).tolist()
        middle = z[1:-1]
        low, high = np.minimum(z[:-2], z[2:]), np.maximum(z[:-2], z[2:])
        flying += int(((middle > low + 0.02) & (middle < high - 0.02) & (low < limit)
                       & (high - low > JUMP)).sum())
    return np.array(gaps), flying, len(gaps)
