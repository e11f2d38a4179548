# SPDX-License-Identifier: Apache-2.0
"""The refiner receives the residual of the alignment, and its correction is applied to the face."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from depthface_ros.estimation.alignment import Aligned, aligned_triangles, face_modes
from depthface_ros.estimation.point_to_plane import MeshTriangles
from depthface_ros.estimation.refinement import (
    EXPRESSIONS,
    FEATURES,
    GAP,
    MODES,
    REACH,
    TRIANGLES,
    Refinement,
    mirrored_features,
)
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.face_model.mirror import mirrored_corrections

drawn_faces = pytest.importorskip('drawn_faces')

MODEL, SHAPES = FaceModel.load(), face_modes()
DRAWN = drawn_faces.face_at(yaw=20, pitch=-10)


def aligned(bend=0.0, pose=DRAWN.camera_from_face):
    """Return one face, its first mode of shape off by `bend` sigmas."""
    shape = (DRAWN.vertices - DRAWN.camera_from_face[:3, 3]) @ DRAWN.camera_from_face[:3, :3]
    return Aligned(pose[None], (shape + np.float32(bend) * SHAPES[0])[None],
                   np.linspace(-1, 1, 6 + MODES, dtype=np.float32)[None])


def features_of(face, expression=0.25, array=np.asarray, mirrored=False):
    frame = drawn_faces.frame_of(DRAWN)
    if mirrored:
        camera = replace(frame.intrinsics, cx=frame.depth.shape[1] - 1 - frame.intrinsics.cx)
        frame = replace(frame, depth=frame.depth[:, ::-1].copy(), intrinsics=camera)
    triangles = MeshTriangles(array(aligned_triangles(MODEL)))
    face = Aligned(*map(array, face))
    gaps, weights = triangles.plane_distances(array(frame.depth), frame.intrinsics, *face[:2], REACH)
    return Refinement(array(MODEL.template), SHAPES, array).features(
        gaps, weights, face, array(np.broadcast_to(np.float32(expression), (1, EXPRESSIONS)).copy()),
        array(np.float32([0.1])), array(np.float32([0.005])))


def test_inputs_of_the_refiner_hold_the_distance_of_each_triangle():
    backwards = DRAWN.camera_from_face.copy()
    backwards[:3, 3] += 0.002 * backwards[:3, 0]  # 2 mm out of the face, so the surface is behind
    features, = features_of(aligned(pose=backwards))
    assert features.shape == (FEATURES,) and features.dtype == np.float32
    gaps, weights = features[:TRIANGLES], features[TRIANGLES:2 * TRIANGLES]
    a, b, c = (MODEL.template[aligned_triangles(MODEL)[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    outwards = normal[:, 0] / np.linalg.norm(normal, axis=1)
    seen = (weights > 0.5) & (outwards > 0.9)
    assert seen.sum() > 50
    assert np.median(gaps[seen] / weights[seen]) == pytest.approx(-0.002 / GAP, rel=0.1)
    assert (gaps[weights == 0] == 0).all()


def test_the_other_inputs_follow_the_layout():
    features, = features_of(aligned(bend=1.5))
    straight, = features_of(aligned())
    rest, plain = features[2 * TRIANGLES:], straight[2 * TRIANGLES:]
    np.testing.assert_array_equal(rest[:6 + MODES], np.linspace(-1, 1, 6 + MODES, dtype=np.float32))
    shape = (rest - plain)[6 + MODES:6 + 2 * MODES]
    np.testing.assert_allclose(shape, 1.5 * np.eye(MODES)[0], atol=1e-3)
    view, far = rest[6 + 2 * MODES:][:3], rest[6 + 2 * MODES + 3]
    position, rotation = DRAWN.camera_from_face[:3, 3], DRAWN.camera_from_face[:3, :3]
    np.testing.assert_allclose(rotation @ view * np.exp(far), -position, atol=1e-5)
    np.testing.assert_allclose(rest[-EXPRESSIONS - 2:-EXPRESSIONS], [np.log(2), 0], atol=1e-6)
    np.testing.assert_allclose(rest[-EXPRESSIONS:], np.log(1 / 3), atol=1e-6)


def test_features_of_a_mirrored_face_are_those_of_the_face_in_other_places():
    """A network that reads both can return the same for both."""
    face, expression = aligned(bend=1.5), np.linspace(0.1, 0.9, EXPRESSIONS)
    across_camera, across_face = np.diag([-1, 1, 1, 1]), np.diag([1, -1, 1, 1])
    other = Aligned((across_camera @ face.camera_from_face @ across_face).astype(np.float32),
                    face.vertices_face[:, MODEL.mirror] * np.float32([1, -1, 1]),
                    face.correction * mirrored_corrections())
    order, signs = mirrored_features()
    expected = features_of(face, expression)[:, order] * signs
    found = features_of(other, expression[MODEL.expression_mirror], mirrored=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    plain = features_of(face, expression)
    assert np.abs(plain - expected).max(axis=0).astype(bool).mean() > 0.5  # it is asymmetric


@pytest.mark.parametrize('expression', [0.0, 1.0])
def test_expressions_of_nothing_and_of_all_are_finite(expression):
    assert np.isfinite(features_of(aligned(), expression)).all()


def test_a_correction_follows_the_pose_and_bends_the_shape():
    face, correction = aligned(), np.zeros((1, 6 + MODES), np.float32)
    correction[0, :6], correction[0, 6] = (0.02, -0.01, 0.03, 0.001, 0.002, -0.003), 0.5
    (pose,), (vertices,) = Refinement(MODEL.template, SHAPES).refined(face, correction)
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = Rotation.from_rotvec(correction[0, :3]).as_matrix(), correction[0, 3:6]
    np.testing.assert_allclose(pose, DRAWN.camera_from_face @ step, atol=1e-6)
    np.testing.assert_allclose(vertices, face.vertices_face[0] + 0.5 * SHAPES[0], atol=1e-6)


def test_torch_and_numpy_agree():
    torch = pytest.importorskip('torch')
    tensor = lambda array: torch.from_numpy(np.array(array))  # noqa: E731
    np.testing.assert_allclose(features_of(aligned(0.5), array=tensor).numpy(), features_of(aligned(0.5)),
                               atol=2e-4)
    face, correction = aligned(), np.full((1, 6 + MODES), 0.01, np.float32)
    expected = Refinement(MODEL.template, SHAPES).refined(face, correction)
    found = Refinement(tensor(MODEL.template), SHAPES, tensor).refined(Aligned(*map(tensor, face)),
                                                                       tensor(correction))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-6)
