# SPDX-License-Identifier: Apache-2.0
"""The ablation table of parts: variants differ, and differences are paired by face."""
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('torch')

from scipy.spatial.transform import Rotation
from test_landmarks import CAMERA, Recording

from depthface_ros import FaceEstimator
from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from training.evaluation.errors import rigidly_aligned
from training.experiments.parts import (
    PARTS,
    Image,
    add_real_errors,
    compared,
    parts_table,
    records_of,
)
from training.experiments.unfamiliar_people import deformed
from training.synthesis.people.person import Person


def head_of(face):
    return type('Head', (), {'camera_from_face': face.camera_from_face, 'vertices_camera': face.vertices})


def images_of(recording):
    return [Image(np.full((8, 8), 900 + i, np.uint16), CAMERA, (head_of(face),))
            for i, face in enumerate(recording.faces)]


def moved(face, metres):
    pose = face.camera_from_face.copy()
    pose[:3, 3] += np.float32(metres)
    return Face(pose, face.vertices + np.float32(metres), face.expression, 0.9, 0.02, 0.004)


def test_every_variant_leaves_something_out():
    assert len(set(map(repr, PARTS.values()))) == len(PARTS)


def test_errors_and_differences_are_those_of_the_same_faces():
    recording = Recording(8)
    images = images_of(recording)
    whole = records_of(images, recording)
    truth = recording.faces
    recording.faces = [moved(face, (0.003, 0, 0)) for face in truth]
    recording.found[0] = False
    row = compared(records_of(images, recording), whole)
    assert (row['faces'], row['found']) == (8, 7)
    assert row['sellion_mm'][0] == pytest.approx(3, abs=1e-3)
    assert row['sellion_mm_change'] == pytest.approx([3, 0], abs=1e-3)
    assert row['face_surface_aligned_mm_change'] == pytest.approx([0, 0], abs=1e-3)


def test_marked_points_are_judged_in_real_images():
    recording = Recording(8)
    images = [Image(each.frame.depth, each.frame.intrinsics, label=each)
              for each in recording.marked(lambda i, points: points + np.array([i % 2 * 4., 0]))]
    records = records_of(images, recording)
    mouth = add_real_errors(images, records, recording, 'kinect2')
    row = compared(records, records) | mouth
    assert row['landmark_mm'][0] > 3 and row['landmark_mm_change'] == [0, 0]
    assert mouth['mouth_width_slope'][0] == pytest.approx(1, abs=0.05)
    table = parts_table({'parts': {'whole pipeline': {'kinect2': row}}}, 'kinect2')
    assert table.row_count == 1 and 'landmarks mm' in [column.header for column in table.columns]


def test_the_settings_of_all_variants_make_estimators():
    pytest.importorskip('onnxruntime')
    for config in PARTS.values():
        assert FaceEstimator('cpu', config).config == config


def test_unfamiliar_people_have_another_face_in_the_same_frame():
    model = FaceModel.load()
    body = np.zeros((0, 3), np.float32)
    person = Person(model.template, model.triangles, 0, body, np.zeros((0, 3), np.int32),
                    model.template, np.zeros(52, np.float32), 'anny', 0)
    rng = np.random.default_rng(0)
    one, other = deformed(person, rng), deformed(person, rng)
    for each in (one, other):
        np.testing.assert_array_equal(each.head_vertices, each.face_vertices)  # moved alike
        np.testing.assert_allclose(each.face_vertices[model.sellion], 0, atol=1e-6)
        apart = rigidly_aligned(each.face_vertices, model.template) - model.template
        assert 0.001 < np.linalg.norm(apart, axis=1).mean() < 0.006
        stable = each.face_vertices[model.stable]
        turn, _ = Rotation.align_vectors(model.template[model.stable] - model.template[model.stable].mean(0),
                                         stable - stable.mean(0))
        assert turn.magnitude() < 1e-3  # the same axes
    assert np.linalg.norm(one.face_vertices - other.face_vertices, axis=1).mean() > 0.001
