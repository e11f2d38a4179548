# SPDX-License-Identifier: Apache-2.0
"""Statistics of noise, holes and edges recover the simulated values."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

pytest.importorskip('torch')

from training.evaluation.depth_statistics import head_statistics

LIMIT, FOCAL = 1.0, 400.0


def egg(noise=0.0):
    """Return depth of a head-like bulge at 0.8 m before a wall at 1.5 m, 120 x 120 pixels."""
    v, u = np.mgrid[-60:60, -60:60] / 45
    inside = u * u + v * v < 1
    bulge = 0.86 - 0.08 * np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    return np.where(inside, bulge + noise, 1.5), inside


@pytest.mark.parametrize('sigma', [0.0005, 0.002])
def test_the_measured_noise_is_the_added_noise(sigma):
    noise = np.random.default_rng(0).normal(0, sigma, (120, 120))
    depth, _ = egg(noise)
    found = head_statistics(depth, LIMIT, FOCAL)
    assert found['noise_mm'] == pytest.approx(1000 * sigma, rel=0.1)
    assert found['noise_p90_mm'] < 1500 * sigma
    assert abs(found['alike']) < 0.2
    assert (found['hole_percent'], found['flying_percent'], found['gap_px']) == (0, 0, 0)


def test_smooth_noise_is_alike_among_neighbours():
    white = np.random.default_rng(0).normal(0, 1, (120, 120))
    rough, smooth = (head_statistics(egg(0.002 * image / image.std())[0], LIMIT, FOCAL)['alike']
                     for image in (white, gaussian_filter(white, 1.2)))
    assert smooth > rough + 0.4


def test_holes_count_within_the_head_only():
    depth, _ = egg()
    rng = np.random.default_rng(0)
    holes = rng.random(depth.shape) < 0.1
    found = head_statistics(np.where(holes, 0, depth), LIMIT, FOCAL)
    assert found['hole_percent'] == pytest.approx(10, abs=1.5)
    beside = np.where(np.arange(120) < 12, 0, depth)  # left of the head
    assert head_statistics(beside, LIMIT, FOCAL)['hole_percent'] == 0


def test_edges_with_gaps_and_flying_pixels():
    depth, inside = egg()
    first = inside.argmax(1)
    gap, flying = depth.copy(), depth.copy()
    for row in np.flatnonzero(inside.any(1)):
        gap[row, first[row] - 4:first[row]] = 0
        last = np.flatnonzero(inside[row])[-1]
        gap[row, last + 1:last + 5] = 0
        flying[row, first[row] - 1] = 1.2
    assert head_statistics(gap, LIMIT, FOCAL)['gap_px'] == 4
    assert head_statistics(flying, LIMIT, FOCAL)['flying_percent'] == pytest.approx(50, abs=5)
