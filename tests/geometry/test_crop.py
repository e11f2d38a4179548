# SPDX-License-Identifier: Apache-2.0
"""Metric crops, on spheres and planes whose depth is known in closed form."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.crop import (
    CROP_PIXELS,
    FACE_CENTRE_FACE,
    POSE_CROP_SIZE,
    SHAPE_CROP_SIZE,
    crop_in_frame,
    pose_crop,
    pose_frame,
    shape_crop,
)

CAMERA = Intrinsics(575.0, 570.0, 318.0, 243.0)
RADIUS = 0.1
MIDDLE = CROP_PIXELS // 2


def sphere_depth(centre, intrinsics=CAMERA, shape=(480, 640)):
    """Return depth (H, W) float32 m of a sphere around `centre`, without background."""
    u, v = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    x, y = intrinsics.unproject(u.astype(np.float64), v.astype(np.float64))
    ray = np.stack([x, y, np.ones_like(x)], axis=-1)
    a, b = (ray ** 2).sum(-1), ray @ centre
    inside = b ** 2 - a * (centre @ centre - RADIUS ** 2)
    return np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, 0).astype(np.float32)


centres = st.builds(lambda x, y, z: np.array([x * z, y * z, z]),
                    st.floats(-0.4, 0.4), st.floats(-0.3, 0.3), st.floats(0.35, 2.5))


@settings(max_examples=40, deadline=None)
@given(centre=centres, roll=st.floats(-3.1, 3.1))
def test_points_of_a_sphere_lie_on_the_sphere_in_the_crop_frame(centre, roll):
    crops, _ = pose_crop(sphere_depth(centre), CAMERA, centre[None].astype(np.float32),
                         np.array([roll], np.float32))
    points, state = crops[0, :3] * POSE_CROP_SIZE / 2, crops[0, 3]
    assert (state == 1).sum() > 300
    np.testing.assert_allclose(np.linalg.norm(points, axis=0)[state == 1], RADIUS, atol=2e-5 * max(1, centre[2]) * 5)
    assert (points[2][state == 1] <= 0.01).all()  # the camera's side of it
    assert (points[:, state != 1] == 0).all()


@settings(max_examples=40, deadline=None)
@given(centre=centres, roll=st.floats(-3.1, 3.1))
def test_camera_from_crop_takes_points_back_to_the_camera(centre, roll):
    depth = sphere_depth(centre)
    crops, camera_from_crop = pose_crop(depth, CAMERA, centre[None].astype(np.float32), np.array([roll], np.float32))
    points = crops[0, :3, crops[0, 3] == 1] * POSE_CROP_SIZE / 2
    x, y, z = (points @ camera_from_crop[0, :3, :3].T + camera_from_crop[0, :3, 3]).T
    u, v = CAMERA.project(x / z, y / z)
    assert max(np.abs(u - u.round()).max(), np.abs(v - v.round()).max()) < 0.05  # pixel centres
    np.testing.assert_allclose(z, depth[v.round().astype(int), u.round().astype(int)], atol=1e-5)


def test_the_crop_is_perpendicular_to_the_viewing_ray():
    centre = np.array([[0.3, -0.2, 1.0]], np.float32)
    _, camera_from_crop = pose_crop(np.zeros((480, 640), np.float32), CAMERA, centre)
    rotation = camera_from_crop[0, :3, :3]
    np.testing.assert_allclose(rotation[:, 2], centre[0] / np.linalg.norm(centre), atol=1e-6)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) > 0
    assert rotation[1, 1] > 0.9  # down stays down
    np.testing.assert_array_equal(camera_from_crop[0, :3, 3], centre[0])


def test_roll_turns_the_crop_clockwise():
    """A point to the right of the centre comes to lie above it when the crop rolls by 90 degrees."""
    depth = np.zeros((480, 640), np.float32)
    u, v = (int(round(x)) for x in CAMERA.project(0.05, 0.0))
    depth[v - 4:v + 5, u - 4:u + 5] = 1.0
    rows, columns = np.nonzero(pose_crop(depth, CAMERA, np.array([[0, 0, 1]], np.float32),
                                         np.array([np.pi / 2], np.float32))[0][0, 3] == 1)
    assert abs(columns.mean() - MIDDLE) < 2
    assert rows.mean() < MIDDLE - 10


def test_a_head_fills_the_crop_alike_at_any_distance_and_focal_length():
    filled = []
    for z, focal in ((0.5, 300.0), (0.5, 900.0), (1.5, 900.0)):
        intrinsics = Intrinsics(focal, focal, 320.0, 240.0)
        centre = np.array([0.0, 0.0, z])
        crops, _ = pose_crop(sphere_depth(centre, intrinsics), intrinsics, centre[None].astype(np.float32))
        filled.append((crops[0, 3] == 1).mean())
    # nearer spheres look larger, by perspective: 0.1 m across 0.5 m, 2 % in radius
    np.testing.assert_allclose(filled, filled[0], rtol=0.06)


def test_holes_and_background_have_different_validity():
    depth = np.full((480, 640), 3.0, np.float32)
    depth[:, 320:] = 0.0
    crop = pose_crop(depth, CAMERA, np.array([[0.0, 0.0, 1.0]], np.float32))[0][0]
    assert set(np.unique(crop[3])) == {-1.0, 0.0}
    assert (crop[3, :, :MIDDLE - 2] == -1).all() and (crop[3, :, MIDDLE + 3:] == 0).all()
    assert (crop[:3] == 0).all()


def test_beyond_the_image_is_a_hole():
    crop = pose_crop(np.ones((480, 640), np.float32), CAMERA, np.array([[-0.56, 0.0, 1.0]], np.float32))[0][0]
    assert (crop[3] == 0).any() and (crop[3] == 1).any()
    assert (crop[3, :, 0] == 0).all()


def test_millimetres_and_metres_give_the_same_crop():
    depth_mm = np.round(1000 * sphere_depth(np.array([0.1, 0.0, 0.8]))).astype(np.uint16)
    depth_m = depth_mm.astype(np.float32) / 1000
    depth_m[depth_mm == 0] = np.nan
    centre = np.array([[0.1, 0.0, 0.8]], np.float32)
    of_millimetres, of_metres = (pose_crop(depth, CAMERA, centre)[0] for depth in (depth_mm, depth_m))
    assert (of_millimetres[0, 3] == 1).any()
    np.testing.assert_allclose(of_millimetres, of_metres, atol=1e-5)


def test_shape_crop_gives_points_in_the_face_frame():
    """A sphere around a point of the face is a sphere around that point in face coordinates."""
    rotation = Rotation.from_euler('xyz', [20, -30, 10], degrees=True).as_matrix()
    frontal = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])  # x out of the face: towards the camera
    pose = np.eye(4)
    pose[:3, :3] = rotation @ frontal
    pose[:3, 3] = [0.1, -0.05, 0.9]
    centre_camera = pose[:3, :3] @ FACE_CENTRE_FACE + pose[:3, 3]
    crop = shape_crop(sphere_depth(centre_camera), CAMERA, pose[None].astype(np.float32))[0]
    points = crop[:3, crop[3] == 1] * SHAPE_CROP_SIZE / 2
    np.testing.assert_allclose(np.linalg.norm(points - np.array(FACE_CENTRE_FACE)[:, None], axis=0), RADIUS, atol=1e-4)


@pytest.mark.parametrize('roll', [0, 40, 90, 180])
def test_shape_crop_is_upright_however_the_head_rolls(roll):
    """Points with large face z (scalp) lie in the upper half of the crop."""
    frontal = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('z', roll, degrees=True).as_matrix() @ frontal
    pose[:3, 3] = [0.05, 0.02, 0.8]
    crop = shape_crop(sphere_depth(pose[:3, :3] @ FACE_CENTRE_FACE + pose[:3, 3]), CAMERA, pose[None].astype(np.float32))[0]
    rows, columns = np.nonzero(crop[3] == 1)
    up, left = crop[2, rows, columns], crop[1, rows, columns]
    assert up[rows < MIDDLE - 15].min() > up[rows > MIDDLE + 15].max()
    # the person's left is on the right in the image
    assert left[columns > MIDDLE + 15].min() > left[columns < MIDDLE - 15].max()


def test_torch_and_numpy_agree_and_each_crop_may_have_its_image():
    torch = pytest.importorskip('torch')
    centre = np.array([[0.1, 0.0, 0.8], [-0.2, 0.1, 1.2]], np.float32)
    depth = np.stack([sphere_depth(each) for each in centre.astype(np.float64)])
    crops, poses = pose_crop(torch.from_numpy(depth), Intrinsics(*(torch.full((2, 1, 1), value) for value in (
        CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy))), torch.from_numpy(centre))
    for i in range(2):
        expected, expected_pose = pose_crop(depth[i], CAMERA, centre[i:i + 1])
        np.testing.assert_allclose(crops[i].numpy(), expected[0], atol=1e-5)
        np.testing.assert_allclose(poses[i].numpy(), expected_pose[0], atol=1e-6)


def test_in_equal_frames_torch_and_numpy_sample_the_same_pixels():
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(0)
    depth = rng.integers(900, 1100, (480, 640)).astype(np.uint16)  # all pixels differ
    count = 64
    centres = rng.uniform((-0.4, -0.3, 0.9), (0.4, 0.3, 1.1), (count, 3)).astype(np.float32)
    frames = pose_frame(centres, rng.uniform(-3, 3, count).astype(np.float32))
    expected = crop_in_frame(depth, CAMERA, frames)
    found = crop_in_frame(torch.from_numpy(depth), CAMERA, torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
