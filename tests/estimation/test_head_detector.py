# SPDX-License-Identifier: Apache-2.0
"""The detector's input is geometrically exact, and its outputs are heads in metres."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.estimation.head_detector import (
    DetectorConfig,
    decode,
    detector_input,
    detector_stride,
    non_maximum_suppression,
)
from depthface_ros.geometry.camera import Intrinsics

CAMERA = Intrinsics(500.0, 510.0, 320.0, 240.0)


def empty_answer():
    return np.zeros((30, 40), np.float32), np.zeros((3, 30, 40), np.float32)


def wall(z=2.0):
    return detector_input(np.full((480, 640), z, np.float32), CAMERA)


@pytest.mark.parametrize('size, stride, width', [
    ((480, 640), 4, 160), ((576, 640), 5, 160), ((720, 1280), 6, 224), ((480, 848), 4, 224),
    ((120, 160), 1, 160), ((158, 160), 2, 160), ((1, 1), 1, 160),
    ((424, 512), 4, 160), ((1, 5000), 23, 224)])
def test_any_frame_fits_with_the_smallest_stride(size, stride, width):
    assert detector_stride(*size) == stride
    points = detector_input(np.ones(size, np.float32), CAMERA)
    assert points.shape == (4, 120, width) and points.dtype == np.float32


def test_a_window_of_an_image_is_sampled_as_the_whole_image_would_be():
    """A head has as many pixels as in training."""
    assert detector_stride(111, 107, focal=365.0) == 3
    assert detector_stride(480, 640, focal=525.0) == detector_stride(480, 640) == 4
    window = Intrinsics(365.0, 365.0, 53.0, 55.0)
    points = detector_input(np.ones((111, 107), np.float32), window)
    assert np.count_nonzero(points[3]) == 37 * 36


def test_every_point_of_the_input_projects_to_the_pixel_it_was_sampled_at():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 4, (576, 640)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.3] = 0
    x, y, z, valid = detector_input(depth, CAMERA).astype(np.float64)
    rows, columns = np.nonzero(valid)
    u, v = 2 + 5 * columns, 2 + 5 * rows
    assert len(rows) == np.count_nonzero(depth[2::5, 2::5])
    np.testing.assert_allclose(z[rows, columns], depth[v, u])
    np.testing.assert_allclose(500 * x[rows, columns] / z[rows, columns] + 320, u, atol=1e-3)
    np.testing.assert_allclose(510 * y[rows, columns] / z[rows, columns] + 240, v, atol=1e-3)
    assert not np.any([x[valid == 0], y[valid == 0], z[valid == 0]])


def test_a_peak_is_the_nearest_point_of_its_cell_plus_the_offset():
    depth = np.full((480, 640), 2.0, np.float32)
    depth[4 * 41 + 2, 4 * 62 + 2] = 0.9  # sample (41, 62), in the cell (10, 15)
    heat, offset = empty_answer()
    heat[10, 15] = 0.8
    offset[:, 10, 15] = 0.01, -0.02, 0.1
    centres, scores = decode(heat, offset, detector_input(depth, CAMERA))
    expected = (0.9 * (250 - 320) / 500 + 0.01, 0.9 * (166 - 240) / 510 - 0.02, 1.0)
    np.testing.assert_allclose(centres, [expected], atol=1e-6)
    assert scores == [np.float32(0.8)] and centres.dtype == np.float32


def test_several_heads_come_best_first_and_two_votes_for_one_head_are_one():
    heat, offset = empty_answer()
    points = wall()
    for row, column, score in ((5, 5, 0.6), (20, 30, 0.9), (20, 32, 0.7)):
        heat[row, column] = score
    # both peaks on the right vote for the same place
    reference = points[:3].reshape(3, 30, 4, 40, 4).transpose(0, 1, 3, 2, 4).reshape(3, 30, 40, 16)[..., 0]
    offset[:, 20, 32] = reference[:, 20, 30] - reference[:, 20, 32] + 0.01
    centres, scores = decode(heat, offset, points)
    np.testing.assert_allclose(scores, [0.9, 0.6])
    assert centres[0, 0] > 0 > centres[1, 0]


def test_the_votes_of_the_cells_around_a_peak_are_averaged_and_others_are_not():
    points = wall()
    heat, offset = empty_answer()
    reference = points[:3].reshape(3, 30, 4, 40, 4).transpose(0, 1, 3, 2, 4).reshape(3, 30, 40, 16)
    goal = reference[:, 10, 10, 0] + np.array([0, 0, 0.1], np.float32)
    offset[:] = goal[:, None, None] - reference[..., 0]
    heat[10, 9:12] = 0.5, 1.0, 0.5
    offset[:, 10, 9:12] += np.array([[0.04, 0, 0], [0, 0, -0.02], [0, 0, 0]])  # x, y, z by cell
    heat[10, 14] = 0.2  # below the score of a vote
    offset[:, 10, 14] += 0.05
    (centre,), _ = decode(heat, offset, points)
    np.testing.assert_allclose(centre, goal + [0.01, -0.005, 0], atol=1e-5)


def test_a_head_behind_an_occluder_is_found_as_well():
    depth = np.full((480, 640), 1.5, np.float32)
    depth[4 * 40:4 * 44, 4 * 60:4 * 64] = 1.1  # a hand, in the cell (10, 15)
    heat, offset = empty_answer()
    heat[10, 14:17] = 0.4, 0.5, 0.4
    offset[2, 10, 14:17] = 0.1
    centres, scores = decode(heat, offset, detector_input(depth, CAMERA))
    np.testing.assert_allclose(centres[:, 2], [1.2, 1.6], atol=1e-6)
    np.testing.assert_allclose(scores, [0.5, 0.4])
    heat[10, 14:17] = 0.08, 0.09, 0.08  # below the threshold, and so are two
    assert len(decode(heat, offset, detector_input(depth, CAMERA))[0]) == 1


def test_neighbouring_heads_stay_apart():
    heat, offset = empty_answer()
    heat[15, 15] = heat[15, 18] = 0.9  # 12 cells of 1/500 rad at 2 m: 0.19 m
    assert len(decode(heat, offset, wall())[0]) == 2


@pytest.mark.parametrize('case', ['low', 'nothing measured', 'behind the camera', 'not a number'])
def test_implausible_peaks_are_no_heads(case):
    heat, offset = empty_answer()
    points = wall()
    heat[3, 4] = 0.9 * DetectorConfig().threshold if case == 'low' else 0.9
    if case == 'nothing measured':
        points[:, 12:16, 16:20] = 0
    if case == 'behind the camera':
        offset[2] = -2.5
    if case == 'not a number':
        offset[0, 3, 4] = np.nan
    assert len(decode(heat, offset, points)[0]) == 0


def test_there_are_never_more_heads_than_requested():
    heat, offset = np.random.default_rng(0).random((30, 40)).astype(np.float32), empty_answer()[1]
    assert len(decode(heat, offset, wall(5.0), DetectorConfig(max_heads=3))[0]) == 3


def test_separate_keeps_the_best_of_each_cluster_and_chains_do_not_spread():
    line = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    assert non_maximum_suppression(line, 0.15).tolist() == [0, 2]
    assert non_maximum_suppression(np.zeros((0, 3)), 0.15).tolist() == []
