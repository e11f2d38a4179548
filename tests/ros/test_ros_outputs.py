# SPDX-License-Identifier: Apache-2.0
"""Outputs for known faces over real DDS: content, ids, and no work without subscribers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from nav_msgs.msg import Odometry
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_faces import FRAME, Stage, frame, track
from sensor_msgs.msg import Image, JointState, PointCloud2, PointField
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.estimation.covariance import pose_covariance
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.ros import face_messages, mesh_marker, outputs
from depthface_ros.ros.parameters import Parameters
from depthface_ros.tools.overlay import colour_depth

SECOND = 10**9


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def test_a_pose_has_its_covariance_and_the_frame_of_its_face(stage):
    heard = stage.listen(Odometry, '/depthface/poses')
    stamp = 7 * SECOND + 5
    faces = [replace(track('f00003', stamp_ns=stamp, rotation_std=0.05, position_std=0.004),
                     sightings=1),
             track('f00012', x=0.3, stamp_ns=stamp)]
    stage.outputs.publish(frame(stamp), faces)
    pose, other = stage.wait_for(lambda: len(heard) == 2 and heard)
    assert (pose.child_frame_id, other.child_frame_id) == ('face_f00003', 'face_f00012')
    assert pose.header.frame_id == FRAME
    assert (pose.header.stamp.sec, pose.header.stamp.nanosec) == (7, 5)
    covariance = pose.pose.covariance.reshape(6, 6)
    np.testing.assert_allclose(covariance, np.diag([0.004**2] * 3 + [0.05**2] * 3), rtol=1e-6)
    assert pose.twist.covariance[0] == -1  # as in sensor_msgs/Imu: one image shows no velocity
    position = other.pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z],
                               faces[1].face.camera_from_face[:3, 3], atol=1e-6)


def test_velocities_are_published_in_the_frame_of_the_face(stage):
    """nav_msgs/Odometry: the pose in the frame of its header, the twist in its child's."""
    heard = stage.listen(Odometry, '/depthface/poses')
    still = track('f00001', yaw=0.5)
    std = np.array([0.001, 0.001, 0.01, 0.02, 0.03, 0.04])
    camera_from_face = still.face.camera_from_face
    in_camera = pose_covariance(camera_from_face, std)
    face = replace(still.face, pose_covariance=in_camera)
    # 0.6 m/s forward and 1.5 rad/s to the left
    motion = replace(still.motion, filters=tuple(
        part._replace(motion=part.motion._replace(velocity=tuple(speed * axis)), moving=1.0)
        for part, speed, axis in zip(still.motion.filters, (0.6, 1.5),
                                     camera_from_face[:3, [0, 2]].T)))
    stage.outputs.publish(frame(SECOND), [replace(still, face=face, sightings=2, motion=motion)])
    message = stage.wait_for(lambda: heard)[0]
    np.testing.assert_allclose(message.pose.covariance.reshape(6, 6), in_camera, atol=1e-12)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [0.6, 0, 0], atol=1e-6)
    np.testing.assert_allclose([angular.x, angular.y, angular.z], [0, 0, 1.5], atol=1e-6)
    np.testing.assert_allclose(message.twist.covariance.reshape(6, 6), motion.twist_covariance,
                               atol=1e-9)  # the same along all axes, so in all frames


def test_the_pose_is_that_of_tf(stage):
    poses, transforms = stage.listen(Odometry, '/depthface/poses'), stage.listen(TFMessage, '/tf')
    stage.outputs.publish(frame(SECOND), [track('f00001', yaw=0.4)])
    stage.wait_for(lambda: poses and transforms)
    transform, pose = transforms[0].transforms[0].transform, poses[0].pose.pose
    for name in 'xyzw':
        assert getattr(pose.orientation, name) == getattr(transform.rotation, name)
    for name in 'xyz':
        assert getattr(pose.position, name) == getattr(transform.translation, name)


def test_expression_coefficients_come_with_their_names(stage):
    heard = stage.listen(JointState, '/depthface/expressions')
    smiling = track('f00002', mouthSmileLeft=0.75, jawOpen=0.25)
    stage.outputs.publish(frame(SECOND), [smiling])
    message = stage.wait_for(lambda: heard)[0]
    assert message.header.frame_id == 'face_f00002' and message.header.stamp.sec == 1
    assert tuple(message.name) == EXPRESSION_NAMES
    found = dict(zip(message.name, message.position))
    assert {name: value for name, value in found.items() if value} == {
        'mouthSmileLeft': 0.75, 'jawOpen': 0.25}


def test_the_point_cloud_has_a_row_of_vertices_for_each_face(stage):
    heard = stage.listen(PointCloud2, '/depthface/points')
    tracks = [track('f00003'), track('f00012', x=0.3)]
    stage.outputs.publish(frame(SECOND), tracks)
    cloud = stage.wait_for(lambda: heard)[0]
    vertices = np.stack([item.face.vertices for item in tracks])
    assert (cloud.height, cloud.width) == vertices.shape[:2]
    assert cloud.row_step == cloud.width * cloud.point_step
    kinds = {PointField.FLOAT32: '<f4', PointField.UINT32: '<u4'}
    layout = np.dtype({'names': [field.name for field in cloud.fields],
                       'formats': [kinds[field.datatype] for field in cloud.fields],
                       'offsets': [field.offset for field in cloud.fields],
                       'itemsize': cloud.point_step})
    points = np.frombuffer(cloud.data, layout).reshape(cloud.height, cloud.width)
    np.testing.assert_array_equal(np.stack([points[name] for name in 'xyz'], -1), vertices)
    assert (points['face'] == [[3], [12]]).all()


def test_sensor_msgs_py_reads_the_point_cloud():
    point_cloud2 = pytest.importorskip(
        'sensor_msgs_py.point_cloud2', reason='sensor_msgs_py is not on PyPI; ROS has it, and the '
        'sources of ros2/common_interfaces on PYTHONPATH do as well')
    item = track('f00042')
    cloud = face_messages.point_cloud(frame(SECOND).header, [item])
    points = point_cloud2.read_points(cloud, field_names=('x', 'y', 'z', 'face'))
    np.testing.assert_array_equal(np.stack([points[name] for name in 'xyz'], -1),
                                  item.face.vertices)
    assert set(points['face']) == {42}


@pytest.mark.parametrize('library, name', [('cv_bridge', 'CvBridge'),
                                           ('sensor_msgs_py.point_cloud2', 'create_cloud')])
def test_the_libraries_of_ros_make_the_same_bytes(library, name, monkeypatch):
    module = pytest.importorskip(library, reason=f'{library} is not on PyPI; ROS has it, and its '
                                 'sources on PYTHONPATH do as well')
    assert getattr(face_messages, name) is getattr(module, name)
    header, faces = frame(SECOND).header, [track('f00042'), track('f00007')]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (12, 20, 3)).astype(np.uint8),
                rng.integers(0, 5000, (12, 20)).astype(np.uint16),
                rng.random((12, 20)).astype(np.float32)]

    def messages():
        made = [face_messages.image(header, picture) for picture in pictures]
        return made + [face_messages.point_cloud(header, some) for some in (faces, [])]
    by_library = messages()  # compared field by field: padding of serialised ones is arbitrary
    monkeypatch.setattr(face_messages, name, None)
    assert by_library == messages()


def test_a_point_cloud_without_faces_is_empty_and_clears_viewers(stage):
    heard = stage.listen(PointCloud2, '/depthface/points')
    stage.outputs.publish(frame(SECOND), [])
    cloud = stage.wait_for(lambda: heard)[0]
    assert cloud.height * cloud.width == len(cloud.data) == 0


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_the_debug_image_is_coloured_depth_with_the_faces_on_it(stage, dtype):
    heard = stage.listen(Image, '/depthface/debug_image')
    empty = frame(SECOND, dtype=dtype)
    stage.outputs.publish(empty, [])
    stage.outputs.publish(frame(2 * SECOND, dtype=dtype), [track('f00001', stamp_ns=2 * SECOND)])
    without, with_face = stage.wait_for(lambda: len(heard) == 2 and heard)
    pictures = [np.frombuffer(message.data, np.uint8).reshape(message.height, -1, 3)
                for message in (without, with_face)]
    assert without.encoding == 'bgr8' and without.step == 3 * without.width
    assert pictures[0].shape[:2] == empty.depth.shape
    np.testing.assert_array_equal(pictures[0], colour_depth(empty.depth, empty.intrinsics.fx))
    changed = (pictures[0] != pictures[1]).any(-1)
    assert changed[60, 80] and not changed[-1].any()  # the face is in the middle


BUILDERS = {
    '/tf': (TFMessage, outputs.conversions, 'face_transforms'),
    '/depthface/poses': (Odometry, face_messages, 'pose_with_covariance'),
    '/depthface/expressions': (JointState, face_messages, 'expression'),
    '/depthface/points': (PointCloud2, face_messages, 'point_cloud'),
    '/depthface/debug_image': (Image, outputs, 'draw_faces'),
    '/depthface/mesh': (Marker, mesh_marker.MeshMarker, 'serialise'),
}


@pytest.mark.parametrize('topic', BUILDERS)
def test_topics_without_subscribers_are_not_computed(stage, monkeypatch, topic):
    made = []

    def spied(name, real):
        return lambda *arguments: made.append(name) or real(*arguments)

    for _, owner, name in BUILDERS.values():
        monkeypatch.setattr(owner, name, spied(name, getattr(owner, name)))
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    assert made == []
    kind, _, builder = BUILDERS[topic]
    heard = stage.listen(kind, topic)
    stage.outputs.publish(frame(2 * SECOND), [track('f00001', stamp_ns=2 * SECOND)])
    stage.wait_for(lambda: heard)
    assert made == [builder]


def test_a_mesh_is_deleted_when_its_face_is_lost_and_when_images_stop(stage):
    heard = stage.listen(Marker, '/depthface/mesh')
    both = [track('f00001'), track('f00002', x=0.3)]
    stage.outputs.publish(frame(SECOND), both)
    stage.outputs.publish(frame(2 * SECOND), both[:1])  # kept, though not seen
    stage.outputs.expire(60.0)
    stage.outputs.expire(0.0)
    stage.wait_for(lambda: len(heard) == 4)
    assert [(marker.action, marker.id) for marker in heard] == [
        (Marker.ADD, 1), (Marker.ADD, 2), (Marker.DELETE, 2), (Marker.DELETE, 1)]
    assert [marker.header.stamp.sec for marker in heard[:3]] == [1, 1, 2]


def test_publishers_cost_the_executor_nothing(stage):
    before = len(list(stage.node.waitables))
    other = outputs.Outputs(stage.node)
    other.start(Parameters(), FaceModel.load())
    assert len(list(stage.node.waitables)) == before


def test_a_subscription_with_an_incompatible_qos_does_no_harm(stage):
    heard, late = stage.listen(TFMessage, '/tf'), []
    stage.peer.create_subscription(TFMessage, '/tf', late.append, QoSProfile(
        depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL))
    stage.outputs.publish(frame(SECOND), [track('f00001')])
    stage.wait_for(lambda: heard)
    assert not late
