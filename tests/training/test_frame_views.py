# SPDX-License-Identifier: Apache-2.0
"""Views of a frame equal the depth images of mirrored, rolled and cropped faces."""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('rosbags')
pytest.importorskip('cv2')

from drawn_faces import CAMERA, MODEL, face_at, frame_of

from depthface_ros import Intrinsics
from depthface_ros.face_model.mirror import mirrored_crops
from depthface_ros.geometry.crop import shape_crop
from depthface_ros.io.frame import Frame
from training.data.augment import rigid, transform
from training.data.frame_views import cut_window, mirrored, rectified, rolled
from training.evaluation.self_consistency import (
    ROLL,
    mirror_face,
    roll_face,
    self_consistency_figures,
)
from training.evaluation.surface_distance import face_triangles, median_distances, surface_distances


def test_mirrored_and_rolled_frames_equal_images_of_mirrored_and_rolled_faces():
    face = face_at(yaw=25, pitch=10, roll=5)
    frame = frame_of(face)
    flip = MODEL.triangles[:, ::-1].copy()  # mirrored triangles turn their other side
    again = frame_of(replace(face, vertices=face.vertices * np.float32([-1, 1, 1])), flip,
                     replace(CAMERA, cx=319 - CAMERA.cx))
    assert np.abs(mirrored(frame).depth - again.depth).max() < 1e-5
    # the expected face has the usual order of vertices: its triangles look outwards again
    expected = frame_of(mirror_face(face, MODEL), camera=mirrored(frame).intrinsics)
    assert np.percentile(np.abs(expected.depth - again.depth), 99) < 0.002
    turned = rolled(frame, 0.3)
    expected = frame_of(roll_face(face, 0.3))
    both = (turned.depth > 0) & (expected.depth > 0)
    assert both.sum() > 0.97 * (expected.depth > 0).sum()
    assert np.percentile(np.abs(turned.depth - expected.depth)[both], 95) < 0.004


def test_rectified_frames_hold_the_same_points():
    distorted = Intrinsics(300.0, 300.0, 160.0, 120.0, (0.1, -0.05, 0.001, 0.0, 0.0))
    v, u = np.mgrid[:240, :320].astype(np.float32)
    x, y = distorted.unproject(u, v)
    plane = (1 / (1 + 0.2 * x - 0.1 * y)).astype(np.float32)  # z of a slanted plane
    straight = rectified(Frame(0, plane, distorted, 'lens'))
    x, y = straight.intrinsics.unproject(u, v)
    inside = straight.depth > 0
    assert not straight.intrinsics.distortion and inside.mean() > 0.9
    assert np.abs(straight.depth - 1 / (1 + 0.2 * x - 0.1 * y))[inside].max() < 0.001


def test_windows_show_the_head_in_coordinates_of_their_own_camera():
    face = face_at(yaw=15, position=(0.15, 0.05, 0.4))
    for camera in (CAMERA, replace(CAMERA, fx=1000.0, fy=1000.0, cx=300.0, cy=260.0)):
        frame = frame_of(face, camera=camera, shape=(520, 900))
        depth, (fx, fy, cx, cy) = cut_window(frame, face.head_centre)
        assert depth.shape == (160, 160) and (depth > 0).sum() > 1000
        gaps = surface_distances(torch.tensor(depth)[None], Intrinsics(fx, fy, cx, cy),
                            torch.tensor(face.vertices)[None],
                            face_triangles(MODEL))
        assert float(median_distances(gaps)) < 0.001


def test_the_crop_of_a_mirrored_face_is_the_mirrored_crop():
    face = face_at(yaw=25, pitch=5)
    frame = frame_of(face)
    crop, crop_of_mirrored = (
        shape_crop(each.depth, each.intrinsics, pose[None]) for each, pose in (
            (frame, face.camera_from_face), (mirrored(frame),
                                             mirror_face(face, MODEL).camera_from_face)))
    difference = np.abs(mirrored_crops(torch.tensor(crop)).numpy() - crop_of_mirrored).max(axis=1)
    assert (difference > 1e-3).mean() < 0.02  # but for pixels whose nearest neighbour is a draw


class KnowsTheFrames:
    """An estimator that returns the true faces of known images, with a bias."""

    def __init__(self, answers, bias=np.eye(4, dtype=np.float32)):
        self.face_model, self.answers, self.bias = MODEL, answers, bias

    def __call__(self, depth, intrinsics):
        face = min(self.answers, key=lambda answer: np.abs(answer[0] - depth).mean())[1]
        moved = face.camera_from_face @ self.bias
        vertices = transform(torch.tensor(moved @ np.linalg.inv(face.camera_from_face))[None],
                             torch.tensor(face.vertices)[None])
        return [replace(face, camera_from_face=moved,
                        vertices=vertices[0].numpy().astype(np.float32))]


def test_equivariance_is_zero_for_a_perfect_estimator_and_twice_the_bias_of_another():
    face = face_at(yaw=10)
    frame = frame_of(face)
    answers = [(frame.depth, face), (mirrored(frame).depth, mirror_face(face, MODEL)),
               (rolled(frame, ROLL).depth, roll_face(face, ROLL))]
    figures = self_consistency_figures(KnowsTheFrames(answers), [frame])
    assert figures['faces'] == figures['mirror_found_again'] == figures['roll_found_again'] == 1
    assert max(figures[f'{name}_mm_median'] for name in ('mirror', 'roll')) < 1e-3
    assert max(figures[f'{name}_deg_median'] for name in ('mirror', 'roll')) < 0.05
    assert figures['mesh_to_points_mm_median'] < 0.6

    # always, also of mirrored faces
    to_the_left = rigid(torch.tensor([[0, 0, math.radians(4), 0, 0, 0]])).numpy()[0]
    biased = self_consistency_figures(KnowsTheFrames(answers, to_the_left), [frame])
    assert biased['mirror_deg_median'] == pytest.approx(8, abs=0.1)
    assert biased['roll_deg_median'] == pytest.approx(0, abs=0.1)
    assert biased['mesh_to_points_mm_median'] > 1.0
    assert self_consistency_figures(KnowsTheFrames(answers), [])['faces'] == 0
