# SPDX-License-Identifier: Apache-2.0
"""Conversions of faces to messages of ROS's common interfaces."""

from __future__ import annotations

from array import array

import numpy as np
from geometry_msgs.msg import Point, Pose, Twist, TwistWithCovariance, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState, PointCloud2, PointField
from std_msgs.msg import Header

from depthface_ros.estimation.covariance import rotated
from depthface_ros.io.marker_template import marker_id_of
from depthface_ros.ros.conversions import transform
from depthface_ros.tracking.tracks import Track

# Part of every ROS installation, and not on PyPI. Without them messages have the same bytes.
try:
    from cv_bridge import CvBridge
except (ImportError, AttributeError):  # not installed, or built for another version of numpy
    CvBridge = None
try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except ImportError:
    create_cloud = None

POINT = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('face', '<u4')])
_POINT_FIELDS = [
    PointField(name=name, offset=POINT.fields[name][1], count=1,
               datatype=PointField.UINT32 if name == 'face' else PointField.FLOAT32)
    for name in POINT.names]


def pose_with_covariance(header: Header, track: Track) -> Odometry:
    """Return the pose of a face with its covariance; `child_frame_id` is its frame on /tf.

    Odometry is the message with a pose, a covariance and a name. Its twist is in the frame of the
    face. Where it is unknown, the first element of its covariance is -1, as in sensor_msgs/Imu.
    """
    value = transform(track.face.camera_from_face)
    position = value.translation
    message = Odometry(header=header, child_frame_id=f'face_{track.id}')
    message.pose.pose = Pose(position=Point(x=position.x, y=position.y, z=position.z),
                             orientation=value.rotation)
    message.pose.covariance = np.ravel(track.face.pose_covariance).astype(float)
    if track.twist is None:
        message.twist.covariance[0] = -1.0
    else:
        message.twist = _twist_in_face_frame(track)
    return message


def _twist_in_face_frame(track: Track) -> TwistWithCovariance:
    face_from_camera = track.face.camera_from_face[:3, :3].T.astype(float)
    linear, angular = np.reshape(track.twist, (2, 3)) @ face_from_camera.T
    message = TwistWithCovariance(twist=Twist(
        linear=Vector3(**dict(zip('xyz', linear.tolist()))),
        angular=Vector3(**dict(zip('xyz', angular.tolist())))))
    if track.twist_covariance is not None:
        message.covariance = rotated(track.twist_covariance, face_from_camera).ravel()
    return message


def expression(header: Header, track: Track, names: tuple[str, ...]) -> JointState:
    """Return the expression coefficients of a face with their names; the frame is the face's."""
    message = JointState(name=list(names), position=track.face.expression.tolist())
    message.header.stamp, message.header.frame_id = header.stamp, f'face_{track.id}'
    return message


def point_cloud(header: Header, tracks: list[Track]) -> PointCloud2:
    """Return the vertices of all meshes: one row per face, one column per vertex, metres.

    `face` is the number of a face's id: 42 for f00042, as in the id of its marker.
    """
    width = len(tracks[0].face.vertices) if tracks else 0
    points = np.empty((len(tracks), width), POINT)
    for row, track in zip(points, tracks):
        row['x'], row['y'], row['z'] = track.face.vertices.T
        row['face'] = marker_id_of(track.id)
    if create_cloud is not None and points.size:  # it has no empty clouds
        cloud = create_cloud(header, _POINT_FIELDS, points.ravel())
    else:
        cloud = PointCloud2(header=header, fields=_POINT_FIELDS, is_bigendian=False,
                            point_step=POINT.itemsize, data=array('B', points.tobytes()))
    cloud.height, cloud.width, cloud.row_step = len(tracks), width, width * POINT.itemsize
    cloud.is_dense = True
    return cloud


def image(header: Header, picture: np.ndarray) -> Image:
    """Return the message for a picture (H, W, 3) uint8 BGR, or for depth (H, W) in mm or m."""
    encoding = {'|u1': 'bgr8', '<u2': '16UC1', '<f4': '32FC1'}[picture.dtype.str]
    if CvBridge is not None:
        message = CvBridge().cv2_to_imgmsg(picture, header=header)
        message.encoding = encoding  # OpenCV's name of bgr8 is 8UC3
        return message
    return Image(header=header, height=picture.shape[0], width=picture.shape[1],
                 encoding=encoding, is_bigendian=0, step=picture[0].nbytes,
                 data=array('B', picture.tobytes()))
