# SPDX-License-Identifier: Apache-2.0
"""Measure the node over DDS: its start, latency, processor time and memory."""
from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'demo'))
PROFILES = str(ROOT / 'config' / 'fastdds.xml')  # enough shared memory for depth images
os.environ.update(ROS_DOMAIN_ID=str(102 + os.getpid() % 100), ROS_LOG_DIR='/tmp/depthface_bench',
                  ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
                  FASTRTPS_DEFAULT_PROFILES_FILE=PROFILES, FASTDDS_DEFAULT_PROFILES_FILE=PROFILES)

import rclpy
from crowd import crowd
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from robot import NodeProcess
from sample import restamped
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

RELAY = Path(__file__).with_name('relay.py')
IMAGE, INFO, FRAME = '/camera/depth/image', '/camera/depth/camera_info', 'camera_optical_frame'
RATE_HZ = 30.0


class Camera:
    """Publishes depth images as a camera would, and records the arrival of transforms.

    It sends serialised messages: a camera driver does not spend time on Python's serialisation.
    """

    def __init__(self):
        # ms from an image's stamp to the publication and to the arrival of its transforms; faces
        self.heard: list[tuple[float, float, int]] = []
        self._node = rclpy.create_node('benchmark')
        self._publishers = [self._node.create_publisher(kind, topic, qos_profile_sensor_data)
                            for kind, topic in ((CameraInfo, INFO), (Image, IMAGE))]
        self._node.create_subscription(TFMessage, '/tf', self._on_tf, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def show(self, heads: int, size: tuple[int, int]) -> None:
        """Publish this many heads from now on."""
        depth, camera = crowd(heads, size)
        width, height = size
        k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
        info = CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5,
                          k=k, p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0])
        image = Image(width=width, height=height, step=2 * width, encoding='16UC1',
                      data=array('B', depth.tobytes()))
        info.header.frame_id = image.header.frame_id = FRAME
        self._messages = serialize_message(info), serialize_message(image)

    def publish(self, until) -> int:
        """Publish at RATE_HZ until a time of the monotonic clock, or until `until()` holds."""
        sent, start = 0, time.monotonic()
        while not until() if callable(until) else time.monotonic() < until:
            stamp_ns = time.time_ns()
            for message, publisher in zip(self._messages, self._publishers):
                publisher.publish(restamped(message, stamp_ns))
            sent += 1
            time.sleep(max(0.0, start + sent / RATE_HZ - time.monotonic()))
        return sent

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _on_tf(self, message: TFMessage, info: dict) -> None:
        now_ns, stamp = time.time_ns(), message.transforms[0].header.stamp
        stamp_ns = stamp.sec * 10 ** 9 + stamp.nanosec
        faces = sum(each.child_frame_id.startswith('face_') for each in message.transforms)
        self.heard.append((1e-6 * (info['source_timestamp'] - stamp_ns), 1e-6 * (now_ns - stamp_ns),
                           faces))

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()


def measure_node(log: Path, seconds: float = 6.0) -> dict:
    """Measure the node on 640x480 images at 30 Hz, and a relay that only answers them."""
    rclpy.init()
    camera, result = Camera(), {'rate_hz': RATE_HZ, 'faces': {}}
    camera.show(1, (640, 480))
    start = time.monotonic()
    try:
        with answering(camera, NodeProcess(IMAGE, INFO, log)) as process:
            result['start_to_first_face_s'] = time.monotonic() - start
            result['start_to_first_face_cpu_s'] = process.cpu_s()
            time.sleep(2)
            result['idle_percent'] = percent(process, lambda: time.sleep(seconds))
            for heads in (1, 3, 8):
                camera.show(heads, (640, 480))
                result['faces'][heads] = played(camera, process, seconds)
            result['resident_mb'] = process.status()['VmRSS'] / 1024
        start = time.monotonic()
        with answering(camera, NodeProcess(IMAGE, INFO, log, program=(RELAY,))) as process:
            # mostly the discovery of DDS
            result['start_to_first_answer_s'] = time.monotonic() - start
            result['relay'] = played(camera, process, seconds)
    finally:
        camera.close()
        rclpy.shutdown()
    return result


@contextmanager
def answering(camera: Camera, process: NodeProcess) -> Iterator[NodeProcess]:
    """Yield a node once it has answered the camera; end it afterwards."""
    end = time.monotonic() + 60
    camera.heard.clear()

    def heard() -> bool:
        process.check()
        if time.monotonic() > end:
            raise RuntimeError(f'no face within 60 s:\n{process.last_words()}')
        return bool(camera.heard)

    try:
        camera.publish(heard)
        yield process
        process.stop()
    finally:
        process.kill()


def percent(process: NodeProcess, action: Callable[[], None]) -> float:
    """Return the percentage of one core that a process uses during an action."""
    cpu, begin = process.cpu_s(), time.monotonic()
    action()
    return 100 * (process.cpu_s() - cpu) / (time.monotonic() - begin)


def played(camera: Camera, process: NodeProcess, seconds: float) -> dict:
    """Return the figures of a node while the camera sends images for so many seconds."""
    camera.publish(time.monotonic() + 2)  # until tracked
    camera.heard.clear()
    sent = 0

    def play() -> None:
        nonlocal sent
        sent = camera.publish(time.monotonic() + seconds)

    share = percent(process, play)
    time.sleep(0.3)
    published_ms, heard_ms, faces = np.array(camera.heard).T
    return {'faces': float(np.median(faces)), 'answered': len(faces) / sent,
            'cpu_percent': share, 'cpu_ms_per_image': 10 * share * seconds / len(faces),
            'published_ms': np.percentile(published_ms, (50, 95)).tolist(),
            'latency_ms': np.percentile(heard_ms, (50, 95)).tolist()}
