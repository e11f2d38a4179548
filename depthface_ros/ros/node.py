# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: depth images in, faces on /tf and mesh markers out."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.camera import Intrinsics
from depthface_ros.camera_info import intrinsics_from_camera_info, is_rectified
from depthface_ros.depth_image import median_depth
from depthface_ros.estimator import FaceEstimator
from depthface_ros.ros import bridge
from depthface_ros.ros.health import Health, RateLimit
from depthface_ros.ros.mesh_marker import MeshMarker, deletion
from depthface_ros.ros.parameters import declare_parameters, read_parameters
from depthface_ros.ros.worker import NewestFirstWorker
from depthface_ros.tracking import Track, Tracker

IMPLAUSIBLE_DEPTH = 100.0  # m; a median beyond it means that the unit is wrong
HEARTBEAT = 1.0  # s
CAMERA_INFO_PATIENCE = 0.2  # s; the first one may come a little after the first image


class FaceNode(LifecycleNode):
    """Callbacks only store or hand over messages; images are worked on in a thread of their own.

    configure loads the networks, activate subscribes, deactivate unsubscribes and clears viewers.
    """

    def __init__(self, **options):
        super().__init__('depthface', **options)
        self._fixed_parameters = declare_parameters(self)
        self._health = Health()
        self._repeat, self._once = RateLimit(5.0), RateLimit(float('inf'))
        self._estimator = self._worker = None
        self._tf = self.create_publisher(TFMessage, '/tf', 100)  # as tf2_ros does
        self._mesh = self.create_publisher(Marker, '~/mesh', 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # in wall time: the heart beats on when a simulation is paused
        self.create_timer(HEARTBEAT, self._on_heartbeat,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.add_on_set_parameters_callback(self._on_set_parameters)

    # Lifecycle ----------------------------------------------------------------------------------

    def on_configure(self, state) -> TransitionCallbackReturn:
        try:
            self._settings = read_parameters(self)
            self._estimator = FaceEstimator(self._settings.engine, self._settings.estimator)
            # Python and the engine load things at their first use: no image need wait for it.
            self._estimator(np.full((120, 160), 1000, np.uint16), Intrinsics(150, 150, 80, 60))
        except Exception as error:
            return self._failed('configure', error)
        for engine, reason in self._estimator.engines_skipped:
            self.get_logger().debug(f'engine {engine} is not used: {reason}')
        self.get_logger().info(f'engine {self._estimator.engine.name} is ready')
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state) -> TransitionCallbackReturn:
        self._tracker = Tracker(self._settings.tracker)
        self._shown: dict[str, str] = {}  # id of a face in viewers -> frame of its mesh
        self._marker: MeshMarker | None = None
        self._camera_info: CameraInfo | None = None
        self._camera_info_came = threading.Event()
        self._image_time = self._camera_info_time = time.monotonic()
        override = {'qos_overriding_options': QoSOverridingOptions.with_default_policies()}
        try:
            # Best effort matches reliable and best-effort cameras (REP-2003). The queue of a few
            # images is emptied at once: what is not worked on gets dropped, and counted, here.
            self._inputs = [
                self.create_subscription(kind, topic, callback, qos_profile_sensor_data,
                                         **override)
                for kind, topic, callback in (
                    (Image, 'depth/image', self._on_image),
                    (CameraInfo, 'depth/camera_info', self._on_camera_info))]
        except Exception as error:  # a QoS that the user set and ROS refuses
            return self._failed('activate', error)
        image_topic, info_topic = (subscription.topic_name for subscription in self._inputs)
        self._rectified = self._settings.rectified or is_rectified(image_topic)
        self._worker = NewestFirstWorker(self._process, lambda: self._health.count('dropped'))
        self.get_logger().info(f'listening to {image_topic} and {info_topic}')
        return super().on_activate(state)

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        self._estimator = None
        return super().on_cleanup(state)

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        self._stop()
        return super().on_shutdown(state)

    def _stop(self) -> None:
        if self._worker is None:
            return
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._worker.stop()
        self._worker = None
        self._clear_meshes(set(self._shown), self.get_clock().now().to_msg())

    def _failed(self, what: str, error: Exception) -> TransitionCallbackReturn:
        self._health.problem(str(error))
        self.get_logger().error(f'cannot {what}: {error}')
        return TransitionCallbackReturn.FAILURE

    def _on_set_parameters(self, parameters):
        fixed = self._estimator is not None and any(
            parameter.name in self._fixed_parameters for parameter in parameters)
        return SetParametersResult(successful=not fixed, reason=(
            'read when the node is configured: deactivate and clean up first' if fixed else ''))

    # Input: executor thread ---------------------------------------------------------------------

    def _on_camera_info(self, camera_info: CameraInfo) -> None:
        self._camera_info = camera_info
        self._camera_info_time = time.monotonic()
        self._camera_info_came.set()

    def _on_image(self, image: Image) -> None:
        self._image_time = time.monotonic()
        self._health.count('received')
        self._worker.put((image, self._image_time))

    # Work: worker thread ------------------------------------------------------------------------

    def _process(self, item: tuple[Image, float]) -> None:
        """Image to messages; whatever is wrong with one image, the next one gets its chance."""
        image, received_time = item
        try:
            tracks = self._track_faces(image)
            self._publish(image.header, tracks)
        except ValueError as error:
            self._health.count('rejected')
            self._report('input', str(error))
            return
        except Exception:
            if rclpy.ok(context=self.context):  # else the node was shut down meanwhile
                self._health.count('rejected')
                self._report('bug', f'an image was skipped:\n{traceback.format_exc()}')
            return
        stamp_ns = bridge.nanoseconds(image.header.stamp)
        latency_s = (self.get_clock().now().nanoseconds - stamp_ns) * 1e-9
        self._health.processed(len(tracks), latency_s, time.monotonic() - received_time)

    def _track_faces(self, image: Image) -> list[Track]:
        """All tracks that are public now; those that this image shows bear its stamp."""
        frame_id = image.header.frame_id
        if not frame_id:
            raise ValueError('image without a frame_id: expected the optical frame of the camera; '
                             'set it in the camera driver')
        if not self._camera_info_came.wait(CAMERA_INFO_PATIENCE):
            raise ValueError(f'no camera_info yet on {self._inputs[1].topic_name}: expected one '
                             'beside each image; check the topic name and the camera driver')
        intrinsics = intrinsics_from_camera_info(self._camera_info, image.height, image.width,
                                                 self._rectified)
        depth = bridge.depth_from_image(image)
        if 'optical' not in frame_id:
            self._report('frame', f'frame_id {frame_id!r} does not look like an optical frame: '
                         'expected x right, y down, z forward (REP-103), else faces stand askew',
                         self._once)
        median = median_depth(depth)
        if median is None:
            self._report('empty', 'image without any valid depth: expected some; is the camera '
                         'covered, or everything too close?')
        elif median > IMPLAUSIBLE_DEPTH:
            self._report('unit', f'median depth is {median:.0f} m: expected metres in '
                         f'{image.encoding}; the publisher seems to send millimetres')
        faces = self._estimator(depth, intrinsics)
        return self._tracker.update(faces, bridge.nanoseconds(image.header.stamp))

    def _publish(self, header, tracks: list[Track]) -> None:
        stamp_ns = bridge.nanoseconds(header.stamp)
        seen = [track for track in tracks if track.stamp_ns == stamp_ns]
        if seen and self._settings.publish_tf:
            self._tf.publish(bridge.face_transforms(header, seen))
        self._clear_meshes(self._shown.keys() - {track.id for track in tracks}, header.stamp)
        if seen and self._settings.publish_mesh and self._mesh.get_subscription_count():
            if self._marker is None or self._marker.frame_id != header.frame_id:
                self._marker = MeshMarker(header.frame_id, self._estimator.face_model.triangles,
                                          self._settings.mesh_lifetime)
            for track in seen:
                self._shown[track.id] = header.frame_id
                self._mesh.publish(
                    self._marker.serialise(header.stamp, track.id, track.face.vertices))

    def _clear_meshes(self, ids: set[str], stamp) -> None:
        for track_id in ids:
            self._mesh.publish(deletion(self._shown.pop(track_id), stamp, track_id))

    # Reporting ----------------------------------------------------------------------------------

    def _on_heartbeat(self) -> None:
        if self._worker is not None:
            self._check_silence()
        state = 'active' if self._worker else 'inactive' if self._estimator else 'unconfigured'
        engine = self._estimator.engine.name if self._estimator else 'none'
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            bridge.diagnostics(now, self.get_name(), state, engine, self._health.report()))

    def _check_silence(self) -> None:
        limit, now = self._settings.input_timeout, time.monotonic()
        for subscription, latest in zip(self._inputs, (self._image_time, self._camera_info_time)):
            if now - latest > limit:
                topic = subscription.topic_name
                self._report(topic, f'nothing on {topic} for {now - latest:.0f} s (publishers: '
                             f'{self.count_publishers(topic)}): expected a depth camera there; '
                             'remap the topic or start the camera')

    def _report(self, kind: str, text: str, limit: RateLimit | None = None) -> None:
        """Warn, but of one kind of problem at most every five seconds."""
        self._health.problem(text)
        if (limit or self._repeat).allows(kind):
            self.get_logger().warning(text)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    stop = threading.Event()

    def on_signal(number, frame):
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second one ends a node that hangs

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    # With rclpy's own handlers the context would be gone before viewers are told to clear meshes.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = FaceNode()
    except ParameterException as error:  # of another type or out of range
        rclpy.logging.get_logger('depthface').error(str(error))
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter('autostart').value:
            for transition in (node.trigger_configure, node.trigger_activate):
                if transition() != TransitionCallbackReturn.SUCCESS:
                    return 1
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.2)
        node.trigger_shutdown()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
