# SPDX-License-Identifier: Apache-2.0
"""Alignment moves meshes to the measured surface; hands in front of it do not affect them."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depthface_ros.estimation.alignment import (
    Alignment,
    AlignmentConfig,
    aligned_triangles,
    face_modes,
)
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.point_to_plane import MeshTriangles
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import rotation_from_vector

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5)
RADII = np.array([0.09, 0.07, 0.12])  # of an ellipsoid: its pose can be seen from all sides
SURE_OF_THE_SURFACE = AlignmentConfig(steps=8, independent=1000.0)


def ellipsoid(count=60):
    """Return vertices (V, 3) and triangles (T, 3), counter-clockwise seen from outside."""
    latitude, longitude = np.meshgrid(np.linspace(-1.4, 1.4, count),
                                      np.linspace(-np.pi, np.pi, count))
    vertices = RADII * np.stack([np.cos(latitude) * np.cos(longitude),
                                 np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=-1)
    i = np.arange(count * count).reshape(count, count)
    a, b, c, d = (part.ravel() for part in (i[:-1, :-1], i[1:, :-1], i[:-1, 1:], i[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return vertices.reshape(-1, 3).astype(np.float32), triangles


def posed(vector=(0.4, 0.3, -0.2), position=(0.05, -0.02, 0.9)):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation_from_vector(np.array(vector)), position
    return pose


def draw(pose, radii=RADII):
    """Return the exact depth image (480, 640) of the ellipsoid before a wall."""
    v, u = np.mgrid[:480, :640]
    rays = np.stack([*CAMERA.unproject(u, v), np.ones(u.shape)], axis=-1) @ pose[:3, :3] / radii
    centre = pose[:3, 3] @ pose[:3, :3] / radii
    a, b, c = (rays ** 2).sum(-1), rays @ centre, centre @ centre - 1
    root = b * b - a * c
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 2.0).astype(np.float32)


def moved(pose, vector=(0.05, -0.04, 0.03), shift=(0.004, -0.005, 0.006)):
    away = pose.copy()
    away[:3, :3] = pose[:3, :3] @ rotation_from_vector(np.array(vector))
    away[:3, 3] += np.array(shift, np.float32)
    return away


def errors(found, truth):
    """Return errors of rotation in radians and of position in metres."""
    return (np.linalg.norm(found[:3, :3] - truth[:3, :3]) / np.sqrt(2),
            np.linalg.norm(found[:3, 3] - truth[:3, 3]))


def lay(depth, poses, meshes, triangles, config=SURE_OF_THE_SURFACE, std=(0.2, 0.02), modes=None,
        expected=None):
    """Return poses and meshes after alignment."""
    stds = (np.full(len(poses), value, np.float32) for value in std)
    modes = np.zeros((0, *meshes.shape[1:]), np.float32) if modes is None else modes
    return Alignment(triangles, modes, config, expected)(depth, CAMERA, poses, *stds, meshes)


def test_a_pose_that_is_a_little_off_comes_back():
    truth = posed()
    vertices, triangles = ellipsoid()
    (found,), *_ = lay(draw(truth), moved(truth)[None], vertices[None], triangles)
    rotation, position = errors(found, truth)
    assert rotation < 0.005 and position < 0.0005
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-5)


def test_several_meshes_of_different_shape_are_aligned_each_on_its_own():
    truths = [posed(), posed((0, 0.5, 0.1), (-0.2, 0.05, 1.2))]
    vertices, triangles = ellipsoid()
    depth = np.minimum(draw(truths[0]), draw(truths[1]))
    start = np.stack([moved(truth) for truth in truths])
    meshes = np.stack([vertices, 0.99 * vertices])
    together, *_ = lay(depth, start, meshes, triangles)
    for i, truth in enumerate(truths):
        assert errors(together[i], truth)[1] < 0.002
        (alone,), *_ = lay(depth, start[i:i + 1], meshes[i:i + 1], triangles)
        np.testing.assert_allclose(together[i], alone, atol=1e-5)


def test_a_hand_before_the_face_does_not_pull_the_mesh_off():
    truth = posed()
    vertices, triangles = ellipsoid()
    depth = draw(truth)
    covered = depth.copy()
    covered[:, :330] = np.minimum(covered[:, :330], 0.78)
    (found,), *_ = lay(covered, moved(truth)[None], vertices[None], triangles)
    before = errors(moved(truth), truth)[1]
    assert errors(found, truth)[1] < before / 2


@pytest.mark.parametrize('depth', [np.zeros((480, 640), np.float32), np.ones((1, 1), np.float32),
                                   np.full((480, 640), 5, np.float32)])
def test_without_a_surface_near_the_pose_stays(depth):
    vertices, triangles = ellipsoid()
    start = moved(posed())[None]
    found, *_ = lay(depth, start, vertices[None], triangles, AlignmentConfig())
    np.testing.assert_allclose(found, start, atol=2e-4)


def test_a_small_predicted_sigma_keeps_the_predicted_pose():
    truth = posed()
    vertices, triangles = ellipsoid()
    start = moved(truth)[None]
    for config, std in ((AlignmentConfig(), (1e-4, 1e-4)), (AlignmentConfig(steps=0), (1, 1))):
        found, *_ = lay(draw(truth), start, vertices[None], triangles, config, std)
        np.testing.assert_allclose(found, start, rtol=0, atol=3e-4)


def test_faces_move_evenly_with_predictions_and_not_by_jumps():
    """Networks of engines differ in the last digits. Holes and hands must not enlarge that."""
    truth = posed()
    vertices, triangles = ellipsoid(30)
    depth = draw(truth)
    depth += np.random.default_rng(0).uniform(-0.004, 0.004, depth.shape).astype(np.float32)
    depth[::3, ::5] = 0
    depth[:, :330] = np.minimum(depth[:, :330], 0.85)
    poses = np.stack([moved(truth, shift=(shift, 0, 0)) for shift in np.linspace(0, 1e-5, 21)])
    meshes = np.repeat(vertices[None], len(poses), axis=0)
    found, *_ = lay(depth, poses, meshes, triangles[::5], AlignmentConfig())
    assert np.linalg.norm(np.diff(found[:, :3, 3], axis=0), axis=1).max() < 2e-6


def test_a_mesh_that_is_too_narrow_is_widened_by_the_mode_that_does_it():
    truth = posed()
    vertices, triangles = ellipsoid()
    wider = vertices * np.array([0, 1, 0], np.float32)
    longer = vertices * np.array([0, 0, 1], np.float32)
    modes = 0.1 * np.stack([longer, wider])
    narrow = (vertices - 0.05 * wider)[None]
    poses, meshes, _ = lay(draw(truth), moved(truth)[None], narrow, triangles, modes=modes)
    assert np.linalg.norm(meshes[0] - vertices, axis=1).mean() < 0.0005
    assert errors(poses[0], truth)[1] < 0.001
    rigid = AlignmentConfig(modes=0)
    _, meshes, _ = lay(draw(truth), moved(truth)[None], narrow, triangles, rigid, modes=modes)
    np.testing.assert_array_equal(meshes, narrow)


def expecting(modes, triangles, **known):
    return replace(ErrorPrior.independent(len(modes), len(triangles)), **known)


def test_an_unobservable_rotation_follows_from_the_correlated_shape():
    vertices, triangles = ellipsoid()
    vertices[:, 0] *= RADII[1] / RADII[0]  # round: its rotation has no effect on images
    wider = 1.05 * vertices
    wider[:, 2] = vertices[:, 2]
    upright = np.eye(4, dtype=np.float32)
    upright[:3, :3], upright[:3, 3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]], (0.05, -0.02, 0.9)
    depth = draw(upright, RADII[[1, 1, 2]] * [1.05, 1.05, 1])
    modes = 2 * (wider - vertices)[None]
    mixing = np.eye(7, dtype=np.float32)
    mixing[6, 2], mixing[6, 6] = 0.5, 0.01  # correlated: half a mode per sigma of rotation
    for turned, known in ((0.0, {}), (0.1, {'error_cholesky': mixing})):
        (found,), (mesh,), _ = lay(depth, upright[None], vertices[None], triangles, std=(0.1, 0.02),
                                modes=modes, expected=expecting(modes, triangles, **known))
        assert np.linalg.norm(mesh - wider, axis=1).mean() < 0.001
        turn = upright[:3, :3].T @ found[:3, :3]
        assert np.arctan2(turn[1, 0], turn[0, 0]) == pytest.approx(turned, abs=0.02)


def test_hair_that_is_expected_does_not_pull_the_mesh_out():
    truth = posed()
    vertices, triangles = ellipsoid()
    depth = draw(truth)
    v, u = np.nonzero(depth < 1.5)
    ray = np.stack([*CAMERA.unproject(u, v), np.ones(len(u))], axis=1) @ truth[:3, :3]
    points = ray * depth[v, u, None] - truth[:3, 3] @ truth[:3, :3]
    normal = points / RADII ** 2
    slope = -(normal * ray).sum(axis=1) / np.linalg.norm(normal, axis=1)
    depth[v, u] -= np.where(points[:, 1] > 0.02, 0.002 / slope.clip(0.3), 0)  # 2 mm thick
    side = vertices[triangles].mean(axis=1)[:, 1] > 0.02
    hair = np.where(side, np.float32(0.002), np.float32(0))[None]
    bald, hairy = (
        errors(lay(depth, truth[None], vertices[None], triangles, replace(
            SURE_OF_THE_SURFACE, reach=0.05), expected=expecting((), triangles, **known))[0][0],
               truth) for known in ({}, {'surface_loadings': hair}))
    assert hairy[0] < bald[0] / 3 and hairy[1] < bald[1] / 3


def test_plane_distances_measure_how_far_a_surface_stands_off():
    truth = posed()
    vertices, triangles = ellipsoid()
    smaller = (0.98 * vertices).astype(np.float32)
    (gap,), (weight,) = MeshTriangles(triangles).plane_distances(
        draw(truth), CAMERA, truth[None], smaller[None], AlignmentConfig().reach)
    seen = weight > 0.1
    assert 0.2 < seen.mean() < 0.5  # triangles that face away count nothing
    middle = vertices[triangles].mean(axis=1)
    normal = middle / RADII ** 2
    apart = 0.02 * (middle * normal).sum(axis=1) / np.linalg.norm(normal, axis=1)
    np.testing.assert_allclose(gap[seen], apart[seen], atol=2e-4)


def test_torch_and_numpy_agree():
    torch = pytest.importorskip('torch')
    truth = posed()
    vertices, triangles = ellipsoid()
    modes = 0.1 * np.stack([vertices * np.array(axis, np.float32) for axis in np.eye(3)])
    arrays = (np.round(1000 * draw(truth)).astype(np.uint16), moved(truth)[None],
              np.full(1, 0.2, np.float32), np.full(1, 0.02, np.float32), 0.98 * vertices[None])
    depth, *others = arrays
    expected = Alignment(triangles, modes)(depth, CAMERA, *others)
    depth, *others = map(torch.from_numpy, arrays)
    found = Alignment(*map(torch.from_numpy, (triangles, modes)))(depth, CAMERA, *others)
    # corrections are in sigmas: a thousandth of one is nothing
    for tensor, array, tolerance in zip(found, expected, (1e-5, 1e-5, 1e-3)):
        np.testing.assert_allclose(tensor.numpy(), array, atol=tolerance)


def test_the_modes_that_ship_are_of_the_face_model_and_of_the_size_of_faces():
    modes, model = face_modes(), FaceModel.load()
    assert modes.shape[1:] == model.template.shape
    spread = np.sqrt((modes ** 2).sum(axis=(0, 2)))  # m, of a vertex
    assert 0.002 < spread.mean() < 0.02
    # a face and its mirror image are equally likely
    mirrored = modes[:, model.mirror] * np.array([1, -1, 1], np.float32)
    variance, of_mirrored = ((part ** 2).sum(axis=0) for part in (modes, mirrored))
    np.testing.assert_allclose(variance, of_mirrored, rtol=0.05, atol=1e-7)


def test_the_triangles_that_are_aligned_are_those_of_their_mirror_image():
    """They face outwards and cover the whole face."""
    model = FaceModel.load()
    triangles = aligned_triangles(model)
    first, second = np.split(triangles, 2)
    corners = model.template[triangles].astype(float)
    middle, area = corners.mean(1), np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flip = np.array([1, -1, 1])
    np.testing.assert_allclose(middle[len(first):], middle[:len(first)] * flip, atol=1e-6)
    np.testing.assert_allclose(area[len(first):], area[:len(first)] * flip, atol=1e-9)
    assert {frozenset(row) for row in triangles.tolist()} <= {frozenset(row) for row in model.triangles.tolist()}
    assert len(np.unique(np.sort(triangles), axis=0)) == len(triangles) > len(model.triangles) / 7
    every = model.template[model.triangles].mean(axis=1)
    apart = np.linalg.norm(every[:, None] - middle, axis=-1).min(axis=1)
    assert np.percentile(apart, 99) < 0.015
