# SPDX-License-Identifier: Apache-2.0
"""Pictures show faces where they are, in the colours of the legend."""
from __future__ import annotations

import numpy as np
import pytest

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.camera import Intrinsics

cv2 = pytest.importorskip('cv2')
from depthface_ros.tools.overlay import VideoWriter, colour_depth, contact_sheet, draw_faces

CAMERA = Intrinsics(525.0, 525.0, 319.5, 239.5)
FRONTAL = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], np.float32)
MODEL = FaceModel.load()
BACKGROUND = np.full((480, 640), 3000, np.uint16)


def frontal_face(x, y, z):
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = FRONTAL, (x, y, z)
    vertices = MODEL.template @ FRONTAL.T + pose[:3, 3]
    return Face(pose, vertices, np.zeros(52, np.float32), 0.95, 0.05, 0.003)


def changed(picture, scale=1):
    plain = draw_faces(BACKGROUND, CAMERA, [], MODEL, scale=scale)
    return np.any(picture != plain, axis=-1)


def test_a_face_is_painted_where_it_projects_to():
    face = frontal_face(0.2, -0.1, 0.9)
    rows, columns = np.nonzero(changed(draw_faces(BACKGROUND, CAMERA, [face], MODEL)))
    u = 525 * face.vertices[:, 0] / face.vertices[:, 2] + 319.5
    v = 525 * face.vertices[:, 1] / face.vertices[:, 2] + 239.5
    assert abs(rows.max() - v.max()) < 3
    assert columns.min() <= u.min() + 2 and columns.max() >= u.max() - 2
    inside = changed(draw_faces(BACKGROUND, CAMERA, [face], MODEL))[int(v.mean()), int(u.mean())]
    assert inside


def test_axes_are_red_green_blue_for_x_y_z():
    picture = draw_faces(BACKGROUND, CAMERA, [frontal_face(0, 0, 0.9)], MODEL)
    blue, green, red = (picture[..., i].astype(int) for i in range(3))
    centre = 239, 319
    to_the_left_of_the_person = green - np.maximum(red, blue)
    upwards = blue - np.maximum(red, green)
    assert to_the_left_of_the_person[centre[0], centre[1] + 30] > 80
    assert upwards[centre[0] - 30, centre[1]] > 80


def test_enlarged_pictures_show_the_same_scene():
    face = frontal_face(0.1, 0.05, 0.8)
    small, large = (changed(draw_faces(BACKGROUND, CAMERA, [face], MODEL, scale=scale), scale)
                    for scale in (1, 3))
    assert large.shape == (1440, 1920)
    below_the_eyes = [np.nonzero(mask[280 * scale:]) for mask, scale in ((small, 1), (large, 3))]
    for axis in (0, 1):
        middle = [np.mean(places[axis]) for places in below_the_eyes]
        assert abs(middle[1] / 3 - middle[0]) < 1


def test_near_is_warm_far_is_cold_and_nothing_is_black():
    depth = np.zeros((30, 90), np.float32)
    depth[:, :30], depth[:, 30:60] = 0.4, 4.5
    picture = colour_depth(depth).astype(int)
    near, far, nothing = picture[15, 15], picture[15, 45], picture[15, 75]
    assert near[2] > near[0] and far[0] > far[2] and not nothing.any()


@pytest.mark.parametrize('z', [0.01, -1.0])
def test_faces_behind_or_at_the_camera_do_no_harm(z):
    assert not changed(draw_faces(BACKGROUND, CAMERA, [frontal_face(0, 0, z)], MODEL)).any()


def test_faces_outside_of_small_images_do_no_harm():
    picture = draw_faces(np.ones((1, 1), np.float32), CAMERA, [frontal_face(-2, 0, 0.9)], MODEL, ['f00001'])
    assert picture.shape == (1, 1, 3) and picture.dtype == np.uint8


def test_a_sheet_holds_pictures_of_all_sizes():
    pictures = [np.full((size, 2 * size, 3), 200, np.uint8) for size in (10, 50, 200)]
    sheet = contact_sheet(pictures, columns=2, tile_height=100)
    assert sheet.shape == (204, 404, 3)
    assert sheet[50, 100, 0] == sheet[50, 300, 0] == sheet[150, 100, 0] == 200 and sheet[150, 300, 0] == 0


def test_videos_keep_their_pictures_even_when_sizes_change(tmp_path):
    writer = VideoWriter(tmp_path / 'v.mp4', 25)
    for height in (64, 64, 48):
        writer.write(np.full((height, 81, 3), 128, np.uint8))
    writer.close()
    video = cv2.VideoCapture(str(tmp_path / 'v.mp4'))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 3 and frames[0].shape == (64, 80, 3)
    assert abs(int(frames[2][10, 10, 0]) - 128) < 8
