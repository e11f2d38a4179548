# SPDX-License-Identifier: Apache-2.0
"""Compiled loops compute what array code does, which defines them."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depthface_ros import compiled
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.alignment import Alignment, aligned_triangles, face_modes
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.expression_calibration import (
    CalibratedExpressions,
    ExpressionCalibration,
)
from depthface_ros.estimation.point_to_plane import (
    MeshTriangles,
    distances,
    in_camera,
    measure,
    pixels_around,
    seen_through,
)
from depthface_ros.estimation.refinement import REACH, Refinement
from depthface_ros.estimation.surface import SurfaceDetail, SurfaceModes
from depthface_ros.face_model.expression_regions import MeasuredExpressions
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics, depth_around
from depthface_ros.geometry.crop import crop_in_frame, pose_frame, shape_crop
from depthface_ros.geometry.one_rotation import corrected

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason=f'no Numba: {compiled.WHY_NOT}')

MODEL, MODES, TRIANGLES = FaceModel.load(), face_modes(), None
CAMERA = Intrinsics(190.3, 201.7, 79.5, 60.2)
HEIGHT, WIDTH = 120, 160
UPRIGHT = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])  # camera_from_face of a frontal face

vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array)
places = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(0.35, 2)).map(np.array)
seeds = st.integers(0, 2 ** 16)
dtypes = st.sampled_from([np.uint16, np.float32])
examples = settings(max_examples=25)


def both(compute):
    """Return what compiled loops compute, and what array code does."""
    found = compute()
    compiled.AVAILABLE = False
    try:
        return found, compute()
    finally:
        compiled.AVAILABLE = True


def agree(compute, atol):
    """Assert that results are equal but for rounding, which slanted triangles amplify."""
    for found, expected in zip(*both(compute), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=20 * atol)
        assert np.isclose(found, expected, rtol=1e-4, atol=atol).mean() > 0.99


def poses(places, vectors):
    pose = np.tile(np.eye(4, dtype=np.float32), (len(places), 1, 1))
    pose[:, :3, :3] = Rotation.from_rotvec(np.array(vectors)).as_matrix() @ UPRIGHT
    pose[:, :3, 3] = places
    return pose


def image(seed, dtype, near=0.3, far=2.1):
    """Return an image (H, W) of slopes and steps, with holes and numbers that are no depths."""
    rng = np.random.default_rng(seed)
    depth = near + (far - near) * rng.random((HEIGHT // 10, WIDTH // 10))
    depth = depth.repeat(10, axis=0).repeat(10, axis=1) + 0.02 * rng.random((HEIGHT, WIDTH))
    invalid = rng.random(depth.shape) < 0.1
    if dtype is np.uint16:
        return np.where(invalid, rng.choice([0, 65535], depth.shape), 1000 * depth).astype(dtype)
    return np.where(invalid, rng.choice([0, -1, np.nan, np.inf, 1e6], depth.shape),
                    depth).astype(dtype)


def before_a_wall(pose, seed, dtype=np.uint16):
    """Return an image of a wall at the depth of faces, with noise: all triangles are measured."""
    rng = np.random.default_rng(seed)
    depth = pose[:, 2, 3].mean() + rng.normal(scale=0.01, size=(HEIGHT, WIDTH))
    return (depth * 1000).astype(dtype) if dtype is np.uint16 else depth.astype(dtype)


@given(places, vectors, seeds, dtypes)
@examples
def test_crops_read_the_same_pixels(place, vector, seed, dtype):
    pose, depth = poses([place, -0.3 * place + (0, 0, 1)], [vector, vector / 2]), image(seed, dtype)
    frame = pose_frame(pose[:, :3, 3])
    for compute in (lambda: shape_crop(depth, CAMERA, pose),
                    lambda: crop_in_frame(depth, CAMERA, frame)):
        found, expected = both(compute)
        assert found.shape == expected.shape
        # a point at the limit of the crop may be near or far, by the last digit
        same = found[:, 3] == expected[:, 3]
        assert same.mean() > 0.999
        np.testing.assert_allclose(found[:, :3].swapaxes(0, 1)[:, same],
                                   expected[:, :3].swapaxes(0, 1)[:, same], atol=2e-5)


@given(st.lists(places, min_size=1, max_size=3), seeds, dtypes)
@examples
def test_pixels_around_points_are_the_same(where, seed, dtype):
    rng, depth = np.random.default_rng(seed), image(seed, dtype)
    points = (np.array(where)[..., None] + rng.normal(scale=0.3, size=(len(where), 3, 40)))
    points = points.astype(np.float32)
    found, expected = both(lambda: depth_around(depth, CAMERA, points))
    expected = np.broadcast_arrays(*expected)
    # a point beside the edge of a pixel may lie in the next one
    same = np.isclose(found[1], expected[1], atol=1e-5) & np.isclose(found[2], expected[2],
                                                                   atol=1e-5)
    assert same.mean() > 0.99
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one[same], other[same], atol=2e-4)


def test_points_that_are_not_finite_or_behind_the_camera_read_some_pixel():
    points = np.float32([[np.nan, np.inf, -np.inf, 0, 1e30, 0], [0, 0, 0, np.nan, -1e30, 0],
                         [1, 1, 1, 1, 1e-30, -1]])[None]
    depth, *_ = depth_around(image(0, np.uint16), CAMERA, points)
    assert ((depth == 0) | (depth > 0.2) & (depth < 3)).all()


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_small_images_are_no_exception(shape):
    depth = np.full(shape, 900, np.uint16)
    points = np.float32([[0, 0.1, -3], [0, 0.1, 3], [1, 1, 1]])[None]
    agree(lambda: np.broadcast_arrays(*depth_around(depth, Intrinsics(5.0, 5.0, 0.0, 0.0), points)),
          1e-6)


@given(places, vectors, seeds)
@examples
def test_triangles_are_compared_with_the_image_alike(place, vector, seed):
    pose = poses([place, place], [0.5 * vector, -0.3 * vector])
    rng = np.random.default_rng(seed)
    mesh = (MODEL.template + rng.normal(scale=0.001, size=(2, *MODEL.template.shape))).astype(
        np.float32)
    depth, triangles = before_a_wall(pose, seed), MeshTriangles(aligned_triangles(MODEL))
    agree(lambda: triangles.planes(pose, mesh), 2e-5)
    planes = triangles.planes(pose, mesh)
    agree(lambda: in_camera(pose, planes), 1e-6)
    centre, normal = in_camera(pose, planes)
    pixels = pixels_around(depth, CAMERA, centre)
    agree(lambda: measure(pixels, centre, normal, REACH), 2e-4)
    agree(lambda: distances(pixels, centre, normal, planes.visible_area, REACH), 2e-4)
    agree(lambda: [seen_through(pixels, centre[:, 2:], planes.visible_area)], 1e-5)


@given(places, vectors, seeds, st.booleans())
@examples
def test_alignments_agree(place, vector, seed, with_prior):
    triangles = aligned_triangles(MODEL)
    prior = ErrorPrior.load(MODELS_FOLDER, len(MODES), len(triangles)) if with_prior else None
    pose = poses([place, place], [0.3 * vector, -0.2 * vector])
    depth, std = before_a_wall(pose, seed), np.float32([[0.05, 0.02], [0.004, 0.002]])
    mesh = np.stack([MODEL.template, MODEL.template + MODES[0]])
    alignment = Alignment(triangles, MODES, prior=prior)
    agree(lambda: alignment(depth, CAMERA, pose, *std, mesh), 2e-4)


@given(places, vectors, seeds, dtypes)
@examples
def test_surface_detail_agrees(place, vector, seed, dtype):
    pose = poses([place, place], [0.3 * vector, -0.2 * vector])
    detail = SurfaceDetail(MODEL, SurfaceModes.load())
    rng = np.random.default_rng(seed)
    shape = (2, 2, detail._jacobian.shape[2])
    distance = rng.normal(scale=0.002, size=shape).astype(np.float32)
    weight = rng.random(shape).astype(np.float32)
    weight[1] = 0  # the second face is not measured and stays as it is
    agree(lambda: [detail._fitted(distance, weight)], 1e-3)
    assert not detail._fitted(distance, weight)[1].any()
    agree(lambda: [detail(before_a_wall(pose, seed, dtype), CAMERA, pose,
                          np.stack(2 * [MODEL.template]))], 1e-4)


@given(places, vectors, seeds)
@examples
def test_the_refiner_reads_the_same_numbers_and_poses_are_corrected_alike(place, vector, seed):
    rng, pose = np.random.default_rng(seed), poses([place, place], [vector, 0 * vector])
    triangles = aligned_triangles(MODEL)
    alignment, refinement = Alignment(triangles, MODES), Refinement(MODEL.template, MODES)
    std = np.float32([[0.05, 0.02], [0.004, 0.002]])
    aligned = alignment(before_a_wall(pose, seed), CAMERA, pose, *std,
                        np.stack(2 * [MODEL.template]))
    gaps = rng.normal(scale=0.008, size=(2, len(triangles))).astype(np.float32)
    weights = rng.random(gaps.shape).astype(np.float32)
    expression = rng.random((2, 52)).astype(np.float32)
    agree(lambda: [refinement.features(gaps, weights, aligned, expression, *std)], 1e-3)
    agree(lambda: [MeasuredExpressions()(weights)], 1e-4)
    moves = np.float32([vector, vector / 100])
    agree(lambda: [corrected(pose, moves, moves[::-1])], 1e-6)
    calibrated = CalibratedExpressions(ExpressionCalibration.load(MODELS_FOLDER))
    agree(lambda: calibrated(expression, np.float32([place[2], 4])), 1e-6)
