# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: depth images in, faces on /tf and mesh markers out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.ros import conversions
from depthface_ros.ros.health import Health, Problems
from depthface_ros.ros.id_conflicts import IdConflicts
from depthface_ros.ros.inputs import Inputs
from depthface_ros.ros.outputs import Outputs
from depthface_ros.ros.parameters import (
    READ_AT_CONFIGURE,
    Parameters,
    declare_parameters,
    read_parameters,
)
from depthface_ros.ros.publishing import create_publisher
from depthface_ros.ros.startup_log import ToRosLog, describe_engine, describe_models
from depthface_ros.ros.worker import NewestFirstWorker
from depthface_ros.tracking.face_tracker import FaceTracker

HEARTBEAT = 1.0  # s


def told(transition: Callable) -> Callable:
    """A transition that fails, with the reason in log and diagnostics, where it would raise."""
    @functools.wraps(transition)
    def wrapper(node: FaceNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            what = transition.__name__.removeprefix('on_')
            node.problems.report(what, f'cannot {what}: {error}', error=True)
            node.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
    return wrapper


class FaceNode(LifecycleNode):
    """Callbacks only store or hand over messages; images are worked on in a thread of their own.

    configure loads the networks, activate subscribes, deactivate unsubscribes and clears viewers,
    cleanup frees the networks.
    """

    def __init__(self, **options):
        super().__init__('depthface', **options)
        declare_parameters(self)
        self._settings = Parameters()
        self._health = Health(self._now)
        self.problems = Problems(self._health, self.get_logger().warning)
        self._estimator = self._worker = None
        # of faces: none comes back while the node lives
        self._numbers = itertools.count(self.get_parameter('first_id').value)
        self._outputs = Outputs(self)
        self._id_conflicts = IdConflicts(self, self.problems, self._outputs.published)
        self._diagnostics = create_publisher(self, DiagnosticArray, '/diagnostics', 10)
        # in wall time: the heart beats on when a simulation is paused
        self.create_timer(HEARTBEAT, self._on_heartbeat,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.add_on_set_parameters_callback(self._on_set_parameters)

    # Lifecycle ----------------------------------------------------------------------------------

    @told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._settings, log = read_parameters(self), self.get_logger()
        log.info(f'loading engine {self._settings.engine} ...')
        start = time.monotonic()
        estimator = FaceEstimator(self._settings.engine, self._settings.estimator)
        # Python and the engine load things at their first use: no image need wait for it.
        estimator(np.full((120, 160), 1000, np.uint16), Intrinsics(150, 150, 80, 60))
        for engine, reason in estimator.engines_skipped:
            log.debug(f'engine {engine} is not used: {reason}')
        log.info(f'models: {describe_models()}')
        log.info(f'engine: {describe_engine(estimator.engine)}, loaded and warmed up in '
                 f'{time.monotonic() - start:.1f} s')
        self._estimator = estimator
        return super().on_configure(state)

    @told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tracker = FaceTracker(self._estimator, self._settings.tracker, self._numbers)
        self._inputs = Inputs(self, self._settings, self._health, self.problems,
                              self._tracker.stamps, self._on_image)
        self._apply(self._settings)
        self._health.forget_latency()
        self._worker = NewestFirstWorker(self._process, lambda: self._health.count('dropped'))
        return super().on_activate(state)

    @told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    @told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._estimator = None
        return super().on_cleanup(state)

    @told
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._estimator = None
        return super().on_shutdown(state)

    def _stop(self) -> None:
        if self._worker is None:
            return
        self._inputs.close()
        self._id_conflicts.close()
        self._worker.stop()
        self._worker = None
        self._outputs.stop(self.get_clock().now().to_msg())

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what makes no sense or would have no effect; the rest counts from now on."""
        names = [parameter.name for parameter in parameters]
        late = [name for name in names if name.startswith(READ_AT_CONFIGURE)]
        if late and self._estimator is not None:
            return SetParametersResult(successful=False, reason=(
                f'{late[0]} is read when the node is configured: deactivate and clean up first'))
        try:
            settings = read_parameters(
                self, {parameter.name: parameter.value for parameter in parameters})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings  # the worker's thread takes them over with its next image
        return SetParametersResult(successful=True)

    def _apply(self, settings: Parameters) -> None:
        self._applied = settings
        self._estimator.config = settings.estimator
        self._tracker.config = settings.tracker
        self._outputs.start(settings, self._estimator.face_model)

    # Images -------------------------------------------------------------------------------------

    def _on_image(self, data: bytes) -> None:
        """In the executor's thread: hand over."""
        self._health.count('received')
        self._worker.put((data, time.monotonic()))

    def _process(self, item: tuple[bytes, float]) -> None:
        """In the worker's thread: image to messages; a bad one costs the next one nothing."""
        data, received_time = item
        try:
            if self._applied is not self._settings:
                self._apply(self._settings)
            frame = self._inputs.frame(data)
            if frame is None:
                return
            tracks = self._tracker.track(frame.depth, frame.intrinsics, frame.time)
            self._outputs.publish(frame, tracks)
        except ValueError as error:
            self._health.count('rejected')
            self.problems.report('input', str(error))
            return
        except Exception:
            if rclpy.ok(context=self.context):  # else the node was shut down meanwhile
                self._health.count('rejected')
                self.problems.report(
                    'bug', f'an image was skipped:\n{traceback.format_exc()}', error=True)
            return
        latency_s = self._now() - frame.stamp_ns * 1e-9
        self._health.processed(len(tracks), latency_s, time.monotonic() - received_time)

    # Reporting ----------------------------------------------------------------------------------

    def _on_heartbeat(self) -> None:
        if self._worker is not None:
            self._inputs.check(self._settings.input_timeout)
            self._outputs.expire(self._settings.input_timeout)
            self._id_conflicts.check()
        state = 'active' if self._worker else 'inactive' if self._estimator else 'unconfigured'
        engine = describe_engine(self._estimator.engine) if self._estimator else 'none'
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(conversions.diagnostics(
            now, self.get_fully_qualified_name().strip('/'), state, engine,
            self._health.report(), self._settings.diagnostics))

    def _now(self) -> float:
        """Seconds of the node's clock, which may be simulated."""
        return self.get_clock().now().nanoseconds * 1e-9


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
    logging.getLogger('depthface_ros').addHandler(ToRosLog(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter('autostart').value:
            for transition in (node.trigger_configure, node.trigger_activate):
                if transition() != TransitionCallbackReturn.SUCCESS:
                    return 1
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.2)
            except Exception:  # whatever somebody sends, the robot keeps its node
                node.problems.report(
                    'spin', f'a callback failed:\n{traceback.format_exc()}', error=True)
        with contextlib.suppress(RuntimeError):  # a lifecycle manager has shut it down already
            node.trigger_shutdown()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
