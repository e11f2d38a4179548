# SPDX-License-Identifier: Apache-2.0
"""Which new faces are accepted: opaque ones, certain before and after the fit."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import CAMERA, estimator_of, head_centre, head_pose
from sample_frames import sample_frames

from depthface_ros import FaceEstimator
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.acceptance import (
    DOUBTFUL_CONFIDENCE,
    DOUBTFUL_FRACTION,
    are_certain,
)
from depthface_ros.estimation.alignment import aligned_triangles
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.point_to_plane import (
    MeshTriangles,
    in_camera,
    pixels_around,
    seen_through,
)
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.face_model.mesh import FaceModel

FRAMES = sample_frames(every=30)
BACKGROUND_MM, OCCLUDER = 2500, 0.2  # m before the face
PRIOR = ErrorPrior.load(MODELS_FOLDER, 30, 632)
POSE, NETWORK_STD = head_pose(0, 0, 1), (0.05, 0.004)  # rad and m, of the oracle


@pytest.fixture(scope='module')
def estimator():
    return FaceEstimator('cpu_fp32')


def side_of(face, depth, intrinsics, fraction):
    """Return the pixels (H, W) of the right part of a face."""
    x, y, z = face.vertices.T
    u, v = intrinsics.fx * x / z + intrinsics.cx, intrinsics.fy * y / z + intrinsics.cy
    rows, columns = np.mgrid[:depth.shape[0], :depth.shape[1]]
    return ((columns > np.quantile(u, 1 - fraction)) & (columns < u.max() + 40)
            & (rows > v.min() - 30) & (rows < v.max() + 30))


@pytest.mark.parametrize('fraction', [0.25, 0.45])
def test_a_covered_face_is_accepted_and_one_with_a_part_seen_through_is_not(estimator, fraction):
    for depth, intrinsics in FRAMES:
        for face in estimator(depth, intrinsics):
            side = side_of(face, depth, intrinsics, fraction)
            before = 1000 * (face.camera_from_face[2, 3] - OCCLUDER)
            for measured, expected in ((before, True), (0, True), (BACKGROUND_MM, False)):
                changed = np.where(side, measured, depth).astype(depth.dtype)
                found = any(np.linalg.norm(other.head_centre - face.head_centre) < 0.08
                            for other in estimator(changed, intrinsics))
                assert found == expected


def test_a_limit_of_one_accepts_what_is_seen_through():
    depth, intrinsics = FRAMES[0]
    lenient = FaceEstimator('cpu_fp32', EstimatorConfig(max_seen_through=1.0))
    face = lenient(depth, intrinsics)[0]
    side = side_of(face, depth, intrinsics, 0.25)
    changed = np.where(side, BACKGROUND_MM, depth).astype(depth.dtype)
    assert any(np.linalg.norm(other.head_centre - face.head_centre) < 0.08
               for other in lenient(changed, intrinsics))


def test_a_tracked_face_needs_no_test(estimator):
    depth, intrinsics = FRAMES[0]
    face = estimator(depth, intrinsics)[0]
    side = side_of(face, depth, intrinsics, 0.25)
    heads = HeadCandidates(face.head_centre[None], face.detector_score, tracked=True)
    changed = np.where(side, BACKGROUND_MM, depth).astype(depth.dtype)
    assert len(estimator(changed, intrinsics, heads)) == 1


def part_seen_through(depth, pose, planes):
    centre, _ = in_camera(pose, planes)
    pixels = pixels_around(depth, CAMERA, centre)
    return seen_through(pixels, centre[:, 2:], planes.visible_area)[0]


@given(st.floats(0.4, 4.0), st.floats(-0.5, 0.5), st.floats(0.0, 1.0))
def test_seen_through_is_the_part_of_the_face_that_the_background_replaces(z, x, fraction):
    model = FaceModel.load()
    pose = head_pose(x * z / 2, 0, z)[None]
    mesh = MeshTriangles(aligned_triangles(model))
    planes = mesh.planes(pose, model.template[None])
    columns = np.arange(640)
    left = CAMERA.fx * (pose[0, 0, 3] - 0.12 + 0.24 * fraction) / z + CAMERA.cx
    depth = np.tile(np.where(columns < left, 9.0, z), (480, 1)).astype(np.float32)
    centre = (planes.centre[0].T @ pose[0, :3, :3].T + pose[0, :3, 3])
    replaced = CAMERA.fx * centre[:, 0] / centre[:, 2] + CAMERA.cx < left
    area = planes.visible_area[0, 0]
    expected = area[replaced].sum() / area.sum()
    assert part_seen_through(depth, pose, planes) == pytest.approx(expected, abs=0.06)


@given(st.floats(0.3, 4.0), st.floats(0.0, 0.1))
def test_neither_holes_nor_occluders_nor_noise_are_seen_through(z, noise):
    model = FaceModel.load()
    pose = head_pose(0, 0, z)[None]
    planes = MeshTriangles(aligned_triangles(model)).planes(pose, model.template[None])
    nearest = z + planes.centre[0, 0].min()
    for depth in (0.0, z / 2, nearest + min(noise, 0.04)):
        image = np.full((480, 640), depth, np.float32)
        assert part_seen_through(image, pose, planes) == 0


@pytest.mark.parametrize('tracked', [None, False, True])
@pytest.mark.parametrize('limit, count', [(1.05, 1), (0.95, 0)])
def test_the_sigmas_before_and_after_the_fit_count_alike(limit, count, tracked):
    oracle, depth = estimator_of([POSE], confidence=0.95)
    before = PRIOR.std(*NETWORK_STD)[0]
    heads = None if tracked is None else HeadCandidates(head_centre(POSE)[None], tracked=tracked)
    for scale in (0.5, 1.0, 2.0):
        limited = limit * before * scale ** 0.5
        config = EstimatorConfig(tta_confidence=0.0, refine=False, max_rotation_std=limited,
                                 track_init_max_rotation_std=limited)
        after = StdAfterTheFit(oracle.engine, config)
        after.std = scale * before
        assert len(after(depth, CAMERA, heads)) == (count or int(bool(tracked)))


class StdAfterTheFit(FaceEstimator):
    """Returns faces with one sigma of the rotation after the fit."""

    def _calibrated_faces(self, *arguments):
        return [replace(face, rotation_std=self.std)
                for face in super()._calibrated_faces(*arguments)]


def face_of(confidence, std):
    return Face(POSE, np.zeros((1, 3), np.float32), np.zeros(52, np.float32), confidence, std, 0.004,
                network_std=NETWORK_STD)


@given(st.floats(0.5, 1.0), st.floats(0.005, 0.5), st.floats(0.02, 0.2), st.floats(0.02, 0.2))
def test_doubtful_faces_have_a_lower_limit_than_confident_ones(confidence, std, limit, single):
    """A limit of new tracks never admits doubtful faces that single images refuse."""
    alone, = are_certain([face_of(confidence, std)], PRIOR, limit, single)
    surer, = are_certain([face_of(1.0, std)], PRIOR, limit, single)
    sharper, = are_certain([face_of(confidence, std / 2)], PRIOR, limit, single)
    assert surer >= alone and sharper >= alone
    before = PRIOR.std(*NETWORK_STD)[0]
    most = limit if confidence >= DOUBTFUL_CONFIDENCE else min(limit, DOUBTFUL_FRACTION * single)
    assert alone == (np.sqrt(before * std) <= most)


@pytest.mark.parametrize('scale, count', [(0.5, 1), (1.5, 0)])
def test_the_sigma_before_the_fit_is_calibrated(tmp_path, scale, count):
    oracle, depth = estimator_of([POSE])
    replace(PRIOR, error_cholesky=np.float32(scale) * PRIOR.error_cholesky).save(tmp_path)
    config = EstimatorConfig(tta_confidence=0.0, refine=False,
                             max_rotation_std=PRIOR.std(*NETWORK_STD)[0])
    assert len(FaceEstimator(oracle.engine, config, models_folder=tmp_path)(depth, CAMERA)) == count
