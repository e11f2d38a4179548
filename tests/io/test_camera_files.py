# SPDX-License-Identifier: Apache-2.0
"""Camera files of ROS, Open3D, OpenCV and librealsense describe the images beside them."""
from __future__ import annotations

import json

import numpy as np
import pytest

from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.recordings import open_recording

cv2 = pytest.importorskip('cv2')
pytest.importorskip('ruamel.yaml')

DEPTH = np.full((480, 640), 1000, np.uint16)
CAMERA = Intrinsics(500.0, 510.0, 310.0, 250.0)
K = [500.0, 0.0, 310.0, 0.0, 510.0, 250.0, 0.0, 0.0, 1.0]
P = [500.0, 0.0, 310.0, 0.0, 0.0, 510.0, 250.0, 0.0, 0.0, 0.0, 1.0, 0.0]
ECHOED_2 = f"""header:
  stamp:
    sec: 1
    nanosec: 5
  frame_id: camera_depth_optical_frame
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.0
k: {K}
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: {P}
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
"""
ECHOED_1 = f"""header: {{seq: 1, stamp: {{secs: 1, nsecs: 2}}, frame_id: "a"}}
height: 480
width: 640
distortion_model: "plumb_bob"
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: {K}
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: {P}
---
"""
OPENCV = f"""%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: {K}
"""
REALSENSE = {'width': 640, 'height': 480, 'fx': 500, 'fy': 510, 'ppx': 310, 'ppy': 250,
             'model': 'distortion.brown_conrady', 'coeffs': [0, 0, 0, 0, 0]}
OPEN3D = {'width': 640, 'height': 480, 'intrinsic_matrix': [500, 0, 0, 0, 510, 0, 310, 250, 1]}


def frame_beside(folder, name: str, text: str, depth=DEPTH):
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / 'a.png'), depth)
    (folder / name).write_text(text)
    frame, = open_recording(folder)
    return frame


@pytest.mark.parametrize('name, text', [
    ('camera_info.yaml', ECHOED_2), ('camera_info.yaml', 3 * ECHOED_2),
    ('camera_info.yaml', ECHOED_1), ('camera.yml', OPENCV),
    ('intrinsics.json', json.dumps(REALSENSE)), ('intrinsic.json', json.dumps(OPEN3D)),
    ('camera.json', json.dumps({'K': K})), ('camera.json', json.dumps({'K': [K[:3], K[3:6], K[6:]]}))])
def test_a_camera_is_read_as_other_tools_write_it(tmp_path, name, text):
    assert frame_beside(tmp_path, name, text).intrinsics == CAMERA


def test_coefficients_of_a_lens_are_used(tmp_path):
    text = json.dumps(REALSENSE | {'coeffs': [0.1, 0, 0, 0, 0]})
    assert frame_beside(tmp_path, 'camera.json', text).intrinsics == Intrinsics(
        500.0, 510.0, 310.0, 250.0, (0.1, 0.0, 0.0, 0.0, 0.0))


def test_a_file_of_an_image_twice_as_large_keeps_the_directions(tmp_path):
    camera = frame_beside(tmp_path, 'camera_info.yaml', ECHOED_2, DEPTH[::2, ::2]).intrinsics
    for (u, v), (half_u, half_v) in (((0.5, 0.5), (0, 0)), ((320.5, 100.5), (160, 50))):
        np.testing.assert_allclose(camera.unproject(half_u, half_v), CAMERA.unproject(u, v))


@pytest.mark.parametrize('name, text, message', [
    ('camera_info.yaml', ECHOED_2.replace('width: 640', 'width: 1920'), 'is for 1920x480 pixels'),
    ('camera.json', '{"fx": 500, "fy": 510, "cx": 639, "cy": 479}', 'may be of another image size'),
    ('camera.json', '{"fx": 1.9, "fy": 1.9, "cx": 320, "cy": 240}', 'focal lengths in pixels'),
    ('camera.json', '{"focal": 3}', 'expected fx, fy, cx and cy, K, a camera_matrix'),
    ('camera.yaml', 'camera_matrix: [1, 2]', 'expected fx, fy, cx and cy, K, a camera_matrix'),
    ('camera.yaml', '', 'expected fx, fy, cx and cy'),
    ('camera.yaml', '[1, 2]', 'expected fx, fy, cx and cy'),
    ('camera.yaml', '---\n---\n', 'expected fx, fy, cx and cy')])
def test_a_file_of_another_camera_is_named_with_the_cause(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        frame_beside(tmp_path, name, text)
    assert str(tmp_path / name) in str(caught.value)


def test_folders_named_depth_have_their_camera_above(tmp_path):
    (tmp_path / 'intrinsic.json').write_text(json.dumps(OPEN3D))
    for name in ('depth', 'rgb'):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / '0.png'), DEPTH)
    frame, = open_recording(tmp_path / 'depth')
    assert frame.intrinsics == CAMERA
    with pytest.raises(ValueError, match='does not say which camera took it'):
        open_recording(tmp_path / 'rgb')
