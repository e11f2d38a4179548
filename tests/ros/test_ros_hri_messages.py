# SPDX-License-Identifier: Apache-2.0
"""Messages of ROS4HRI (REP-155) for each face, over real DDS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('hri_msgs')

from hri_msgs.msg import FacialActionUnits, FacialLandmarks, NormalizedRegionOfInterest2D
from ros_faces import CAMERA, Stage, frame, track
from sensor_msgs.msg import Image

from depthface_ros.face_model.mesh import EXPRESSION_NAMES, LANDMARK_MIRROR, FaceModel
from depthface_ros.ros import hri_messages

SECOND = 10**9


@pytest.fixture
def stage():
    """On it is face f00001, so that its topics can be listened to."""
    with Stage() as stage:
        stage.outputs.publish(frame(SECOND // 2), [track('f00001')])
        yield stage


def test_the_region_holds_the_projected_mesh(stage):
    heard = stage.listen(NormalizedRegionOfInterest2D, '/humans/faces/f00001/roi')
    face = track('f00001', x=0.1, z=0.9)
    stage.outputs.publish(frame(SECOND), [face])
    roi = stage.wait_for(lambda: heard)[0]
    x, y, z = face.face.vertices.T
    columns = (CAMERA.fx * x / z + CAMERA.cx + 0.5) / 160
    rows = (CAMERA.fy * y / z + CAMERA.cy + 0.5) / 120
    np.testing.assert_allclose(
        [roi.xmin, roi.xmax, roi.ymin, roi.ymax],
        [columns.min(), columns.max(), rows.min(), rows.max()], atol=1e-5)
    assert roi.c == pytest.approx(0.9) and 0.05 < roi.xmax - roi.xmin < 0.5


def test_the_region_of_a_face_at_the_edge_stays_in_the_image(stage):
    heard = stage.listen(NormalizedRegionOfInterest2D, '/humans/faces/f00001/roi')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=0.55)])
    roi = stage.wait_for(lambda: heard)[0]
    assert 0.8 < roi.xmin < roi.xmax == 1.0


def test_landmarks_lie_where_the_face_is(stage):
    heard = stage.listen(FacialLandmarks, '/humans/faces/f00001/landmarks')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=0.1)])
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    message, centred = stage.wait_for(lambda: len(heard) == 2 and heard)
    assert (message.width, message.height) == (160, 120)
    points = {name: message.landmarks[getattr(FacialLandmarks, name)] for name in (
        'SELLION', 'NOSE', 'MENTON', 'LEFT_EAR', 'RIGHT_EAR', 'LEFT_PUPIL', 'RIGHT_PUPIL')}
    # the sellion is the origin of the face, 0.1 m to the right on the optical axis' height
    assert points['SELLION'].x == pytest.approx((150 * 0.1 + 80) / 160, abs=0.005)
    assert points['SELLION'].y == pytest.approx(0.5, abs=0.005)
    assert points['SELLION'].y < points['NOSE'].y < points['MENTON'].y
    # the person faces the camera, so their left is on the right of the image
    assert points['LEFT_EAR'].x > points['LEFT_PUPIL'].x > points['RIGHT_PUPIL'].x
    assert points['RIGHT_PUPIL'].x > points['RIGHT_EAR'].x
    x = np.array([point.x for point in centred.landmarks])
    np.testing.assert_allclose(x + x[LANDMARK_MIRROR], 1.0, atol=0.003)


def test_landmarks_that_the_camera_does_not_see_have_no_confidence(stage):
    heard = stage.listen(FacialLandmarks, '/humans/faces/f00001/landmarks')
    face = track('f00001')
    depths = FaceModel.load().landmarks(face.face.vertices)[:, 2]
    stage.outputs.publish(frame(SECOND, 1.0), [face])  # a wall through the face
    stage.outputs.publish(frame(SECOND, 0.6, np.float32), [face])  # something before the face
    stage.outputs.publish(frame(SECOND, np.nan, np.float32), [face])  # nothing measured
    through, hidden, nothing = stage.wait_for(lambda: len(heard) == 3 and [
        np.array([point.c for point in message.landmarks]) for message in heard])
    near = np.abs(depths - 1.0) < 0.03
    near[68:] = False  # pupils do not show in depth
    assert 10 < near.sum() < 68
    np.testing.assert_allclose(through, np.where(near, 0.9, 0), rtol=1e-6)
    assert not hidden.any() and not nothing.any()


def test_landmarks_outside_the_image_lie_on_its_edge_without_confidence(stage):
    heard = stage.listen(FacialLandmarks, '/humans/faces/f00001/landmarks')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=0.53)])
    points = stage.wait_for(lambda: heard)[0].landmarks
    assert all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in points)
    outside = [point for point in points if point.x == 1.0]
    assert 0 < len(outside) < 70 and not any(point.c for point in outside)


def test_action_units_come_from_the_expression(stage):
    heard = stage.listen(FacialActionUnits, '/humans/faces/f00001/facs')
    stage.outputs.publish(frame(SECOND), [track('f00001', mouthSmileLeft=0.5, jawOpen=0.25)])
    message = stage.wait_for(lambda: heard)[0]
    assert message.intensity[FacialActionUnits.LIP_CORNER_PULLER] == 0.5
    assert message.intensity[FacialActionUnits.JAW_DROP] == 0.25
    assert message.intensity.sum() == 0.75
    assert message.confidence[FacialActionUnits.BROW_LOWERER] == pytest.approx(0.9)
    assert message.confidence[61] == 0  # depth does not show the direction of the eyes


def test_action_units_are_as_reliable_as_their_coefficients(stage):
    reliability = np.zeros(len(EXPRESSION_NAMES), np.float32)
    reliability[EXPRESSION_NAMES.index('mouthSmileLeft')] = 0.5
    smiling = track('f00001', mouthSmileLeft=0.5)
    face = replace(smiling.face, expression_reliability=reliability)
    heard = stage.listen(FacialActionUnits, '/humans/faces/f00001/facs')
    stage.outputs.publish(frame(SECOND), [replace(smiling, face=face)])
    message = stage.wait_for(lambda: heard)[0]
    assert message.confidence[FacialActionUnits.LIP_CORNER_PULLER] == pytest.approx(0.45)
    assert message.confidence[FacialActionUnits.JAW_DROP] == 0


@pytest.mark.parametrize('dtype, encoding', [(np.uint16, '16UC1'), (np.float32, '32FC1')])
def test_the_crop_is_the_depth_around_the_face(stage, dtype, encoding):
    heard = stage.listen(Image, '/humans/faces/f00001/cropped')
    scene = frame(SECOND, 2.0, dtype)
    x, y, z = track('f00001', z=0.8).face.vertices.T
    columns = np.round(CAMERA.fx * x / z + CAMERA.cx).astype(int)
    rows = np.round(CAMERA.fy * y / z + CAMERA.cy).astype(int)
    face = np.s_[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    unit = 1000 if dtype == np.uint16 else 1
    ramp = np.linspace(0.8, 0.9, scene.depth[face].shape[1]) * unit
    scene.depth[face] = ramp.astype(dtype)
    stage.outputs.publish(scene, [track('f00001', z=0.8)])
    message = stage.wait_for(lambda: heard)[0]
    assert (message.height, message.width, message.encoding) == (128, 128, encoding)
    depth = np.frombuffer(message.data, dtype).reshape(128, 128)
    filled = depth > 0
    assert filled.all(1).sum() == 0 and filled.any(1).all()  # the face is higher than wide
    share = scene.depth[face].shape[1] / scene.depth[face].shape[0]
    assert filled[64].sum() / 128 == pytest.approx(share, abs=0.05)
    margin = np.flatnonzero(filled[64])
    assert abs(margin[0] - (127 - margin[-1])) <= 2  # centred
    assert set(depth[filled]) <= set(scene.depth.ravel())  # measured depths only
    inside = depth[10:-10, margin[2]:margin[-2]]
    assert (inside < 1.0 * unit).all() and (np.diff(inside.astype(float), axis=1) >= 0).all()


def test_a_face_that_left_the_image_has_an_empty_crop(stage):
    heard = stage.listen(Image, '/humans/faces/f00001/cropped')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=3.0)])
    assert not any(stage.wait_for(lambda: heard)[0].data)


def test_topics_without_subscribers_are_not_computed(stage, monkeypatch):
    made = []

    def spied(name, real):
        return lambda *arguments: made.append(name) or real(*arguments)

    for name in ('region', 'landmarks', 'facs', 'cropped'):
        monkeypatch.setattr(hri_messages, name, spied(name, getattr(hri_messages, name)))
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    assert made == []
    heard = stage.listen(Image, '/humans/faces/f00001/cropped')
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    stage.wait_for(lambda: heard)
    assert made == ['cropped']
