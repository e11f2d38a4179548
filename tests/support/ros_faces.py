# SPDX-License-Identifier: Apache-2.0
"""Known faces in front of a known camera, and a stage that receives their published messages."""

from __future__ import annotations

import time

import numpy as np
import rclpy
from ros_helpers import FRAME, spinning, wait_for
from std_msgs.msg import Header

from depthface_ros.estimation.types import Face
from depthface_ros.face_model.mesh import EXPRESSION_NAMES, FaceModel
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.geometry.rotations import rotation_from_vector
from depthface_ros.ros.inputs import DepthFrame
from depthface_ros.ros.outputs import Outputs
from depthface_ros.ros.parameters import Parameters
from depthface_ros.tracking.tracks import Track

SECOND = 10**9
CAMERA = Intrinsics(150.0, 150.0, 79.5, 59.5)
# A person who faces the camera: x of the face is -z of the camera, z (up) is -y.
FACING_CAMERA = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], np.float32)


def frame(stamp_ns: int, depth_m: float = 1.0, dtype=np.uint16) -> DepthFrame:
    """Return an image of a wall, 160 x 120 pixels."""
    unit = 1000 if dtype == np.uint16 else 1
    header = Header(frame_id=FRAME)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, SECOND)
    return DepthFrame(header, np.full((120, 160), depth_m * unit, dtype), CAMERA)


def track(face_id: str, x: float = 0.0, z: float = 1.0, yaw: float = 0.0,
          stamp_ns: int = SECOND, confidence: float = 0.9, rotation_std: float = 0.02,
          position_std: float = 0.003, **expression: float) -> Track:
    """Return the average face at (x, 0, z) metres, last seen at a stamp, with expression coefficients."""
    camera_from_face = np.eye(4, dtype=np.float32)
    turn = rotation_from_vector(np.array([[0.0, 0.0, yaw]], np.float32))[0]
    camera_from_face[:3, :3] = FACING_CAMERA @ turn
    camera_from_face[:3, 3] = (x, 0.0, z)
    vertices = FaceModel.load().template @ camera_from_face[:3, :3].T + camera_from_face[:3, 3]
    coefficients = np.array([expression.get(name, 0.0) for name in EXPRESSION_NAMES], np.float32)
    face = Face(camera_from_face, vertices.astype(np.float32), coefficients, confidence,
                rotation_std, position_std)
    return Track(face_id, face, stamp_ns, sightings=3)


class Stage:
    """Outputs of a node named depthface, and another node that listens to them."""

    wait_for = staticmethod(wait_for)

    def __init__(self, **parameters):
        self._parameters = parameters

    def __enter__(self) -> Stage:
        rclpy.init()
        self.node, self.peer = rclpy.create_node('depthface'), rclpy.create_node('peer')
        self.outputs = Outputs(self.node)
        self.outputs.start(Parameters(**self._parameters), FaceModel.load())
        self._spinning = spinning(self.node, self.peer)
        self._spinning.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._spinning.__exit__(*error)
        rclpy.shutdown()

    def listen(self, kind: type, topic: str, qos=10) -> list:
        """Collect the messages of a topic; return when publisher and listener are connected."""
        heard = []
        self.peer.create_subscription(kind, topic, heard.append, qos)
        self.wait_for(lambda: any(
            publisher.topic_name == topic and publisher.get_subscription_count()
            for publisher in self.node.publishers))
        time.sleep(0.1)  # discovery on the other side may take a moment longer
        return heard
