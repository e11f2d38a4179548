# SPDX-License-Identifier: Apache-2.0
"""Faces for ROS4HRI (REP-155), over real DDS, heard as libhri hears them."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('hri_msgs')

from hri_msgs.msg import (  # noqa: E402
    FacialActionUnits, FacialLandmarks, IdsList, NormalizedRegionOfInterest2D)
from lifecycle_msgs.msg import Transition  # noqa: E402
from rclpy.qos import (  # noqa: E402
    QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy, qos_profile_system_default)
from sensor_msgs.msg import Image  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from depthface_ros.face_model import LANDMARK_MIRROR, FaceModel  # noqa: E402
from depthface_ros.ros import outputs  # noqa: E402
from depthface_ros.ros.parameters import Parameters  # noqa: E402
from ros_faces import CAMERA, FRAME, Stage, frame, track  # noqa: E402
from ros_helpers import (  # noqa: E402
    DEPTH, active_node, camera_info_message, image_message)

SECOND = 10**9
# What libhri 2.3.0 subscribes to when it hears of a face (hri/src/hri/face.cpp), as far as this
# package publishes it.
SUBTOPICS = {'roi': NormalizedRegionOfInterest2D, 'cropped': Image, 'landmarks': FacialLandmarks,
             'facs': FacialActionUnits}
# RIHS01 hashes of the definitions in hri_msgs 2.0.0, computed from its files by rosbags.
PUBLISHED_TYPES = {
    'tracked': '7e0812d1ac945c98fd3e393568d581ad0ab567f37b24eff633eab778c1bfe62d',
    'roi': '2e50c93f1ca166ee77af9a5424dc951ae4e452b740162a7f83c082d917dcaff5',
    'landmarks': 'f1d6b0ba159f4d6be1632e5dfc9cb79ce5e35da73888da2a4789bd9b35112a63',
    'facs': '43f431104624b6ff7f84350f1faa3747efc8a9330dee942b717a08830a267ed3'}


class Listener:
    """Subscribes as libhri's HRIListener does: to the topics of a face while it is tracked."""

    def __init__(self, stage: Stage, qos=qos_profile_system_default):
        self._node, self._qos = stage.peer, qos
        self.heard: dict[str, dict[str, list]] = {}  # id -> subtopic -> messages
        self._subscriptions: dict[str, list] = {}
        self.tracked = []
        self._node.create_subscription(IdsList, '/humans/faces/tracked', self._on_tracked, qos)
        stage.wait_for(lambda: any(publisher.topic_name == '/humans/faces/tracked'
                                   and publisher.get_subscription_count()
                                   for publisher in stage.node.publishers))

    def _on_tracked(self, message: IdsList) -> None:
        for face_id in set(message.ids) - self._subscriptions.keys():
            heard = self.heard[face_id] = {name: [] for name in SUBTOPICS}
            self._subscriptions[face_id] = [
                self._node.create_subscription(kind, f'/humans/faces/{face_id}/{name}',
                                               heard[name].append, self._qos)
                for name, kind in SUBTOPICS.items()]
        for face_id in self._subscriptions.keys() - set(message.ids):
            for subscription in self._subscriptions.pop(face_id):
                self._node.destroy_subscription(subscription)
        self.tracked.append(message)


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def listen(stage: Stage, name: str) -> list:
    """What comes on a topic of face f00001, which is there already."""
    stage.outputs.publish(frame(SECOND // 2), [track('f00001')])
    return stage.listen(SUBTOPICS[name], f'/humans/faces/f00001/{name}')


def topics(stage: Stage) -> set[str]:
    """What the rest of the robot sees of the node's topics for ROS4HRI."""
    return {name.removeprefix('/humans/faces/')
            for name, _ in stage.peer.get_topic_names_and_types()
            if name.startswith('/humans/') and stage.peer.count_publishers(name)}


@pytest.mark.parametrize('qos', [
    qos_profile_system_default, QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE),
    QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)],
    ids=['system default', 'reliable', 'best effort'])
def test_a_listener_that_works_as_libhri_does_hears_everything_of_a_face(stage, qos):
    listener = Listener(stage, qos)

    def heard_all():
        stage.outputs.publish(frame(SECOND), [track('f00001')])  # again and again, as images come
        return 'f00001' in listener.heard and all(listener.heard['f00001'].values())

    stage.wait_for(heard_all)
    for messages in listener.heard['f00001'].values():
        assert messages[0].header.frame_id == FRAME


def test_who_is_tracked_is_told_after_every_image(stage):
    listener = Listener(stage, 10)
    kept = track('f00001')
    for i, tracks in enumerate(([], [kept], [kept, track('f00002', x=0.3)], [kept], []), 1):
        stage.outputs.publish(frame(i * SECOND), tracks)
    stage.wait_for(lambda: len(listener.tracked) == 5)
    assert [message.ids for message in listener.tracked] == [
        [], ['f00001'], ['f00001', 'f00002'], ['f00001'], []]
    assert [message.header.stamp.sec for message in listener.tracked] == [1, 2, 3, 4, 5]
    assert {message.header.frame_id for message in listener.tracked} == {FRAME}


def test_topics_appear_and_disappear_with_the_faces(stage):
    def named(*ids):
        return {'tracked', *(f'{face_id}/{name}' for face_id in ids for name in SUBTOPICS)}

    stage.wait_for(lambda: topics(stage) == named())
    both = [track('f00001'), track('f00002', x=0.3)]
    stage.outputs.publish(frame(SECOND), both)
    stage.wait_for(lambda: topics(stage) == named('f00001', 'f00002'))
    stage.outputs.publish(frame(2 * SECOND), both[1:])
    stage.wait_for(lambda: topics(stage) == named('f00002'))
    stage.outputs.stop(frame(3 * SECOND).header.stamp)
    stage.wait_for(lambda: not topics(stage))


def test_the_types_are_those_of_the_published_hri_msgs(stage):
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    for name, expected in PUBLISHED_TYPES.items():
        topic = f'/humans/faces/{name if name == "tracked" else f"f00001/{name}"}'
        info, = stage.wait_for(lambda topic=topic: stage.peer.get_publishers_info_by_topic(topic))
        assert str(info.topic_type_hash) == f'RIHS01_{expected}'
        assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
        assert info.qos_profile.durability == QoSDurabilityPolicy.VOLATILE


def test_when_images_stop_nobody_is_tracked(stage):
    listener = Listener(stage, 10)
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    stage.outputs.expire(60.0)  # they have not stopped for so long
    for _ in range(2):
        stage.outputs.expire(0.0)
    stage.outputs.publish(frame(3 * SECOND), [track('f00001')])  # they go on
    stage.wait_for(lambda: len(listener.tracked) == 3)
    assert [message.ids for message in listener.tracked] == [['f00001'], [], ['f00001']]
    assert {message.header.frame_id for message in listener.tracked} == {FRAME}


def test_a_node_that_is_deactivated_leaves_nobody_and_gives_no_id_twice(monkeypatch):
    with active_node(monkeypatch) as peer:
        tracked = []
        peer.node.create_subscription(IdsList, '/humans/faces/tracked', tracked.append, 10)
        time.sleep(0.3)
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: len(tracked) == 1)
        peer.change_state(Transition.TRANSITION_DEACTIVATE)
        peer.wait_for(lambda: len(tracked) == 2)
        peer.change_state(Transition.TRANSITION_ACTIVATE)
        peer.wait_until_connected()
        peer.wait_for(lambda: peer.node.count_publishers('/humans/faces/tracked'))
        time.sleep(0.3)
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, 2 * SECOND))
        peer.wait_for(lambda: len(tracked) == 3)
        assert [message.ids for message in tracked] == [['f00001'], [], ['f00002']]


def test_a_camera_that_dies_leaves_nobody(monkeypatch):
    with active_node(monkeypatch, input_timeout=0.5) as peer:
        tracked = []
        peer.node.create_subscription(IdsList, '/humans/faces/tracked', tracked.append, 10)
        time.sleep(0.3)
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: len(tracked) == 2)
        assert [message.ids for message in tracked] == [['f00001'], []]
        assert [marker.action for marker in peer.wait_for(
            lambda: len(peer.heard['mesh']) == 2 and peer.heard['mesh'])] == [
                Marker.ADD, Marker.DELETE]


def test_the_region_holds_the_projected_mesh(stage):
    heard = listen(stage, 'roi')
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
    heard = listen(stage, 'roi')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=0.55)])
    roi = stage.wait_for(lambda: heard)[0]
    assert 0.8 < roi.xmin < roi.xmax == 1.0


def test_landmarks_lie_where_the_face_is(stage):
    heard = listen(stage, 'landmarks')
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
    # the person's left is to the right in an image of somebody who looks into the camera
    assert points['LEFT_EAR'].x > points['LEFT_PUPIL'].x > points['RIGHT_PUPIL'].x
    assert points['RIGHT_PUPIL'].x > points['RIGHT_EAR'].x
    x = np.array([point.x for point in centred.landmarks])
    np.testing.assert_allclose(x + x[LANDMARK_MIRROR], 1.0, atol=0.003)


def test_landmarks_that_the_camera_does_not_see_have_no_confidence(stage):
    heard = listen(stage, 'landmarks')
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
    heard = listen(stage, 'landmarks')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=0.53)])
    points = stage.wait_for(lambda: heard)[0].landmarks
    assert all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in points)
    outside = [point for point in points if point.x == 1.0]
    assert 0 < len(outside) < 70 and not any(point.c for point in outside)


def test_action_units_come_from_the_expression(stage):
    heard = listen(stage, 'facs')
    stage.outputs.publish(frame(SECOND), [track('f00001', mouthSmileLeft=0.5, jawOpen=0.25)])
    message = stage.wait_for(lambda: heard)[0]
    assert message.intensity[FacialActionUnits.LIP_CORNER_PULLER] == 0.5
    assert message.intensity[FacialActionUnits.JAW_DROP] == 0.25
    assert message.intensity.sum() == 0.75
    assert message.confidence[FacialActionUnits.BROW_LOWERER] == pytest.approx(0.9)
    assert message.confidence[61] == 0  # where the eyes look, depth does not show


@pytest.mark.parametrize('dtype, encoding', [(np.uint16, '16UC1'), (np.float32, '32FC1')])
def test_the_crop_is_the_depth_around_the_face(stage, dtype, encoding):
    heard = listen(stage, 'cropped')
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
    heard = listen(stage, 'cropped')
    stage.outputs.publish(frame(SECOND), [track('f00001', x=3.0)])
    assert not any(stage.wait_for(lambda: heard)[0].data)


def test_what_nobody_hears_is_not_made(stage, monkeypatch):
    from depthface_ros.ros import hri_messages
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


def test_another_node_may_be_the_one_that_tells():
    with Stage(publish_hri=False) as stage:
        stage.outputs.publish(frame(SECOND), [track('f00001')])
        stage.wait_for(lambda: stage.peer.count_publishers('/depthface/mesh'))
        assert not topics(stage)


def test_telling_can_be_switched_off_and_on(stage):
    listener, model = Listener(stage, 10), FaceModel.load()
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    stage.outputs.start(Parameters(publish_hri=False), model)
    stage.outputs.publish(frame(2 * SECOND), [track('f00001')])
    stage.wait_for(lambda: len(listener.tracked) == 2 and not topics(stage))
    assert listener.tracked[1].ids == []
    stage.outputs.start(Parameters(), model)
    stage.wait_for(lambda: topics(stage) == {'tracked'})


def test_without_hri_msgs_everything_else_works(monkeypatch):
    monkeypatch.setattr(outputs, 'HumanFaces', None)
    with Stage() as stage:
        heard = stage.listen(outputs.TFMessage, '/tf')
        stage.outputs.publish(frame(SECOND), [track('f00001')])
        stage.wait_for(lambda: heard)
        assert not topics(stage)
        stage.outputs.stop(frame(SECOND).header.stamp)
