# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS: its outputs for known faces, and its handling of bad input."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from geometry_msgs.msg import Quaternion
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from ros_helpers import (
    DEPTH,
    FRAME,
    SECOND,
    TRIANGLES,
    KnownFaces,
    active_node,
    camera_info_message,
    face_at,
    image_message,
)
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker


@pytest.fixture
def peer(monkeypatch):
    with active_node(monkeypatch) as peer:
        yield peer


def rotation(quaternion: Quaternion) -> np.ndarray:
    """Return the matrix of a quaternion: rotates a vector v to q v q*."""
    v, w = np.array([quaternion.x, quaternion.y, quaternion.z]), quaternion.w
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def test_a_face_becomes_a_frame_under_the_images_frame_with_its_gaze(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 5 * SECOND + 7))
    message = peer.wait_for(lambda: peer.heard['tf'])[0]
    face, gaze = message.transforms
    assert (face.header.frame_id, face.child_frame_id) == (FRAME, 'face_f00001')
    assert (gaze.header.frame_id, gaze.child_frame_id) == ('face_f00001', 'gaze_f00001')
    for item in (face, gaze):
        assert (item.header.stamp.sec, item.header.stamp.nanosec) == (5, 7)
    camera_from_face = rotation(face.transform.rotation)
    np.testing.assert_allclose(camera_from_face[:, 0], [0, 0, -1], atol=1e-6)  # x: to the camera
    np.testing.assert_allclose(camera_from_face[:, 2], [0, -1, 0], atol=1e-6)  # z: up
    position = face.transform.translation
    np.testing.assert_allclose([position.x, position.y, position.z], [0.1, -0.2, 1.0], atol=1e-6)
    face_from_gaze = rotation(gaze.transform.rotation)
    np.testing.assert_allclose(face_from_gaze[:, 2], [1, 0, 0], atol=1e-6)  # z along x of the face
    np.testing.assert_allclose(face_from_gaze[:, 1], [0, 0, -1], atol=1e-6)  # y down


def test_a_slash_before_the_frame_is_left_out_since_tf2_refuses_it(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 2 * SECOND, f'/{FRAME}'))
    transform = peer.wait_for(lambda: peer.heard['tf'])[0].transforms[0]
    marker = peer.wait_for(lambda: peer.heard['mesh'])[0]
    assert transform.header.frame_id == marker.header.frame_id == FRAME


def test_the_mesh_marker_holds_the_vertices_of_the_estimator(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 2 * SECOND))
    marker = peer.wait_for(lambda: peer.heard['mesh'])[0]
    assert (marker.type, marker.action, marker.id) == (Marker.TRIANGLE_LIST, Marker.ADD, 1)
    assert (marker.header.frame_id, marker.header.stamp.sec) == (FRAME, 2)
    points = np.array([[p.x, p.y, p.z] for p in marker.points])
    np.testing.assert_allclose(points, face_at(1.0).vertices[TRIANGLES.reshape(-1)], atol=1e-6)


def test_two_faces_share_one_tf_message_and_a_lost_one_is_deleted(peer):
    peer.send_info(camera_info_message())
    both = DEPTH.copy()
    both[:10] = 2000
    peer.send(image_message(both, 1 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'] and len(peer.heard['mesh']) == 2)
    assert [item.child_frame_id for item in peer.heard['tf'][0].transforms] == [
        'face_f00001', 'gaze_f00001', 'face_f00002', 'gaze_f00002']
    peer.send(image_message(DEPTH, 2 * SECOND))
    markers = peer.wait_for(lambda: len(peer.heard['mesh']) == 4 and peer.heard['mesh'][2:])
    assert {(m.action, m.id) for m in markers} == {(Marker.DELETE, 2), (Marker.ADD, 1)}


def test_an_image_without_faces_puts_nothing_on_tf(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(np.full((48, 64), 1234, np.uint16), SECOND))
    peer.wait_for(lambda: peer.diagnostics().get('processed total') == '1')
    assert not peer.heard['tf'] and not peer.heard['mesh']
    assert peer.diagnostics()['faces'] == '0'


def bad(change):
    image = image_message(DEPTH, SECOND)
    change(image)
    return image


BAD_IMAGES = {
    'colour': (lambda m: setattr(m, 'encoding', 'rgb8'), "'rgb8'"),
    'no encoding': (lambda m: setattr(m, 'encoding', ''), "''"),
    'zero size': (lambda m: (setattr(m, 'height', 0), setattr(m, 'width', 0)), '0x0'),
    'truncated': (lambda m: setattr(m, 'data', m.data[:100]), '100 bytes'),
    'no data': (lambda m: setattr(m, 'data', m.data[:0]), '0 bytes'),
    'step': (lambda m: setattr(m, 'step', 3), 'step of 3'),
    'other size': (lambda m: (setattr(m, 'height', 24)), '64x48'),
    'no frame': (lambda m: setattr(m.header, 'frame_id', ''), 'frame_id'),
}


@pytest.mark.parametrize('name', BAD_IMAGES)
def test_a_bad_image_is_reported_and_the_next_one_is_processed(peer, name):
    change, text = BAD_IMAGES[name]
    peer.send_info(camera_info_message())
    peer.send(bad(change))
    peer.wait_for(lambda: text in peer.diagnostics().get('last problem', ''))
    assert peer.diagnostics()['rejected total'] == '1' and not peer.heard['tf']
    assert 'expected' in peer.diagnostics()['last problem']
    peer.send(image_message(DEPTH, 2 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'])


@pytest.mark.parametrize('depth, text', [
    (np.zeros((48, 64), np.uint16), 'without any valid depth'),
    (np.full((48, 64), np.nan, np.float32), 'without any valid depth'),
    (np.full((48, 64), 800, np.float32), 'median depth is 800 m'),
], ids=['all zero', 'all NaN', 'millimetres as metres'])
def test_an_odd_image_is_reported_and_the_next_one_is_processed(peer, depth, text):
    peer.send_info(camera_info_message())
    peer.send(image_message(depth, SECOND))
    peer.wait_for(lambda: text in peer.diagnostics().get('last problem', ''))
    peer.send(image_message(DEPTH, 2 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'])


def test_a_bad_or_missing_camera_info_is_reported_until_a_good_one_comes(peer):
    peer.send(image_message(DEPTH, SECOND))
    peer.wait_for(lambda: 'no camera_info yet' in peer.diagnostics().get('last problem', ''))
    peer.send_info(camera_info_message(focal=0.0))
    peer.send(image_message(DEPTH, 2 * SECOND))
    peer.wait_for(lambda: 'no calibration' in peer.diagnostics()['last problem'])
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 3 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'])


def test_a_frame_that_is_not_optical_is_reported_but_used(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, SECOND, 'camera_link'))
    message = peer.wait_for(lambda: peer.heard['tf'])[0]
    assert message.transforms[0].header.frame_id == 'camera_link'
    peer.wait_for(lambda: 'optical' in peer.diagnostics().get('last problem', ''))


def test_an_error_in_the_networks_costs_one_image_only(peer, monkeypatch):
    calls = []

    def fail_once(self, depth, intrinsics, heads=None, stage_done=None, original=KnownFaces.__call__):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError('out of memory')
        return original(self, depth, intrinsics)

    monkeypatch.setattr(KnownFaces, '__call__', fail_once)
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, SECOND))
    peer.wait_for(lambda: 'out of memory' in peer.diagnostics().get('last problem', ''))
    peer.send(image_message(DEPTH, 2 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'])


def test_deactivating_clears_viewers_and_activating_again_works(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, SECOND))
    peer.wait_for(lambda: peer.heard['mesh'])
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert peer.wait_for(lambda: peer.heard['mesh'][1:])[0].action == Marker.DELETE
    for transition in (Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE,
                       Transition.TRANSITION_ACTIVATE):
        assert peer.change_state(transition)
    peer.wait_until_connected()
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 9 * SECOND))
    peer.wait_for(lambda: len(peer.heard['tf']) == 2)


def test_a_recording_that_starts_again_gives_new_ids_and_clears_the_old_meshes(peer):
    peer.send_info(camera_info_message())
    peer.send(image_message(DEPTH, 100 * SECOND))
    peer.wait_for(lambda: peer.heard['tf'] and peer.heard['mesh'])
    peer.send(image_message(DEPTH, 5 * SECOND))
    peer.wait_for(lambda: len(peer.heard['tf']) == 2 and len(peer.heard['mesh']) == 3)
    assert peer.heard['tf'][1].transforms[0].child_frame_id == 'face_f00002'
    assert [(m.action, m.id) for m in peer.heard['mesh']] == [
        (Marker.ADD, 1), (Marker.DELETE, 1), (Marker.ADD, 2)]


def test_an_image_that_comes_late_changes_nothing(peer):
    peer.send_info(camera_info_message())
    for stamp in (10 * SECOND, 10 * SECOND - SECOND // 10, 11 * SECOND):
        peer.send(image_message(DEPTH, stamp))
        time.sleep(0.2)
    messages = peer.wait_for(lambda: len(peer.heard['tf']) == 2 and peer.heard['tf'])
    assert [m.transforms[0].header.stamp.sec for m in messages] == [10, 11]
    assert {m.transforms[0].child_frame_id for m in messages} == {'face_f00001'}


def test_images_of_a_reliable_camera_are_received_as_well(peer):
    camera = peer.node.create_publisher(Image, 'depth/image', 10)
    peer.wait_for(camera.get_subscription_count)
    peer.send_info(camera_info_message())
    camera.publish(image_message(DEPTH, SECOND))
    peer.wait_for(lambda: peer.heard['tf'])


def test_parameters_cannot_change_while_they_would_have_no_effect(peer):
    results = peer.subject.set_parameters([Parameter('engine', value='cpu')])
    assert not results[0].successful and 'configured' in results[0].reason
    assert peer.subject.set_parameters([Parameter('use_sim_time', value=False)])[0].successful
