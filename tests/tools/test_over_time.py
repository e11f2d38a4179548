# SPDX-License-Identifier: Apache-2.0
"""Pictures of meshes over time: distances, colours, and which meshes are shown."""
import numpy as np
import pytest

from depthface_ros import Intrinsics
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.writers import OverTime
from depthface_ros.tools.over_time import (
    BEHIND,
    GREY,
    IN_FRONT,
    MISSING,
    FaceOverTime,
    distance_colours,
    draw_over_time,
    measured_distances,
    true_distances,
)

MODEL = FaceModel.load()
CAMERA = Intrinsics(500., 500., 159.5, 119.5)


def test_a_wall_behind_a_square_is_outside_by_its_distance():
    corners = np.array([[-0.1, -0.1, 1], [0.1, -0.1, 1], [0.1, 0.1, 1], [-0.1, 0.1, 1]])
    triangles = np.array([[0, 2, 1], [0, 3, 2]])  # counter-clockwise seen from the camera
    for z, distance in ((1.004, -0.004), (0.99, 0.010)):
        depth = np.full((240, 320), z, np.float32)
        found = measured_distances(corners, triangles, depth, CAMERA)
        assert found == pytest.approx([distance] * 4, rel=0.02)
    nothing = np.zeros((240, 320), np.float32)
    assert np.isnan(measured_distances(corners, triangles, nothing, CAMERA)).all()
    far_off = np.full((240, 320), 1.2, np.float32)
    assert np.isnan(measured_distances(corners, triangles, far_off, CAMERA)).all()


def test_distances_to_the_truth_have_the_sign_of_those_to_the_image():
    smaller = MODEL.template * np.float32(0.98)
    distances = true_distances(smaller, MODEL.template, MODEL.triangles)
    assert np.median(distances[MODEL.stable]) > 0
    assert np.abs(true_distances(MODEL.template, MODEL.template, MODEL.triangles)).max() == 0


def test_colours_tell_front_from_back_and_unknown_from_right():
    colours = distance_colours(np.array([0, -0.01, 0.01, np.nan]))
    np.testing.assert_array_equal(colours, [GREY, IN_FRONT, BEHIND, MISSING])


def test_the_meshes_nearest_to_both_times_are_kept():
    face = FaceOverTime('f00001', first_s=10.0)
    for i in range(150):
        mesh = None if i % 2 else MODEL.template + np.float32(i)
        face.add(10 + i / 30, (1.0,), mesh, None if mesh is None else np.zeros(len(mesh)))
    assert face.early[0] == pytest.approx(4 / 30) and face.late[0] == pytest.approx(3.0)
    assert face.late[1][0, 0] - MODEL.template[0, 0] == pytest.approx(90)
    assert len(face.seconds) == 150


def test_short_visits_and_unknown_distances_are_drawn_too():
    unknown = np.full(len(MODEL.template), np.nan)
    faces = []
    for name, count in (('a', 1), ('b', 3)):
        face = FaceOverTime(name, 0.0)
        for i in range(count):
            face.add(i / 30, (np.nan,), MODEL.template, unknown)
        faces.append(face)
    picture = draw_over_time(faces, MODEL, ['error, mm'], 'distance')
    assert picture.dtype == np.uint8 and picture.shape[0] > 2 * 300


def test_the_file_of_a_run_without_faces_is_not_written(tmp_path):
    writer = OverTime(tmp_path / 'over_time.png', MODEL)
    writer.close()
    assert not (tmp_path / 'over_time.png').exists()
