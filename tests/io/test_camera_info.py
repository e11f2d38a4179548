# SPDX-License-Identifier: Apache-2.0
"""A camera_info is converted to the intrinsics of its image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.camera_info import intrinsics_from_camera_info, is_other_frame, is_rectified

LENS = [0.1, -0.2, 0.001, -0.002, 0.05]


def camera_info(**changes) -> SimpleNamespace:
    """Return a camera_info of 640x480 pixels. K and P differ, which shows the one that is used."""
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


def test_a_rectified_image_follows_p_for_any_lens():
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


def test_a_binned_region_has_the_same_viewing_rays():
    """Four sensor pixels are binned to one: its centre, unprojected, is the mean of theirs."""
    roi = SimpleNamespace(x_offset=100, y_offset=60, width=320, height=200)
    info = camera_info(binning_x=2, binning_y=2, roi=roi)
    sensor = intrinsics_from_camera_info(camera_info(), 480, 640)
    image = intrinsics_from_camera_info(info, 100, 160)
    u, v = np.array([0.0, 7.0, 159.0]), np.array([0.0, 99.0, 50.0])
    of_four = [sensor.unproject(100 + 2 * u + i, 60 + 2 * v + j) for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(image.unproject(u, v), np.mean(of_four, axis=0), atol=1e-12)


@pytest.mark.parametrize('info, text', [
    (camera_info(width=320, height=240), '320x240 pixels, the depth image has 640x480'),
    (camera_info(width=1280, height=720), '1280x720 pixels, the depth image has 640x480'),
    (camera_info(width=848, height=480), 'not that of the colour camera'),
    (camera_info(k=[0.0] * 9, d=LENS), 'no calibration'),
    (camera_info(k=[0.0] * 9, p=[0.0] * 12), 'no calibration'),
    (camera_info(k=[float('nan')] * 9, p=[float('nan')] * 12), 'no calibration'),
    (camera_info(k=[], p=[]), 'no calibration'),
    (camera_info(d=[0.1, float('nan'), 0, 0, 0]), 'NaN or infinity in D'),
    (camera_info(d=[float('inf'), 0, 0, 0, 0]), 'NaN or infinity in D'),
    (camera_info(d=LENS, distortion_model='magic'), "'magic'"),
])
def test_unusable_camera_infos_are_reported(info, text):
    with pytest.raises(ValueError, match=text):
        intrinsics_from_camera_info(info, 480, 640)


NAN, INF = float('nan'), float('inf')
K_OF_TWICE_THE_SIZE = [1000.0, 0, 640, 0, 1000, 480, 0, 0, 1]
P_OF_TWICE_THE_SIZE = [800.0, 0, 640, 0, 0, 820, 480, 0, 0, 0, 1, 0]


@pytest.mark.parametrize('p', [[NAN] * 12, [-400.0, 0, 320, 0, 0, 410, 240, 0, 0, 0, 1, 0],
                               [1e39, 0, 320, 0, 0, 410, 240, 0, 0, 0, 1, 0], P_OF_TWICE_THE_SIZE])
def test_where_p_cannot_be_right_k_counts(p):
    assert intrinsics_from_camera_info(camera_info(p=p), 480, 640) == Intrinsics(500, 510, 310, 250)


@pytest.mark.parametrize('d', [[NAN] * 5, [INF, 0, 0, 0, 0], [1e39] * 5])
def test_coefficients_of_a_rectified_image_do_not_count(d):
    found = intrinsics_from_camera_info(camera_info(d=d), 480, 640, rectified=True)
    assert found == Intrinsics(400, 410, 320, 240)


def test_where_k_counts_p_may_be_anything():
    found = intrinsics_from_camera_info(camera_info(d=LENS, p=P_OF_TWICE_THE_SIZE), 480, 640)
    assert found == Intrinsics(500, 510, 310, 250, tuple(LENS))


@pytest.mark.parametrize('changes, text', [
    ({'d': [NAN] * 5}, 'NaN or infinity in D'),
    ({'d': [0.1, INF, 0, 0, 0]}, 'NaN or infinity in D'),
    ({'d': [0.1] * 14}, '14 distortion coefficients'),
    ({'d': LENS, 'k': [-500.0, 0, 310, 0, 510, 250, 0, 0, 1]}, 'focal lengths > 0'),
    ({'d': LENS, 'k': [1e39, 0, 310, 0, 510, 250, 0, 0, 1]}, 'finite numbers below'),
    ({'d': LENS, 'k': K_OF_TWICE_THE_SIZE}, 'of another image size'),
    ({'k': K_OF_TWICE_THE_SIZE, 'p': P_OF_TWICE_THE_SIZE}, 'of another image size'),
    ({'k': [500.0, 0, 0, 0, 510, 0, 0, 0, 1], 'p': []}, 'of another image size'),
])
def test_a_camera_that_cannot_be_right_is_named_by_its_cause(changes, text):
    with pytest.raises(ValueError, match=text):
        intrinsics_from_camera_info(camera_info(**changes), 480, 640)


@pytest.mark.parametrize('factor', [2, 4])
def test_an_image_of_every_so_many_pixels_keeps_its_directions(factor):
    image = intrinsics_from_camera_info(camera_info(), 480 // factor, 640 // factor)
    assert image.fx == 400 / factor and image.fy == 410 / factor
    assert image.cx == pytest.approx((320 + 0.5) / factor - 0.5)


def test_a_decimated_region_of_interest():
    roi = SimpleNamespace(x_offset=100, y_offset=60, width=320, height=200)
    image = intrinsics_from_camera_info(camera_info(roi=roi), 100, 160)
    binned = intrinsics_from_camera_info(camera_info(roi=roi, binning_x=2, binning_y=2), 100, 160)
    assert image == binned


def test_an_image_of_the_calibrated_size_contradicts_its_binning():
    found = intrinsics_from_camera_info(camera_info(binning_x=2, binning_y=2), 480, 640)
    assert found == Intrinsics(400, 410, 320, 240)


def test_an_offset_without_a_region_is_none():
    roi = SimpleNamespace(x_offset=100, y_offset=60, width=0, height=0)
    found = intrinsics_from_camera_info(camera_info(roi=roi), 480, 640)
    assert found == Intrinsics(400, 410, 320, 240)


def test_a_stereo_camera_on_the_right_has_the_same_rays():
    p = [400.0, 0, 320, -40, 0, 410, 240, 0, 0, 0, 1, 0]
    found = intrinsics_from_camera_info(camera_info(p=p, r=[0.0] * 9), 480, 640)
    assert found == Intrinsics(400, 410, 320, 240)


@pytest.mark.parametrize('given_name, model', [
    ('fisheye', 'equidistant'), ('Kannala Brandt4', 'equidistant'), ('radtan', 'plumb_bob'),
    ('', 'plumb_bob'), ('Brown-Conrady', 'plumb_bob'), ('RATIONAL_POLYNOMIAL', 'rational_polynomial')])
def test_lens_models_by_other_names(given_name, model):
    found = intrinsics_from_camera_info(
        camera_info(d=[0.1, -0.02, 0.001, 0], distortion_model=given_name), 480, 640)
    assert found.distortion_model == model and found.distortion == (0.1, -0.02, 0.001, 0)


@pytest.mark.parametrize('topic, rectified', [
    ('/camera/depth/image_rect_raw', True), ('/camera/depth/image_rect/compressedDepth', True),
    ('/camera/depth/image_rect_raw/compressed', True), ('/zed/depth_rectified', True),
    ('/camera/imageRect', True), ('/camera/depth/image_raw', False), ('/rect/image', False),
    ('/camera/image_direct', False), ('/camera/image_corrected', False),
    ('/camera/image_unrectified', False)])
def test_rectified_topics_by_their_names(topic, rectified):
    assert is_rectified(topic) == rectified


ODD = st.one_of(st.floats(), st.sampled_from([0.0, 320.0, 500.0, 1e39, -1e300]))


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, min_size=9, max_size=9), st.lists(ODD, min_size=12, max_size=12),
       st.lists(ODD, max_size=15), st.sampled_from(['plumb_bob', 'fisheye', '', 'x']), st.booleans(),
       st.lists(st.sampled_from([0, 1, 2, 3, 640, 2**32 - 1]), min_size=8, max_size=8))
def test_any_numbers_give_a_camera_or_one_sentence(k, p, d, model, rectified, sizes):
    width, height, x, y, w, h, bx, by = sizes
    info = camera_info(k=k, p=p, d=d, distortion_model=model, binning_x=bx, binning_y=by,
                       width=width, height=height,
                       roi=SimpleNamespace(x_offset=x, y_offset=y, width=w, height=h))
    try:
        found = intrinsics_from_camera_info(info, 480, 640, rectified)
    except ValueError as error:
        assert '\n' not in str(error) and len(str(error)) < 600
    else:
        found.check()


@pytest.mark.parametrize('focal', [0.9, 5.0, 50_000.0])
def test_focal_lengths_that_are_not_in_pixels_are_refused(focal):
    k = [focal, 0, 310, 0, focal, 250, 0, 0, 1]
    with pytest.raises(ValueError, match='expected focal lengths in pixels, 0.1 to 20 times'):
        intrinsics_from_camera_info(camera_info(k=k, p=[0.0] * 12), 480, 640)


def test_an_image_that_was_turned_by_a_quarter_is_named_as_such():
    with pytest.raises(ValueError, match='640x480 .* has 480x640: it was turned by a quarter'):
        intrinsics_from_camera_info(camera_info(), 640, 480)


@pytest.mark.parametrize('one, other, expected', [
    ('camera', 'camera', False), ('/camera', 'camera', False), ('', 'camera', False),
    ('color', 'camera', True), ('camera/color', 'color', True)])
def test_frames_are_compared_as_tf2_names_them(one, other, expected):
    assert is_other_frame(one, other) is expected
