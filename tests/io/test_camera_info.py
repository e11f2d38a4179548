# SPDX-License-Identifier: Apache-2.0
"""A camera_info becomes the intrinsics of the image that it goes with."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info

LENS = [0.1, -0.2, 0.001, -0.002, 0.05]


def camera_info(**changes) -> SimpleNamespace:
    """A calibrated camera of 640x480 pixels; K and P differ, so that one sees which was used."""
    fields = {'width': 640, 'height': 480, 'distortion_model': 'plumb_bob', 'd': [0.0] * 5,
              'k': [500.0, 0, 310, 0, 510, 250, 0, 0, 1],
              'p': [400.0, 0, 320, 0, 0, 410, 240, 0, 0, 0, 1, 0],
              'binning_x': 0, 'binning_y': 0,
              'roi': SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)}
    return SimpleNamespace(**fields | changes)


def test_without_distortion_p_counts():
    assert intrinsics_from_camera_info(camera_info(), 480, 640) == Intrinsics(400, 410, 320, 240)


def test_a_raw_image_follows_k_and_the_lens():
    found = intrinsics_from_camera_info(camera_info(d=LENS), 480, 640)
    assert found == Intrinsics(500, 510, 310, 250, tuple(LENS))


def test_a_rectified_image_follows_p_whatever_the_lens():
    found = intrinsics_from_camera_info(camera_info(d=LENS), 480, 640, rectified=True)
    assert found == Intrinsics(400, 410, 320, 240)


@pytest.mark.parametrize('k', [[0.0] * 9, [float('nan')] * 9, []])
@pytest.mark.parametrize('d, rectified', [([], False), ([0.0] * 8, False), (LENS, True)])
def test_where_p_counts_k_may_be_missing(k, d, rectified):
    found = intrinsics_from_camera_info(camera_info(k=k, d=d), 480, 640, rectified)
    assert found == Intrinsics(400, 410, 320, 240)


@pytest.mark.parametrize('p', [[0.0] * 12, []])
def test_without_p_k_counts(p):
    found = intrinsics_from_camera_info(camera_info(p=p), 480, 640)
    assert found == Intrinsics(500, 510, 310, 250)


def test_a_binned_region_sees_the_same_directions():
    """Four sensor pixels make one: its centre, unprojected, is the mean of theirs."""
    roi = SimpleNamespace(x_offset=100, y_offset=60, width=320, height=200)
    info = camera_info(binning_x=2, binning_y=2, roi=roi)
    sensor = intrinsics_from_camera_info(camera_info(), 480, 640)
    image = intrinsics_from_camera_info(info, 100, 160)
    u, v = np.array([0.0, 7.0, 159.0]), np.array([0.0, 99.0, 50.0])
    of_four = [sensor.unproject(100 + 2 * u + i, 60 + 2 * v + j) for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(image.unproject(u, v), np.mean(of_four, axis=0), atol=1e-12)


@pytest.mark.parametrize('info, text', [
    (camera_info(width=320, height=240), '320x240 pixels, the depth image has 640x480'),
    (camera_info(binning_x=2, binning_y=2), '320x240 pixels, the depth image has 640x480'),
    (camera_info(k=[0.0] * 9, d=LENS), 'no calibration'),
    (camera_info(k=[0.0] * 9, p=[0.0] * 12), 'no calibration'),
    (camera_info(k=[float('nan')] * 9, p=[float('nan')] * 12), 'no calibration'),
    (camera_info(k=[], p=[]), 'no calibration'),
    (camera_info(d=[0.1, float('nan'), 0, 0, 0]), 'NaN or infinity in D'),
    (camera_info(d=[float('inf'), 0, 0, 0, 0]), 'NaN or infinity in D'),
    (camera_info(d=LENS, distortion_model='magic'), "'magic'"),
])
def test_what_cannot_be_used_is_told(info, text):
    with pytest.raises(ValueError, match=text):
        intrinsics_from_camera_info(info, 480, 640)
