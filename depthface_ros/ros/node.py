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
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from depthface_ros.camera import Intrinsics
from depthface_ros.estimator import FaceEstimator
from depthface_ros.ros import bridge
from depthface_ros.ros.health import Health, Problems
from depthface_ros.ros.inputs import DepthFrame, Inputs
from depthface_ros.ros.outputs import Outputs
from depthface_ros.ros.parameters import declare_parameters, read_parameters
from depthface_ros.ros.worker import NewestFirstWorker
from depthface_ros.tracking import Track, Tracker

HEARTBEAT = 1.0  # s


class FaceNode(LifecycleNode):
    """Callbacks only store or hand over messages; images are worked on in a thread of their own.

    configure loads the networks, activate subscribes, deactivate unsubscribes and clears viewers.
    """

    def __init__(self, **options):
        super().__init__('depthface', **options)
        self._fixed_parameters = declare_parameters(self)
        self._health = Health()
        self._problems = Problems(self._health, self.get_logger().warning)
        self._estimator = self._worker = None
        self._outputs = Outputs(self)
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
        self._outputs.start(self._settings, self._estimator.face_model)
        self._worker = NewestFirstWorker(self._process, lambda: self._health.count('dropped'))
        try:
            self._inputs = Inputs(self, self._settings, self._problems, self._on_image)
        except Exception as error:  # a QoS that the user set and ROS refuses
            self._worker.stop()
            self._worker = None
            return self._failed('activate', error)
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
        self._inputs.close()
        self._worker.stop()
        self._worker = None
        self._outputs.stop(self.get_clock().now().to_msg())

    def _failed(self, what: str, error: Exception) -> TransitionCallbackReturn:
        self._health.problem(str(error))
        self.get_logger().error(f'cannot {what}: {error}')
        return TransitionCallbackReturn.FAILURE

    def _on_set_parameters(self, parameters):
        fixed = self._estimator is not None and any(
            parameter.name in self._fixed_parameters for parameter in parameters)
        return SetParametersResult(successful=not fixed, reason=(
            'read when the node is configured: deactivate and clean up first' if fixed else ''))

    # Images -------------------------------------------------------------------------------------

    def _on_image(self, image: Image) -> None:
        """In the executor's thread: hand over."""
        self._health.count('received')
        self._worker.put((image, time.monotonic()))

    def _process(self, item: tuple[Image, float]) -> None:
        """In the worker's thread: image to messages; one that is bad costs the next one nothing."""
        image, received_time = item
        try:
            frame = self._inputs.frame(image)
            tracks = self._track_faces(frame)
            self._outputs.publish(frame, tracks)
        except ValueError as error:
            self._health.count('rejected')
            self._problems.report('input', str(error))
            return
        except Exception:
            if rclpy.ok(context=self.context):  # else the node was shut down meanwhile
                self._health.count('rejected')
                self._problems.report('bug', f'an image was skipped:\n{traceback.format_exc()}')
            return
        latency_s = (self.get_clock().now().nanoseconds - frame.stamp_ns) * 1e-9
        self._health.processed(len(tracks), latency_s, time.monotonic() - received_time)

    def _track_faces(self, frame: DepthFrame) -> list[Track]:
        """All tracks that are public now; those that this image shows bear its stamp."""
        faces = self._estimator(frame.depth, frame.intrinsics)
        return self._tracker.update(faces, frame.stamp_ns)

    # Reporting ----------------------------------------------------------------------------------

    def _on_heartbeat(self) -> None:
        if self._worker is not None:
            self._inputs.check_silence()
        state = 'active' if self._worker else 'inactive' if self._estimator else 'unconfigured'
        engine = self._estimator.engine.name if self._estimator else 'none'
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            bridge.diagnostics(now, self.get_name(), state, engine, self._health.report()))


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
