# SPDX-License-Identifier: Apache-2.0
"""What the node says about faces: where they are, their shape, their expression, pictures."""

from __future__ import annotations

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
from depthface_ros.tracking.tracks import Track

try:
    from depthface_ros.ros.hri_publisher import HumanFaces
except ModuleNotFoundError as error:
    if not error.name.startswith('hri_msgs'):
        raise
    HumanFaces = None

# The node may end at once after its last words: a reliable listener has that long to hear them.
ACKNOWLEDGED_WITHIN = Duration(seconds=0.5)


class Outputs:
    """The publishers of the node; what nobody subscribes to is not made.

    They live as long as the node, so that tools can list them before it is active; those of
    ROS4HRI come with activation, since another node may be the one that tells who is there.
    """

    def __init__(self, node: Node):
        self._node, self._lock = node, Lock()
        self._tf = create_publisher(node, TFMessage, '/tf', 100)  # as tf2_ros does
        self._poses = create_publisher(node, Odometry, '~/poses', 10)
        self._expressions = create_publisher(node, JointState, '~/expressions', 10)
        self._mesh = create_publisher(node, Marker, '~/mesh', 10)
        self._points = create_publisher(node, PointCloud2, '~/points', 1)
        self._debug_image = create_publisher(node, Image, '~/debug_image', 1)
        self._shown: dict[str, str] = {}  # id of a face in viewers -> frame of its mesh
        self._humans: HumanFaces | None = None
        self._told_ns: int | None = None  # the node's time when faces were last told of

    def start(self, settings: Parameters, face_model: FaceModel) -> None:
        """The node is active from now on, or goes on with other settings."""
        self._settings, self._face_model = settings, face_model
        self._marker: MeshMarker | None = None
        with self._lock:
            if not settings.publish_hri:
                self._close_humans(self._node.get_clock().now().to_msg())
            elif HumanFaces is None:
                self._node.get_logger().info('hri_msgs is not installed: nothing for ROS4HRI',
                                             once=True)
            elif self._humans is None:
                self._humans = HumanFaces(self._node, face_model)

    def publish(self, frame: DepthFrame, tracks: list[Track]) -> None:
        """All that is to be said after one image.

        :param tracks: the public ones; those that this image shows bear its stamp.
        """
        header = frame.header
        seen = [track for track in tracks if track.stamp_ns == frame.stamp_ns]
        with self._lock:
            self._told_ns = self._now_ns() if tracks else None
            if seen and self._settings.publish_tf and self._tf.get_subscription_count():
                self._tf.publish(conversions.face_transforms(header, seen))
            if self._humans:
                self._humans.publish(frame, tracks)
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
        """Nobody is there any more if no image was worked on for so long."""
        with self._lock:
            if self._told_ns is not None and self._now_ns() - self._told_ns > limit_s * 1e9:
                stamp = self._node.get_clock().now().to_msg()
                self._clear_meshes(set(self._shown), stamp)
                if self._humans:
                    self._humans.clear(stamp)
                self._told_ns = None

    def stop(self, stamp: Time) -> None:
        """The node is no longer active: leave nothing behind in viewers and listeners."""
        with self._lock:
            self._clear_meshes(set(self._shown), stamp)
            self._mesh.wait_for_all_acked(ACKNOWLEDGED_WITHIN)
            self._close_humans(stamp)
            self._told_ns = None

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _close_humans(self, stamp: Time) -> None:
        if self._humans:
            self._humans.close(stamp, ACKNOWLEDGED_WITHIN)
            self._humans = None

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
