# SPDX-License-Identifier: Apache-2.0
"""Faces for ROS4HRI (REP-155), over real DDS, subscribed to as libhri does."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')
pytest.importorskip('hri_msgs')

from hri_msgs.msg import FacialActionUnits, FacialLandmarks, IdsList, NormalizedRegionOfInterest2D
from lifecycle_msgs.msg import Transition
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_profile_system_default,
)
from ros_faces import FRAME, Stage, frame, track
from ros_helpers import DEPTH, active_node, camera_info_message, image_message
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.ros import outputs
from depthface_ros.ros.parameters import Parameters

SECOND = 10**9
# Topics that libhri 2.3.0 subscribes to for a new face (hri/src/hri/face.cpp) and that this package
# publishes.
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


def topics(stage: Stage) -> set[str]:
    """Return the node's topics for ROS4HRI, as another node discovers them."""
    return {name.removeprefix('/humans/faces/')
            for name, _ in stage.peer.get_topic_names_and_types()
            if name.startswith('/humans/') and stage.peer.count_publishers(name)}


@pytest.mark.parametrize('qos', [
    qos_profile_system_default, QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE),
    QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)],
    ids=['system default', 'reliable', 'best effort'])
def test_a_listener_like_libhri_receives_all_topics_of_a_face(stage, qos):
    listener = Listener(stage, qos)

    def heard_all():
        stage.outputs.publish(frame(SECOND), [track('f00001')])  # again and again, as images come
        return 'f00001' in listener.heard and all(listener.heard['f00001'].values())

    stage.wait_for(heard_all)
    for messages in listener.heard['f00001'].values():
        assert messages[0].header.frame_id == FRAME


def test_the_tracked_ids_are_published_after_every_image(stage):
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


def test_when_images_stop_the_list_of_faces_is_empty(stage):
    listener = Listener(stage, 10)
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    stage.outputs.expire(60.0)  # they have not stopped for so long
    for _ in range(2):
        stage.outputs.expire(0.0)
    stage.outputs.publish(frame(3 * SECOND), [track('f00001')])  # they go on
    stage.wait_for(lambda: len(listener.tracked) == 3)
    assert [message.ids for message in listener.tracked] == [['f00001'], [], ['f00001']]
    assert {message.header.frame_id for message in listener.tracked} == {FRAME}


@contextmanager
def node_with_a_face(monkeypatch, **parameters):
    """Yield the peer of a node that has published its first face, and the messages."""
    with active_node(monkeypatch, **parameters) as peer:
        tracked = []
        peer.node.create_subscription(IdsList, '/humans/faces/tracked', tracked.append, 10)
        time.sleep(0.3)  # until they are connected
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: tracked)
        yield peer, tracked


def test_a_deactivated_node_clears_its_faces_and_gives_no_id_twice(monkeypatch):
    with node_with_a_face(monkeypatch) as (peer, tracked):
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


def test_faces_are_cleared_when_the_camera_dies(monkeypatch):
    with node_with_a_face(monkeypatch, input_timeout=0.5) as (peer, tracked):
        meshes = peer.wait_for(lambda: len(tracked) == 2 and len(peer.heard['mesh']) == 2
                               and peer.heard['mesh'])
        assert [message.ids for message in tracked] == [['f00001'], []]
        assert [marker.action for marker in meshes] == [Marker.ADD, Marker.DELETE]


def test_another_node_may_be_the_one_that_publishes_ids():
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


def test_hri_msgs_need_not_be_installed():
    code = ('import sys; sys.modules["hri_msgs"] = None\n'
            'from depthface_ros.ros import node, outputs\n'
            'assert outputs.HriPublisher is None')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_hri_msgs_everything_else_works(monkeypatch):
    monkeypatch.setattr(outputs, 'HriPublisher', None)
    with Stage() as stage:
        heard = stage.listen(outputs.TFMessage, '/tf')
        stage.outputs.publish(frame(SECOND), [track('f00001')])
        stage.wait_for(lambda: heard)
        assert not topics(stage)
        stage.outputs.stop(frame(SECOND).header.stamp)
