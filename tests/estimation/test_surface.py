# SPDX-License-Identifier: Apache-2.0
"""The surface fit follows precise cameras, but not noise, holes or objects in front."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from drawn_faces import face_at, frame_of

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.alignment import AlignmentConfig
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.surface import (
    SurfaceDetail,
    SurfaceModes,
    even_and_odd,
    opening_vertices,
    surface_triangles,
)
from depthface_ros.face_model.mesh import FaceModel
from training.assets.surface_modes import eigenfunctions, smooth_normals, taper

MODEL = FaceModel.load()
CAMERA = Intrinsics(600.0, 600.0, 319.5, 239.5)
POSE = face_at(position=(0.01, -0.02, 0.7)).camera_from_face
MODES = SurfaceModes.load()
NORMALS = MODES.directions
_CHEEKS = MODEL.template[MODEL.regions['cheeks']]
CHEEK = _CHEEKS[np.linalg.norm(_CHEEKS[:, 1:] - [0.035, -0.04], axis=1).argmin()]  # the left one
DETAIL = SurfaceDetail(MODEL, MODES)


def from_cheek(side=1):
    return np.linalg.norm(MODEL.template - CHEEK * [1, side, 1], axis=1)


def bump(height, side=1, width=0.02):
    """Return heights (V,) m of a smooth bump on a cheek."""
    return height * np.exp(-(from_cheek(side) / width) ** 2)


def depth_of(heights=0.0):
    """Return the noiseless depth image of the template with heights along its normals."""
    vertices = MODEL.template + np.reshape(heights, (-1, 1)) * NORMALS
    posed = (vertices @ POSE[:3, :3].T + POSE[:3, 3]).astype(np.float32)
    return frame_of(replace(face_at(), camera_from_face=POSE, vertices=posed), camera=CAMERA,
                    shape=(480, 640)).depth


def fitted(depth, vertices=MODEL.template, detail=DETAIL):
    """Return the displacements (V,) m along the normals, from a mesh without the bump."""
    moved, = detail(depth, CAMERA, POSE[None], vertices[None])
    assert moved.dtype == np.float32
    return ((moved - vertices) * NORMALS).sum(axis=1)


def test_the_surface_of_a_precise_camera_is_reproduced():
    heights = bump(0.003)
    noise = np.random.default_rng(0).normal(0, 0.0005, (480, 640))
    depth = depth_of(heights)
    moved = fitted(np.where(depth > 0, depth + noise, 0).astype(np.float32))
    on_bump = from_cheek() < 0.015
    assert np.abs(moved - heights)[on_bump].mean() < 0.0004
    assert np.abs(moved)[from_cheek(-1) < 0.03].mean() < 0.0004
    still = fitted(depth_of())
    assert np.abs(still).max() < 0.0005


def test_dents_come_out_as_bumps_do():
    assert fitted(depth_of(bump(-0.003)))[from_cheek() < 0.01].mean() < -0.0022


@pytest.mark.parametrize('sigma, most', [(0.002, 0.0006), (0.006, 0.0012)])
def test_noise_does_not(sigma, most):
    noise = np.random.default_rng(0).normal(0, sigma, (480, 640))
    depth = depth_of()
    moved = fitted(np.where(depth > 0, depth + noise, 0).astype(np.float32))
    assert np.sqrt(np.mean(moved ** 2)) < most


def test_of_a_noisy_camera_a_bump_is_believed_less():
    heights, noise = bump(0.003), np.random.default_rng(0).normal(0, 1, (480, 640))
    depth = depth_of(heights)
    found = [fitted((depth + sigma * noise * (depth > 0)).astype(np.float32))[np.argmax(heights)]
             for sigma in (0.0003, 0.008)]
    assert found[1] < 0.8 * found[0]


def test_holes_keep_the_prior():
    """An unmeasured cheek keeps its shape while the other one moves."""
    depth = depth_of(bump(0.003, side=-1))
    u, v = CAMERA.project(*(POSE[:3, :3] @ CHEEK + POSE[:3, 3])[:2]
                          / (POSE[:3, :3] @ CHEEK + POSE[:3, 3])[2])
    row, column = np.mgrid[:480, :640]
    holed = np.where(np.hypot(column - u, row - v) < 25, 0, depth).astype(np.float32)
    moved = fitted(holed)
    assert np.abs(moved[from_cheek() < 0.015]).max() < 0.0006
    assert moved[from_cheek(-1) < 0.01].mean() > 0.0022


@pytest.mark.parametrize('gap, most', [(0.006, 0.005), (0.01, 0.001), (0.03, 0.001), (0.2, 0.001)])
def test_objects_in_front_do_not_pull(gap, most):
    """A hand or hair over one side of the face, at any distance in front of it.

    On slanted triangles 6 mm along the ray are 3 mm across: there a few follow.
    """
    depth = depth_of()
    covered = depth.copy()
    covered[:, 330:] = np.where(depth[:, 330:] > 0, depth[:, 330:] - gap, 0)
    assert 0.25 < (covered != depth).sum() / (depth > 0).sum() < 0.6
    moved = np.abs(fitted(covered))
    assert moved.max() < most and moved.mean() < 0.0005


def test_nothing_measured_changes_nothing():
    for depth in (np.zeros((480, 640), np.float32), np.full((480, 640), 3.0, np.float32)):
        np.testing.assert_array_equal(fitted(depth), 0)


def test_ears_and_edges_stay():
    moved = fitted(depth_of(0.002 + bump(0.003)))
    edge = np.setdiff1d(opening_vertices(MODEL),
                        np.concatenate([MODEL.regions['lids'], MODEL.regions['mouth']]))
    np.testing.assert_array_equal(moved[edge], 0)
    np.testing.assert_array_equal(moved[MODEL.regions['ears']], 0)
    triangles = surface_triangles(MODEL)
    assert not np.isin(triangles, opening_vertices(MODEL)).any()  # nor do lids and lips pull
    mirrored = {frozenset(row) for row in MODEL.mirror[triangles].tolist()}
    assert mirrored == {frozenset(row) for row in triangles.tolist()}


def test_faces_of_a_batch_do_not_depend_on_each_other_and_torch_agrees():
    depth = depth_of(bump(0.003))
    meshes = np.stack([MODEL.template, MODEL.template * np.float32(1.02)])
    poses = np.stack([POSE, POSE])
    both = DETAIL(depth, CAMERA, poses, meshes)
    alone = DETAIL(depth, CAMERA, poses[1:], meshes[1:])
    np.testing.assert_allclose(both[1:], alone, atol=1e-6)
    on_device = SurfaceDetail(MODEL, MODES, torch.from_numpy)
    found = on_device(*(torch.from_numpy(depth), CAMERA), *map(torch.from_numpy, (poses, meshes)))
    np.testing.assert_allclose(found.numpy(), both, atol=2e-6)


def test_modes_are_sorted_by_parity_and_others_are_refused():
    even, odd = even_and_odd(MODES.displacements, MODEL.mirror)
    np.testing.assert_allclose(even[:, MODEL.mirror], even, atol=1e-6)
    np.testing.assert_allclose(odd[:, MODEL.mirror], -odd, atol=1e-6)
    kept = np.concatenate([even, odd])
    kept = kept[kept.any(axis=1)]
    assert {row.tobytes() for row in kept} == {row.tobytes() for row in MODES.displacements}
    one_sided = np.where(MODEL.template[:, 1] > 0, MODES.displacements, 0)
    with pytest.raises(ValueError, match='neither even nor odd.*surface-modes'):
        even_and_odd(one_sided, MODEL.mirror)


def test_it_can_be_switched_off_and_needs_an_alignment():
    pytest.importorskip('onnxruntime')
    depth = depth_of(bump(0.003))
    on, off = (FaceEstimator('cpu', EstimatorConfig(surface=surface))(depth, CAMERA)
               for surface in (True, False))
    assert len(on) == len(off) == 1
    np.testing.assert_array_equal(on[0].camera_from_face, off[0].camera_from_face)
    np.testing.assert_array_equal(on[0].expression, off[0].expression)
    assert 0.0003 < np.linalg.norm(on[0].vertices - off[0].vertices, axis=1).max() < 0.01
    on, off = (FaceEstimator('cpu', EstimatorConfig(
        surface=surface, alignment=AlignmentConfig(steps=0)))(depth, CAMERA)
        for surface in (True, False))
    np.testing.assert_array_equal(on[0].vertices, off[0].vertices)


def test_modes_that_ship_are_smooth_and_fall_off():
    modes = MODES.displacements
    sizes = np.sqrt(np.mean(modes ** 2, axis=1))
    assert np.sqrt(np.sum(modes ** 2, axis=0)).max() < 0.02
    assert sizes[:5].mean() > 10 * sizes[-5:].mean() > 0
    np.testing.assert_allclose(MODES.directions, smooth_normals(MODEL), atol=2e-3)
    factors = taper(MODEL)
    assert factors[MODEL.sellion] > 0.9 and factors[MODEL.regions['ears']].max() == 0


def test_eigenfunctions_of_a_sphere_are_spherical_harmonics():
    """Eigenvalues are l (l + 1): one with l = 0, three with l = 1, five with l = 2."""
    from scipy.spatial import ConvexHull
    i = np.arange(1500) + 0.5  # a Fibonacci lattice
    polar, azimuth = np.arccos(1 - 2 * i / 1500), np.pi * (1 + 5 ** 0.5) * i
    points = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar),
                       np.cos(polar)], axis=1)
    triangles = ConvexHull(points).simplices
    wavelength, functions = eigenfunctions(points, triangles, 9)
    values = (2 * np.pi / wavelength) ** 2
    np.testing.assert_allclose(values, [0] + 3 * [2] + 5 * [6], rtol=0.02, atol=0.01)
    np.testing.assert_allclose(np.mean(functions ** 2, axis=1), 1, rtol=0.02)
