# SPDX-License-Identifier: Apache-2.0
"""Cameras: pixels to rays and back, units of depth, point maps."""
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthface_ros.geometry.camera import (
    Intrinsics,
    check_camera,
    depth_around,
    depth_in_metres,
    measured_points,
    point_map,
)

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


def test_an_unknown_distortion_model_is_an_error_with_the_supported_ones():
    with pytest.raises(ValueError, match="'magic'.*plumb_bob"):
        Intrinsics(500., 500., 320., 240., (0.1,), 'magic')


@pytest.mark.parametrize('values', [(0, 500, 1, 1), (500, -1, 1, 1), (float('nan'), 1, 1, 1), (1, 1, float('inf'), 1)])
def test_an_uncalibrated_camera_is_refused(values):
    with pytest.raises(ValueError, match='calibrated'):
        Intrinsics(*values).check()


def test_millimetres_and_metres_mean_the_same():
    millimetres = np.array([[0, 1, 999], [1000, 2500, 65534]], np.uint16)
    metres = np.array([[0, 0.001, 0.999], [1, 2.5, 65.534]], np.float32)
    np.testing.assert_allclose(depth_in_metres(millimetres), metres, rtol=1e-6)
    np.testing.assert_array_equal(depth_in_metres(metres), metres)


def test_invalid_depth_becomes_zero():
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


def test_the_largest_number_means_no_depth():
    assert depth_in_metres(np.array([0, 65534, 65535], np.uint16)).tolist() == [0, pytest.approx(65.534), 0]
    assert depth_in_metres(np.array([1e10, np.finfo('f4').max, 2], np.float32)).tolist() == [0, 0, 2]


# microsoft/Azure_Kinect_ROS_Driver#44: the colour camera, at 1280 pixels of width
AZURE = (0.7799050211906433, -2.9802768230438232, 0.0007482637884095311, 5.6622509873704985e-05,
         1.6997523307800293, 0.6572195887565613, -2.811908721923828, 1.6302372217178345)


@pytest.mark.parametrize('width, height', [(640, 576), (1280, 720), (3840, 2160)])
def test_rays_to_first_order_miss_those_of_the_lens_by_little(width, height):
    """Points half a pixel off the grid are interpolated within 0.01 px and 0.02 mm at 1 m."""
    scale = width / 1280
    intrinsics = Intrinsics(604.88 * scale, 604.94 * scale, 636.93 * scale, height / 2, AZURE,
                            'rational_polynomial')
    rng = np.random.default_rng(5)
    pixels = rng.integers((0, 0), (width, height), (20000, 2)).T
    pixels[:, :4] = [[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1]]  # the corners
    exact = np.stack(intrinsics.unproject(*pixels))
    beside = np.stack(intrinsics.unproject(*(pixels + rng.uniform(-0.49, 0.49, pixels.shape))))
    points = np.concatenate([beside, np.ones_like(beside[:1])])[None].astype(np.float32)
    depth = np.ones((height, width), np.float32)
    found = measured_points(depth, intrinsics, points)[0]
    kept = found[2] > 0
    assert kept.mean() > 0.999  # rounding may take the others out of the image
    assert np.abs(found[:2] - exact)[:, kept].max() < 2e-5  # m at 1 m
    u, v = intrinsics.project(*found[:2, kept].astype(np.float64))
    assert max(np.abs(u - pixels[0, kept]).max(), np.abs(v - pixels[1, kept]).max()) < 0.01


@pytest.mark.parametrize('shape', [(1, 3000), (3000, 1), (1, 1), (2160, 3840)])
def test_images_of_any_shape_of_a_distorted_camera_are_points_of_their_pixels(shape):
    height, width = shape
    focal = max(shape) / 2
    intrinsics = Intrinsics(focal, focal, width / 2, height / 2, (0.1, -0.05, 1e-3, 1e-3, 0.01))
    stride = max(1, max(shape) // 200)
    depth = np.ones(shape, np.float32)[::stride, ::stride]
    points = point_map(depth, intrinsics, 0, stride)
    u, v = intrinsics.project(points[..., 0].astype(float), points[..., 1].astype(float))
    expected = np.meshgrid(np.arange(depth.shape[1]) * stride, np.arange(depth.shape[0]) * stride)
    np.testing.assert_allclose(np.stack([u, v]), expected, atol=2e-3)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('coefficients, model', [
    ((-0.6, 0.0, 0.0, 0.0, 0.0), 'plumb_bob'), ((0.0, 0.0, 0.0, 0.0, -0.5), 'plumb_bob'),
    ((0, 0, 0, 0, 0, -0.5, 0, 0), 'rational_polynomial'), ((-0.4, 0.0, 0.0, 0.0), 'equidistant')])
def test_where_a_lens_has_no_ray_nothing_is_measured(coefficients, model):
    """Such lenses fold back: pixels near the corners have no direction."""
    intrinsics = Intrinsics(150., 150., 160., 120., coefficients, model)
    points = point_map(np.full((240, 320), 2, np.float32), intrinsics)
    assert np.isfinite(points).all()
    missing = points[..., 2] == 0
    assert missing[0, 0] == np.isnan(intrinsics.unproject(np.zeros(1), np.zeros(1))[0][0])
    u, v = intrinsics.project(*np.moveaxis(points[..., :2].astype(float) / 2, -1, 0))
    expected = np.meshgrid(np.arange(320), np.arange(240))
    assert np.abs(np.stack([u, v]) - expected)[:, ~missing].max() < 0.01
    beyond = np.array([[[40.0, -1e4], [0, 3], [1, 1]]], np.float32)
    assert (measured_points(np.ones((240, 320), np.float32), intrinsics, beyond) == 0).all()


@pytest.mark.parametrize('numbers', [
    [np.float32(500), np.float64(501), np.int64(320), np.array(240)], np.array([500, 501, 320, 240]),
    (500, 501, 320, 240)])
@pytest.mark.parametrize('distortion', [None, [], [0, 0], np.zeros(5), np.array([0.1, 0, 0, 0, 0], 'f4'), [0.1]])
def test_any_sequence_of_numbers_is_a_camera(numbers, distortion):
    camera = check_camera(np.ones((480, 640), np.float32), Intrinsics(*numbers, distortion))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 501, 320, 240)
    assert all(type(value) is float for value in (camera.fx, camera.fy, camera.cx, camera.cy))
    assert isinstance(camera.distortion, tuple)
    depth = np.ones((4, 6), np.float32)
    assert point_map(depth, camera).dtype == np.float32


@pytest.mark.parametrize('values, distortion, text', [
    ((1e39, 500, 320, 240), (), 'below 1e\\+09'), ((500, 500, 320, 240), (-5.0, 0, 0, 0, 0), 'viewing rays'),
    ((np.full(2, 500.), 500, 320, 240), (), 'arrays')])
def test_intrinsics_that_do_not_fit_the_image_are_named(values, distortion, text):
    with pytest.raises(ValueError, match=text):
        check_camera(np.ones((480, 640), np.float32), Intrinsics(*values, distortion))


@pytest.mark.parametrize('name', DISTORTIONS)
def test_crops_and_alignments_read_the_same_points_by_torch(name):
    torch = pytest.importorskip('torch')
    intrinsics = camera(name)
    depth = np.random.default_rng(6).uniform(0.8, 1.2, (576, 640)).astype(np.float32)
    points = np.random.default_rng(7).uniform((-1, -1, -1), (1, 1, 2), (3, 200, 3)).astype(np.float32)
    points = np.ascontiguousarray(points.transpose(0, 2, 1))
    for function in (measured_points, depth_around):
        found = function(torch.from_numpy(depth), intrinsics, torch.from_numpy(points))
        expected = function(depth, intrinsics, points)
        if function is measured_points:
            found, expected = (found,), (expected,)
        for one, other in zip(found, expected):
            assert one.dtype == torch.float32 and other.dtype == np.float32
            close = np.isclose(one.numpy(), other, rtol=1e-4, atol=1e-4)
            assert close.mean() > 0.99  # a pixel's border may fall to either side
