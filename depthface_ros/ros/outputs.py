# SPDX-License-Identifier: Apache-2.0
"""Publishers of the node: poses, meshes and expressions of faces, and pictures of them."""

from __future__ import annotations

from collections import deque
from threading import Lock

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.ros import conversions, face_messages
from depthface_ros.ros.inputs import DepthFrame
from depthface_ros.ros.mesh_marker import MeshMarker, deletion
from depthface_ros.ros.parameters import Parameters
from depthface_ros.ros.publishing import create_publisher
from depthface_ros.tools.overlay import draw_faces
from depthface_ros.tracking.tracks import Track, in_image

try:
    from depthface_ros.ros.hri_publisher import HriPublisher
except ModuleNotFoundError as error:
    if not error.name.startswith('hri_msgs'):
        raise
    HriPublisher = None

# The process may end after its last messages: reliable subscriptions have this time to get them.
ACKNOWLEDGED_WITHIN = Duration(seconds=0.5)

REMEMBERED = 256  # transforms on /tf


class Outputs:
    """The publishers of the node. Topics without subscribers are not computed.

    They exist as long as the node, so that tools can list them before it is active. Those of
    ROS4HRI exist while it is active, since another node may publish them otherwise.
    """

    def __init__(self, node: Node):
        self._node, self._lock = node, Lock()
        self.published: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)  # frame, stamp in ns
        self._tf = create_publisher(node, TFMessage, '/tf', 100)  # as tf2_ros does
        self._poses = create_publisher(node, Odometry, '~/poses', 10)
        self._expressions = create_publisher(node, JointState, '~/expressions', 10)
        self._mesh = create_publisher(node, Marker, '~/mesh', 10)
        self._points = create_publisher(node, PointCloud2, '~/points', 1)
        self._debug_image = create_publisher(node, Image, '~/debug_image', 1)
        self._shown: dict[str, str] = {}  # id of a face in viewers -> frame of its mesh
        self._hri: HriPublisher | None = None
        self._published_ns: int | None = None  # the node's time of the latest publication of faces

    def start(self, settings: Parameters, face_model: FaceModel) -> None:
        """Start to publish, or continue with new settings."""
        self._settings, self._face_model = settings, face_model
        self._marker: MeshMarker | None = None
        with self._lock:
            if not settings.publish_hri:
                self._close_hri(self._node.get_clock().now().to_msg())
            elif HriPublisher is None:
                self._node.get_logger().info('hri_msgs is not installed: nothing for ROS4HRI',
                                             once=True)
            elif self._hri is None:
                self._hri = HriPublisher(self._node, face_model)

    def publish(self, frame: DepthFrame, tracks: list[Track]) -> None:
        """Publish the faces after one image.

        :param tracks: the public ones, visible in the image or not.
        """
        header = frame.header
        seen = in_image(tracks, frame.stamp_ns)
        with self._lock:
            self._published_ns = self._now_ns() if tracks else None
            if seen and self._settings.publish_tf and self._tf.get_subscription_count():
                transforms = conversions.face_transforms(header, seen)
                self.published.extend(map(conversions.frame_and_stamp, transforms.transforms))
                self._tf.publish(transforms)
            if self._hri:
                self._hri.publish(frame, tracks)
            if self._poses.get_subscription_count():
                for track in seen:
                    self._poses.publish(face_messages.pose_with_covariance(header, track))
            if self._expressions.get_subscription_count():
                for track in seen:
                    self._expressions.publish(face_messages.expression(
                        header, track, self._face_model.expression_names))
            self._clear_meshes(self._shown.keys() - {track.id for track in tracks}, header.stamp)
            if seen and self._settings.publish_mesh and self._mesh.get_subscription_count():
                self._publish_meshes(header, seen)
            if self._points.get_subscription_count():
                self._points.publish(face_messages.point_cloud(header, seen))
            if self._debug_image.get_subscription_count():
                picture = draw_faces(
                    frame.depth, frame.intrinsics, [track.face for track in seen],
                    self._face_model, [track.id for track in seen])
                self._debug_image.publish(face_messages.image(header, picture))

    def expire(self, limit_s: float) -> None:
        """Remove all faces if no image was processed for so long, by a clock that may be set."""
        with self._lock:
            if self._published_ns is not None and (
                    abs(self._now_ns() - self._published_ns) > limit_s * 1e9):
                stamp = self._node.get_clock().now().to_msg()
                self._clear_meshes(set(self._shown), stamp)
                if self._hri:
                    self._hri.clear(stamp)
                self._published_ns = None

    def stop(self, stamp: Time) -> None:
        """Remove all faces from viewers and subscribers when the node is deactivated."""
        with self._lock:
            self._clear_meshes(set(self._shown), stamp)
            self._mesh.wait_for_all_acked(ACKNOWLEDGED_WITHIN)
            self._close_hri(stamp)
            self._published_ns = None

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _close_hri(self, stamp: Time) -> None:
        if self._hri:
            self._hri.close(stamp, ACKNOWLEDGED_WITHIN)
            self._hri = None

    def _publish_meshes(self, header, tracks: list[Track]) -> None:
        if self._marker is None or self._marker.frame_id != header.frame_id:
            self._marker = MeshMarker(header.frame_id, self._face_model.triangles,
                                      self._settings.mesh_lifetime)
        for track in tracks:
            self._shown[track.id] = header.frame_id
            self._mesh.publish(
                self._marker.serialise(header.stamp, track.id, track.face.vertices))

    def _clear_meshes(self, ids: set[str], stamp: Time) -> None:
        for track_id in ids:
            self._mesh.publish(deletion(self._shown.pop(track_id), stamp, track_id))
