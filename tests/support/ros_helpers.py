# SPDX-License-Identifier: Apache-2.0
"""Helpers of the ROS tests: messages with depth, and a peer that communicates with the node over DDS."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from followed import Followed
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.estimation.estimator import EstimatorConfig
from depthface_ros.estimation.types import Face, HeadCandidates
from depthface_ros.ros import node as node_module

FRAME = 'camera_depth_optical_frame'
SECOND = 10**9
DEPTH = np.full((48, 64), 1000, np.uint16)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1]], np.int32)
# A person who faces the camera. x of the face is -z of the camera, towards it. y, the person's left,
# is +x of the camera, and z, up, is -y.
CAMERA_FROM_FACE = np.array([[0, 1, 0, 0.1], [0, 0, -1, -0.2], [-1, 0, 0, 1], [0, 0, 0, 1]],
                            np.float32)


def image_message(depth: np.ndarray, stamp_ns: int, frame_id: str = FRAME) -> Image:
    """Return the message for a depth image, (H, W) uint16 millimetres or float32 metres."""
    message = Image(height=depth.shape[0], width=depth.shape[1], step=depth.strides[0],
                    encoding='16UC1' if depth.dtype == np.uint16 else '32FC1')
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data.frombytes(depth.tobytes())
    return message


def camera_info_message(width: int = 64, height: int = 48, focal: float = 60.0) -> CameraInfo:
    """Return the camera_info of a rectified camera with its principal point in the middle."""
    info = CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5)
    info.header.frame_id = FRAME
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


class KnownFaces(Followed):
    """Stands in for the networks: one face for each depth in whole metres in the image."""

    engines_skipped = ()
    engine = SimpleNamespace(name='known', description='known faces')
    face_model = SimpleNamespace(triangles=TRIANGLES)
    config = EstimatorConfig()

    def __init__(self, *_):
        self.nobody = face_at(1.0)

    def find_heads(self, depth, intrinsics):
        return HeadCandidates(np.zeros((0, 3), np.float32))

    def __call__(self, depth, intrinsics, heads=None, stage_done=None):
        depth_mm = depth if depth.dtype == np.uint16 else np.rint(
            np.where(np.isfinite(depth), depth, 0) * 1000)
        return [face_at(z / 1000) for z in np.unique(depth_mm[depth_mm > 0]) if z % 1000 == 0]


def face_at(z: float) -> Face:
    camera_from_face = CAMERA_FROM_FACE.copy()
    camera_from_face[2, 3] = z
    vertices = np.random.default_rng(int(z)).normal(size=(4, 3)).astype(np.float32)
    return Face(camera_from_face, vertices, np.zeros(52, np.float32), 0.9, 0.02, 0.003)


def wait_for(what, seconds: float = 10.0):
    """Return the value of `what()` once it is true; fail the test if that takes too long."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f'nothing within {seconds} s'
        time.sleep(0.01)
    return value


class Peer:
    """Publishes as a camera and subscribes as another program.

    :param compressed: the camera sends CompressedImage of transport compressedDepth.
    """

    wait_for = staticmethod(wait_for)

    def __init__(self, namespace: str = '', compressed: bool = False):
        self.node = rclpy.create_node('peer', namespace=namespace)
        self.heard = {'tf': [], 'mesh': [], 'diagnostics': []}
        kind, topic = ((CompressedImage, 'depth/image/compressedDepth') if compressed
                       else (Image, 'depth/image'))
        self._image = self.node.create_publisher(kind, topic, qos_profile_sensor_data)
        self._info = self.node.create_publisher(CameraInfo, 'depth/camera_info',
                                                qos_profile_sensor_data)
        self._change_state = self.node.create_client(ChangeState, 'depthface/change_state')
        for kind, topic, name in ((TFMessage, '/tf', 'tf'), (Marker, 'depthface/mesh', 'mesh'),
                                  (DiagnosticArray, '/diagnostics', 'diagnostics')):
            self.node.create_subscription(kind, topic, self.heard[name].append, 100)

    def wait_until_connected(self) -> None:
        self.wait_for(lambda: self._image.get_subscription_count()
                      and self._info.get_subscription_count()
                      and self.node.count_publishers('/tf')
                      and self.node.count_publishers('depthface/mesh'))
        time.sleep(0.2)  # discovery on the other side may take a moment longer

    def send_info(self, info: CameraInfo | bytes) -> None:
        self._info.publish(info)
        time.sleep(0.1)  # on another topic: it should arrive before the image

    def send(self, image: Image | CompressedImage | bytes) -> None:
        self._image.publish(image)

    def show(self, image: Image | CompressedImage, second: int) -> None:
        """Send an image of a face at 1 m with this stamp; return when the face is on /tf."""
        image.header.stamp.sec = second
        self.send(image)
        message = self.wait_for(lambda: [m for m in self.heard['tf']
                                         if m.transforms[0].header.stamp.sec == second])[0]
        assert abs(message.transforms[0].transform.translation.z - 1.0) < 1e-3

    def change_state(self, transition_id: int) -> bool:
        """Take the node through a transition, as `ros2 lifecycle set` does; return success."""
        request = ChangeState.Request()
        request.transition.id = transition_id
        return self.wait_for(self._change_state.call_async(request).result).success

    def diagnostics(self) -> dict[str, str]:
        """Return the newest heartbeat: the values, and the text of the status as 'message'."""
        if not self.heard['diagnostics']:
            return {}
        status = self.heard['diagnostics'][-1].status[0]
        return {pair.key: pair.value for pair in status.values} | {'message': status.message}

    def last_problem(self) -> str:
        return self.diagnostics().get('last problem', '')


@contextmanager
def spinning(*nodes):
    """Serve the nodes' callbacks in a thread of its own; destroys the nodes at the end."""
    executor, stop = SingleThreadedExecutor(), threading.Event()
    for node in nodes:
        executor.add_node(node)

    def spin():
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        executor.shutdown()
        for node in nodes:
            if isinstance(node, LifecycleNode):
                with suppress(RuntimeError):  # the test has shut it down
                    node.trigger_shutdown()
            node.destroy_node()
        # Cycles of references would keep the nodes' participants alive: one more in each test,
        # with which all later ones communicate.
        gc.collect()


def known_node(monkeypatch, namespace: str = '', estimator=KnownFaces,
               **parameters) -> node_module.FaceNode:
    """Return a node, not configured, with known faces that it shows at once.

    :param parameters: values by name, with two underscores for a dot.
    """
    monkeypatch.setattr(node_module, 'FaceEstimator', estimator)
    monkeypatch.setattr(node_module, 'HEARTBEAT', 0.1)
    values = {'tracker.sightings': 1, 'tracker.keep_s': 0.0, 'tracker.keep_images': 0}
    values |= {name.replace('__', '.'): value for name, value in parameters.items()}
    return node_module.FaceNode(namespace=namespace, parameter_overrides=[
        Parameter(name, value=value) for name, value in values.items()])


@contextmanager
def active_node(monkeypatch, connected: bool = True, **parameters):
    """Yield a peer of an active `known_node`, which is its `subject`; connected by default."""
    rclpy.init()
    try:
        peer = Peer(compressed=parameters.get('image_transport') == 'compressedDepth')
        peer.subject = known_node(monkeypatch, **parameters)
        peer.subject.trigger_configure()
        peer.subject.trigger_activate()
        with spinning(peer.subject, peer.node):
            if connected:
                peer.wait_until_connected()
            yield peer
    finally:
        rclpy.shutdown()


@contextmanager
def calibrated_node(monkeypatch, **parameters):
    """Yield the peer of an `active_node` that has got a camera_info."""
    with active_node(monkeypatch, **parameters) as peer:
        peer.send_info(camera_info_message())
        yield peer
