# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: subscribe to depth images, publish faces as transforms, meshes and messages."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.errors import one_line
from depthface_ros.ros import conversions
from depthface_ros.ros.arguments import warn_of_ignored
from depthface_ros.ros.health import Health, Problems
from depthface_ros.ros.id_conflicts import IdConflicts
from depthface_ros.ros.inputs import Inputs
from depthface_ros.ros.outputs import Outputs
from depthface_ros.ros.parameterised_node import ParameterisedNode
from depthface_ros.ros.parameters import Parameters, read_parameters
from depthface_ros.ros.publishing import create_publisher
from depthface_ros.ros.startup_log import ToRosLog, describe_engine, describe_models
from depthface_ros.ros.worker import NewestFirstWorker
from depthface_ros.stop import Stop
from depthface_ros.tracking.face_tracker import FaceTracker

HEARTBEAT = 1.0  # s


def reporting_failures(transition: Callable) -> Callable:
    """Wrap a transition: an exception becomes a failure with its reason in log and diagnostics."""
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


class FaceNode(ParameterisedNode):
    """Estimates faces in depth images. Callbacks pass messages to a worker's thread.

    configure loads the networks, activate subscribes, deactivate unsubscribes and clears viewers,
    cleanup frees the networks.
    """

    def __init__(self, **options):
        super().__init__('depthface', **options)
        self._health = Health(self._now)
        self.problems = Problems(self._health, self.get_logger().warning)
        self._estimator = self._worker = self._inputs = None
        # ids of faces: none is used twice during the node's life
        self._numbers = itertools.count(self.get_parameter('first_id').value)
        self._outputs = Outputs(self)
        self._id_conflicts = IdConflicts(self, self.problems, self._outputs.published)
        self._diagnostics = create_publisher(self, DiagnosticArray, '/diagnostics', 10)
        # in wall time, which continues while a simulation is paused
        self.create_timer(HEARTBEAT, self._on_heartbeat,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    # Lifecycle ----------------------------------------------------------------------------------

    @reporting_failures
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.settings, log = read_parameters(self), self.get_logger()
        models = Path(self.settings.models_folder).expanduser() if (
            self.settings.models_folder) else MODELS_FOLDER
        log.info(f'loading engine {self.settings.engine} ...')
        start = time.monotonic()
        estimator = FaceEstimator(self.settings.engine, self.settings.estimator, models)
        # The first run is slow: Python and the engine load libraries.
        estimator(np.full((120, 160), 1000, np.uint16), Intrinsics(150, 150, 80, 60))
        for engine, reason in estimator.engines_skipped:
            log.debug(f'engine {engine} is not used: {reason}')
        log.info(f'models: {describe_models(models)} in {models}')
        log.info(f'engine: {describe_engine(estimator.engine)}, loaded and warmed up in '
                 f'{time.monotonic() - start:.1f} s')
        self._estimator, self.configured = estimator, True
        return super().on_configure(state)

    @reporting_failures
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._tracker = FaceTracker(self._estimator, self.settings.tracker, self._numbers)
        self._inputs = Inputs(self, self.settings, self._health, self.problems,
                              self._tracker.stamps, self._on_image, self._inputs)
        self._apply(self.settings)
        self._health.forget_latency()
        self._worker = NewestFirstWorker(self._process, lambda: self._health.count('dropped'))
        return super().on_activate(state)

    @reporting_failures
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    @reporting_failures
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._estimator = self._inputs = None
        self.configured = False
        return super().on_cleanup(state)

    @reporting_failures
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

    def _apply(self, settings: Parameters) -> None:
        self._applied = settings
        self._estimator.config = settings.estimator
        self._tracker.config = settings.tracker
        self._outputs.start(settings, self._estimator.face_model)

    # Images -------------------------------------------------------------------------------------

    def _on_image(self, data: bytes) -> None:
        """Pass an image to the worker; runs in the executor's thread."""
        self._health.count('received')
        self._worker.put((data, time.monotonic()))

    def _process(self, item: tuple[bytes, float]) -> None:
        """Publish the faces of one image; runs in the worker's thread."""
        data, received_time = item
        try:
            if self._applied is not self.settings:
                self._apply(self.settings)
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
            if rclpy.ok(context=self.context):  # otherwise the node has been shut down
                self._health.count('rejected')
                self.problems.report(
                    'bug', f'an image was skipped:\n{traceback.format_exc()}', error=True)
            return
        latency_s = self._now() - frame.stamp_ns * 1e-9
        self._health.processed(len(tracks), latency_s, time.monotonic() - received_time)

    # Reporting ----------------------------------------------------------------------------------

    def _on_heartbeat(self) -> None:
        if self._worker is not None:
            self._inputs.check(self.settings.input_timeout)
            self._outputs.expire(self.settings.input_timeout)
            self._id_conflicts.check()
        state = 'active' if self._worker else 'inactive' if self._estimator else 'unconfigured'
        engine = describe_engine(self._estimator.engine) if self._estimator else 'none'
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(conversions.diagnostics(
            now, self.get_fully_qualified_name().strip('/'), state, engine,
            self._health.report(), self.settings.diagnostics))

    def _now(self) -> float:
        """Return the time of the node's clock, which may be simulated, in seconds."""
        return self.get_clock().now().nanoseconds * 1e-9


def main(args: list[str] | None = None, stop: Stop | None = None) -> int:
    """Run the node until a signal stops it; return the exit status."""
    stop = stop or Stop()
    try:
        # rclpy's own handlers would end the context before viewers can be cleared.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = FaceNode()
        warn_of_ignored(node, sys.argv if args is None else args)
    except Exception as error:  # a name, file, log level or parameter that ROS does not accept
        reason = one_line(error).split(', at /')[0]  # a line of rcl's own sources
        rclpy.logging.get_logger('depthface').error(f'cannot start: {reason}')
        rclpy.try_shutdown()
        return 1
    logging.getLogger('depthface_ros').addHandler(ToRosLog(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        return run(node, executor, stop)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


def run(node: FaceNode, executor: SingleThreadedExecutor, stop: Stop) -> int:
    """Take the node to active, if it starts by itself, and spin; return the exit status."""
    if node.get_parameter('autostart').value:
        for transition in (node.trigger_configure, node.trigger_activate):
            if not stop and transition() != TransitionCallbackReturn.SUCCESS:
                return 1
    while not stop:
        try:
            executor.spin_once(timeout_sec=0.2)
        except Exception:  # no message may end the node
            node.problems.report(
                'spin', f'a callback failed:\n{traceback.format_exc()}', error=True)
    with contextlib.suppress(RuntimeError):  # a lifecycle manager has shut it down already
        node.trigger_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
