# SPDX-License-Identifier: Apache-2.0
"""The other programs of a robot: a camera that plays a recording, a subscriber, and the node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sample import Sample, restamped
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from depthface_ros.io.face_bag import MESH_TOPIC

ROOT = Path(__file__).resolve().parents[1]


class NodeProcess:
    """The node as `ros2 run` starts it, subscribed to a camera's topics.

    :param program: what Python runs instead of the node.
    """

    def __init__(self, image_topic: str, info_topic: str, log: Path, engine: str = 'auto',
                 program: tuple = ('-m', 'depthface_ros.ros')):
        self._log = log
        with log.open('w') as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, '--ros-args',
                 '--params-file', ROOT / 'config' / 'depthface.yaml', '-p', f'engine:={engine}',
                 '-r', f'depth/image:={image_topic}', '-r', f'depth/camera_info:={info_topic}'],
                stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)

    def check(self) -> None:
        """Raise RuntimeError with the end of the node's log if it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f'the node ended with exit status {self._process.returncode}; '
                               f'{self._log} ends with:\n{self.last_words()}')

    def last_words(self) -> str:
        return '\n'.join(self._log.read_text().splitlines()[-15:])

    def cpu_s(self) -> float:
        """Return the processor time used, in seconds: fields 14 and 15 of proc_pid_stat(5)."""
        fields = Path(f'/proc/{self._process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def queued_s(self) -> float:
        """Return the seconds that its threads were ready to run but waited for a processor."""
        tasks = Path(f'/proc/{self._process.pid}/task').glob('*/schedstat')
        return sum(int(task.read_text().split()[1]) for task in tasks) * 1e-9

    def status(self) -> dict[str, int]:
        """Return the numbers in proc_pid_status(5): sizes in KiB, counts unchanged."""
        lines = Path(f'/proc/{self._process.pid}/status').read_text().splitlines()
        pairs = (line.partition(':') for line in lines)
        return {name: int(text.split()[0]) for name, _, text in pairs
                if text.split() and text.split()[0].isdecimal()}

    def files(self) -> int:
        """Return the number of open files, sockets and segments."""
        return len(list(Path(f'/proc/{self._process.pid}/fd').iterdir()))

    def stop(self) -> None:
        """End it as Ctrl-C does; raise RuntimeError unless it ends without error and in time."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise RuntimeError('the node did not end within 10 s of SIGINT') from None
        if self._process.returncode:
            self.check()

    def kill(self) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass
class Heard:
    """The received messages, in order."""

    # and the times of their publication, ns
    transforms: list[tuple[TFMessage, int]] = field(default_factory=list)
    # serialised, since deserialising one takes 20 ms in Python
    markers: list[bytes] = field(default_factory=list)
    heartbeat: dict[str, str] = field(default_factory=dict)  # the newest


class Robot:
    """Publishes a recording as a camera driver would, and subscribes to the node's topics."""

    def __init__(self, sample: Sample):
        self.sample, self.heard = sample, Heard()
        self._node = rclpy.create_node('demo')
        self._image, self._info = (
            self._node.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in ((Image, sample.image_topic), (CameraInfo, sample.info_topic)))
        listen = self._node.create_subscription
        listen(TFMessage, '/tf', self._on_tf, 100)
        listen(Marker, MESH_TOPIC, self.heard.markers.append, 100, raw=True)
        listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def wait_for_node(self, process: NodeProcess, seconds: float = 300.0) -> None:
        """Return when the node and this program have found each other's topics."""
        end = time.monotonic() + seconds
        while not (self._image.get_subscription_count() and self._info.get_subscription_count()
                   and self._node.count_publishers(MESH_TOPIC) and self.heard.heartbeat):
            process.check()
            if time.monotonic() > end:
                raise RuntimeError(f'the node did not start within {seconds:.0f} s:\n'
                                   f'{process.last_words()}')
            time.sleep(0.05)

    def play(self, show) -> dict[int, int]:
        """Publish the recording at its rate, with the current time as stamps.

        :param show: called with the number of images sent so far.
        :returns: stamp as sent -> stamp as recorded, in ns.
        """
        recorded_stamps = sorted(self.sample.images)
        infos = [self.sample.infos.get(stamp) or next(iter(self.sample.infos.values()))
                 for stamp in recorded_stamps]
        self._info.publish(restamped(infos[0], time.time_ns()))  # before the first image
        time.sleep(0.5)
        sent = {}
        start = time.monotonic_ns()
        for count, (recorded, info) in enumerate(zip(recorded_stamps, infos), 1):
            wait_ns = start + recorded - recorded_stamps[0] - time.monotonic_ns()
            time.sleep(max(0, wait_ns) * 1e-9)
            now = time.time_ns()
            sent[now] = recorded
            self._info.publish(restamped(info, now))
            self._image.publish(restamped(self.sample.images[recorded], now))
            show(count)
        return sent

    def wait_until_done(self, images: int, seconds: float = 5.0) -> None:
        """Return when the node reports that all images are done, or when the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if sum(self.total(name) for name in ('processed', 'dropped', 'rejected')) >= images:
                break
            time.sleep(0.05)
        time.sleep(0.3)  # the last messages may still be in transit

    def total(self, name: str) -> int:
        """Return a count of the node's newest heartbeat."""
        return int(self.heard.heartbeat.get(f'{name} total', 0))

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _on_tf(self, message: TFMessage, info: dict) -> None:
        self.heard.transforms.append((message, info['source_timestamp']))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        status = message.status[0]
        self.heard.heartbeat = {pair.key: pair.value for pair in status.values}

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()
