# SPDX-License-Identifier: Apache-2.0
"""What the node says about faces: frames on /tf and meshes for viewers."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from rclpy.node import Node
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.face_model import FaceModel
from depthface_ros.ros import bridge
from depthface_ros.ros.inputs import DepthFrame
from depthface_ros.ros.mesh_marker import MeshMarker, deletion
from depthface_ros.ros.parameters import Parameters
from depthface_ros.tracking import Track


class Outputs:
    """The publishers of the node; what nobody subscribes to is not made.

    They live as long as the node, so that tools can list them before it is active.
    """

    def __init__(self, node: Node):
        self._tf = node.create_publisher(TFMessage, '/tf', 100)  # as tf2_ros does
        self._mesh = node.create_publisher(Marker, '~/mesh', 10)
        self._shown: dict[str, str] = {}  # id of a face in viewers -> frame of its mesh

    def start(self, settings: Parameters, face_model: FaceModel) -> None:
        """The node is active from now on."""
        self._settings, self._face_model = settings, face_model
        self._marker: MeshMarker | None = None

    def publish(self, frame: DepthFrame, tracks: list[Track]) -> None:
        """All that is to be said after one image.

        :param tracks: the public ones; those that this image shows bear its stamp.
        """
        header = frame.header
        seen = [track for track in tracks if track.stamp_ns == frame.stamp_ns]
        if seen and self._settings.publish_tf:
            self._tf.publish(bridge.face_transforms(header, seen))
        self._clear_meshes(self._shown.keys() - {track.id for track in tracks}, header.stamp)
        if seen and self._settings.publish_mesh and self._mesh.get_subscription_count():
            if self._marker is None or self._marker.frame_id != header.frame_id:
                self._marker = MeshMarker(header.frame_id, self._face_model.triangles,
                                          self._settings.mesh_lifetime)
            for track in seen:
                self._shown[track.id] = header.frame_id
                self._mesh.publish(
                    self._marker.serialise(header.stamp, track.id, track.face.vertices))

    def stop(self, stamp: Time) -> None:
        """The node is no longer active: leave nothing behind in viewers."""
        self._clear_meshes(set(self._shown), stamp)

    def _clear_meshes(self, ids: set[str], stamp: Time) -> None:
        for track_id in ids:
            self._mesh.publish(deletion(self._shown.pop(track_id), stamp, track_id))
