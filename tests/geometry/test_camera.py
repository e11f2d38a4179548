# SPDX-License-Identifier: Apache-2.0
"""Cameras: pixels to rays and back, units of depth, point maps."""
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.geometry.camera import Intrinsics, depth_around, depth_in_metres, point_map

DISTORTIONS = {
    'none': ((), 'plumb_bob'),
    'plumb_bob': ((0.08, -0.19, 0.0007, -0.0004, 0.08), 'plumb_bob'),
    # Azure Kinect, narrow field of view
    'rational_polynomial': ((5.9, 4.0, 6e-05, -6e-05, 0.2, 6.24, 5.87, 1.15), 'rational_polynomial'),
    'equidistant': ((0.02, -0.004, 0.001, -0.0002), 'equidistant'),
}


def camera(name='none'):
    coefficients, model = DISTORTIONS[name]
    return Intrinsics(504.0, 505.0, 320.5, 287.0, coefficients, model)


def opencv_projection(intrinsics, directions):
    matrix = np.array([[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1]])
    points = np.concatenate([directions, np.ones((len(directions), 1))], axis=1)[:, None]
    project = cv2.fisheye.projectPoints if intrinsics.distortion_model == 'equidistant' else cv2.projectPoints
    coefficients = np.array(intrinsics.distortion) if intrinsics.distortion else np.zeros(4)
    return project(points, np.zeros((3, 1)), np.zeros((3, 1)), matrix, coefficients)[0][:, 0]


@pytest.mark.parametrize('name', DISTORTIONS)
def test_projection_is_opencvs(name):
    directions = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    u, v = camera(name).project(*directions.T)
    np.testing.assert_allclose(np.stack([u, v], axis=1), opencv_projection(camera(name), directions), atol=1e-6)


@pytest.mark.parametrize('name', DISTORTIONS)
def test_every_pixel_goes_out_along_its_ray_and_comes_back(name):
    u, v = np.meshgrid(np.arange(640, dtype=np.float32), np.arange(576, dtype=np.float32))
    x, y = camera(name).unproject(u, v)
    back_u, back_v = camera(name).project(x.astype(np.float64), y.astype(np.float64))
    assert max(np.abs(back_u - u).max(), np.abs(back_v - v).max()) < 2e-3


def test_distortion_of_zeros_is_none():
    assert Intrinsics(500., 500., 320., 240., (0., 0., 0., 0., 0.)).distortion == ()


def test_unknown_distortion_says_which_are_known():
    with pytest.raises(ValueError, match="'magic'.*plumb_bob"):
        Intrinsics(500., 500., 320., 240., (0.1,), 'magic')


@pytest.mark.parametrize('values', [(0, 500, 1, 1), (500, -1, 1, 1), (float('nan'), 1, 1, 1), (1, 1, float('inf'), 1)])
def test_an_uncalibrated_camera_is_refused(values):
    with pytest.raises(ValueError, match='calibrated'):
        Intrinsics(*values).check()


def test_millimetres_and_metres_mean_the_same():
    millimetres = np.array([[0, 1, 999], [1000, 2500, 65535]], np.uint16)
    metres = np.array([[0, 0.001, 0.999], [1, 2.5, 65.535]], np.float32)
    np.testing.assert_allclose(depth_in_metres(millimetres), metres, rtol=1e-6)
    np.testing.assert_array_equal(depth_in_metres(metres), metres)


def test_what_is_no_depth_becomes_zero():
    bad = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, -0.0]], np.float32)
    np.testing.assert_array_equal(depth_in_metres(bad), np.zeros((1, 6), np.float32))


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.float64), np.zeros((4, 4), np.int32), np.zeros((4, 4), bool)])
def test_other_dtypes_are_refused_with_what_was_expected(image):
    with pytest.raises(ValueError, match=f'{image.dtype}.*uint16.*float32'):
        depth_in_metres(image)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), first=st.integers(0, 5), stride=st.integers(1, 7),
       fx=st.floats(50, 2000), cy=st.floats(-50, 100))
def test_a_point_map_projects_back_onto_its_pixels(height, width, first, stride, fx, cy):
    intrinsics = Intrinsics(fx, 400., 13.5, cy)
    depth = np.random.default_rng(1).uniform(0.2, 5, (height, width)).astype(np.float32)
    points = point_map(depth, intrinsics, first, stride)
    np.testing.assert_array_equal(points[..., 2], depth)
    u, v = intrinsics.project(points[..., 0] / depth, points[..., 1] / depth)
    expected_u, expected_v = np.meshgrid(first + stride * np.arange(width), first + stride * np.arange(height))
    np.testing.assert_allclose(u, expected_u, atol=1e-2)
    np.testing.assert_allclose(v, expected_v, atol=1e-2)


def test_torch_and_numpy_agree():
    torch = pytest.importorskip('torch')
    depth = np.random.default_rng(2).uniform(0.2, 5, (12, 17)).astype(np.float32)
    expected = point_map(depth, camera('rational_polynomial'), 2, 3)
    found = point_map(torch.from_numpy(depth), camera('rational_polynomial'), 2, 3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize('name', DISTORTIONS)
def test_the_pixels_around_a_point_lie_around_it(name):
    intrinsics = camera(name)
    v, u = np.mgrid[:576, :640]
    depth = (2 + 0.001 * u + 0.002 * v).astype(np.float32)
    points = np.random.default_rng(3).uniform((-0.5, -0.5, 1), (0.5, 0.5, 1), (1, 50, 3)).transpose(0, 2, 1)
    depth_m, x, y, near = depth_around(depth, intrinsics, points.astype(np.float32))
    np.testing.assert_allclose(near.sum(axis=(1, 2)), 1, atol=1e-5)
    u, v = intrinsics.project(points[:, 0], points[:, 1])
    np.testing.assert_allclose((near * depth_m).sum(axis=(1, 2)), 2 + 0.001 * u + 0.002 * v, atol=1e-5)
    for rays, expected in ((x, points[:, 0]), (y, points[:, 1])):
        np.testing.assert_allclose((near * rays).sum(axis=(1, 2)), expected, atol=1e-5)


@pytest.mark.parametrize('height, width', [(1, 1), (1, 5), (5, 1), (4, 6)])
def test_beyond_the_image_there_is_nothing_around_a_point(height, width):
    intrinsics = Intrinsics(1., 1., 0., 0.)
    pixels = np.random.default_rng(4).uniform(-3, 9, (2, 200))
    points = np.stack([*pixels, np.ones(200)])[None].astype(np.float32)
    _, _, _, near = depth_around(np.ones((height, width), np.float32), intrinsics, points)
    outside = [np.maximum(0 - pixel, pixel - (size - 1)).clip(0, 1) for pixel, size in zip(pixels, (width, height))]
    expected = (1 - outside[0]) * (1 - outside[1])
    if min(height, width) > 1:
        np.testing.assert_allclose(near.sum(axis=(1, 2))[0], expected, atol=1e-5)
    assert (near.sum(axis=(1, 2))[0][expected == 0] == 0).all()
