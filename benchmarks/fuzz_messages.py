# SPDX-License-Identifier: Apache-2.0
"""Send mutated messages to the real node over DDS: `python benchmarks/fuzz_messages.py`.

Usage: python benchmarks/fuzz_messages.py [--messages 50000] [--seed 0] [--log FOLDER]

Mutates the fields, texts and bytes of raw images, compressedDepth (PNG and RVL), PNG on the
compressed transport, and camera_info of all lens models. The report counts how the node handled
them, its peak of memory above the idle node, and tracebacks in its log. After each block it must
process a valid image. The exit status is 1 if any of these checks fails.
"""
from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'demo'), str(ROOT / 'tests' / 'support')]
PROFILES = str(ROOT / 'config' / 'fastdds.xml')
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ.update(ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
                  FASTRTPS_DEFAULT_PROFILES_FILE=PROFILES, FASTDDS_DEFAULT_PROFILES_FILE=PROFILES)

import rclpy
from depth_encoders import encode_png, encode_rvl, header
from diagnostic_msgs.msg import DiagnosticArray
from mutations import bombs, mutated
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from robot import NodeProcess
from sample import read_sample
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

FRAME = 'camera_depth_optical_frame'
MAX_MEMORY_MB = 400
BLOCK = 2000  # messages before a valid image must be processed
PERIOD = 0.004  # s from message to message
ANSWER_TIME = 60.0  # s
NUMBERS = (0, 1, 3, 47, 65, 4096, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, 0.3, 500.0, 1e-300, 1e39, 1e300, np.nan, np.inf, -np.inf)
FLOATS_32 = (0.0, -1.0, 0.3, 1e-38, 3e38, np.nan, np.inf, -np.inf)
TEXTS = ('', '16UC1', 'TYPE_16UC1', '32FC1', '64FC1', '16SC1', '32SC1', 'mono8', 'rgb8', 'png',
         '16UC1; png compressed ', '16UC1; compressedDepth png', '16UC1; compressedDepth rvl',
         '32FC1; compressedDepth rvl', 'bgr8; jpeg compressed bgr8', ';', '\n[ERROR] forged',
         '\x1b[31m', 'x' * 100_000, 'ä' * 50)
MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', *TEXTS)
TRANSPORTS = {'raw': '', 'compressedDepth': '/compressedDepth', 'compressed': '/compressed'}


class Messages:
    """Valid and mutated messages, serialised."""

    def __init__(self, depth: np.ndarray, info: bytes, rng: np.random.Generator):
        self._depth, self._rng, self.info = depth, rng, info
        small = np.ascontiguousarray(depth[::4, ::4])  # as from a camera that decimates
        self._depths = [depth, *[small] * 4]
        self._bombs = [content for name, content in bombs().items() if name.endswith('.png')]
        self._stamp = 1_700_000_000

    def good(self, transport: str) -> bytes:
        return serialize_message(self._message(transport, self._depth))

    def mutated_image(self, transport: str) -> bytes:
        rng = self._rng
        message = self._message(transport, self._depths[rng.integers(len(self._depths))])
        if rng.random() < 0.5:
            self._change_fields(message)
        return self._changed_bytes(serialize_message(message))

    def mutated_info(self) -> bytes:
        """Return a camera_info whose fields are each valid or odd."""
        rng, odd = self._rng, self._odd
        info = CameraInfo(width=640, height=480, distortion_model=str(odd('plumb_bob', MODELS)))
        info.header.frame_id = str(odd(FRAME, TEXTS))
        for part, names in ((info, ('width', 'height', 'binning_x', 'binning_y')),
                            (info.roi, ('x_offset', 'y_offset', 'width', 'height'))):
            for name in names:
                setattr(part, name, int(odd(getattr(part, name), NUMBERS)))
        info.k = [float(odd(v, FLOATS)) for v in (525, 0, 319.5, 0, 525, 239.5, 0, 0, 1)]
        info.p = [float(odd(v, FLOATS)) for v in (525, 0, 319.5, 0, 0, 525, 239.5, 0, 0, 0, 1, 0)]
        info.d = rng.normal(0, 0.2, int(rng.integers(0, 16))).tolist()
        info.d = [float(odd(v, FLOATS)) for v in info.d]
        return self._changed_bytes(serialize_message(info))

    def _odd(self, value, others, probability: float = 0.1):
        if self._rng.random() >= probability:
            return value
        return others[self._rng.integers(len(others))]

    def _message(self, transport: str, depth: np.ndarray) -> Image | CompressedImage:
        """Return a valid message with a new stamp."""
        rng = self._rng
        if transport == 'raw':
            message = Image(height=depth.shape[0], width=depth.shape[1], step=2 * depth.shape[1],
                            encoding='16UC1')
            message.data.frombytes(depth.tobytes())
        elif transport == 'compressed':
            message = CompressedImage(format='16UC1; png compressed ', data=encode_png(depth))
        else:
            rvl = depth.size < 50_000 and rng.random() < 0.5  # the encoder is slow
            message = CompressedImage(
                format=f'16UC1; compressedDepth {"rvl" if rvl else "png"}',
                data=header() + (self._rvl(depth) if rvl else encode_png(depth)))
        self._stamp += 1
        message.header.stamp.sec = self._stamp
        message.header.frame_id = FRAME
        return message

    def _rvl(self, depth: np.ndarray) -> bytes:
        if not hasattr(self, '_packed'):
            self._packed = encode_rvl(depth)
        return self._packed

    def _change_fields(self, message) -> None:
        rng, odd = self._rng, self._odd
        message.header.frame_id = str(odd(FRAME, TEXTS))
        message.header.stamp.sec = int(odd(message.header.stamp.sec, (0, -1, 2**31 - 1), 0.05))
        if isinstance(message, Image):
            for name in ('height', 'width', 'step'):
                setattr(message, name, int(odd(getattr(message, name), NUMBERS)))
            message.encoding = str(odd(message.encoding, TEXTS))
            message.is_bigendian = int(rng.integers(0, 3))
            return
        message.format = str(odd(message.format, TEXTS, 0.2))
        if rng.random() < 0.1:
            bomb = self._bombs[rng.integers(len(self._bombs))]
            message.data = (header(*(float(odd(1.0, FLOATS_32, 0.5)) for _ in range(2)))
                            if rng.random() < 0.5 else b'') + bomb
        elif rng.random() < 0.5:
            message.data = mutated(bytes(message.data), rng)

    def _changed_bytes(self, data: bytes) -> bytes:
        rng = self._rng
        if rng.random() < 0.4:
            return data
        return data[:4] + mutated(data[4:], rng)


class Camera:
    """Publishes serialised messages and subscribes to the node's heartbeat."""

    def __init__(self, transport: str):
        self._node = rclpy.create_node('fuzz_messages')
        kind = Image if transport == 'raw' else CompressedImage
        self.image, self.info = (
            self._node.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in ((kind, '/fuzz/image' + TRANSPORTS[transport]),
                                (CameraInfo, '/fuzz/camera_info')))
        self._heartbeat: dict[str, str] = {}
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_heartbeat, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def _on_heartbeat(self, message: DiagnosticArray) -> None:
        self._heartbeat = {pair.key: pair.value for pair in message.status[0].values}

    def total(self, name: str) -> int:
        return int(self._heartbeat.get(f'{name} total', 0))

    def totals(self) -> dict[str, int]:
        return {name.removesuffix(' total'): int(value) for name, value in self._heartbeat.items()
                if name.endswith(' total')}

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_for(self, what: Callable[[], bool], seconds: float, process: NodeProcess) -> bool:
        """Return whether a condition came true in time; raise RuntimeError if the node ends."""
        end = time.monotonic() + seconds
        while not what():
            process.check()
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.1)
        return True

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()


def answered(camera: Camera, messages: Messages, transport: str, process: NodeProcess) -> bool:
    """Send valid images until one is processed; return whether that happens in time."""
    camera.spin(1.2)  # one heartbeat, so that all earlier messages are counted
    before = camera.total('processed')

    def processed() -> bool:
        camera.info.publish(messages.info)
        camera.spin(0.05)
        camera.image.publish(messages.good(transport))
        return camera.total('processed') > before

    return camera.wait_for(processed, ANSWER_TIME, process)


def fuzz(transport: str, count: int, sample, rng: np.random.Generator, log: Path) -> list[str]:
    """Fuzz a node of one transport, print a line and return the faults."""
    depth = next(iter(sample.depths.values()))
    messages = Messages(depth, next(iter(sample.infos.values())), rng)
    camera = Camera(transport)
    process = NodeProcess('/fuzz/image' + TRANSPORTS[transport], '/fuzz/camera_info', log, 'cpu')
    faults, sent = [], 0
    try:
        camera.wait_for(lambda: camera.image.get_subscription_count() > 0
                        and camera.info.get_subscription_count() > 0, 60, process)
        if not answered(camera, messages, transport, process):
            return ['no good image was answered before the first mutated one']
        idle = process.status()['VmRSS'] / 1024
        while sent < count:
            for _ in range(min(BLOCK, count - sent)):
                if rng.random() < 0.15:
                    camera.info.publish(messages.mutated_info())
                else:
                    camera.image.publish(messages.mutated_image(transport))
                sent += 1
                time.sleep(PERIOD)
            if not answered(camera, messages, transport, process):
                faults.append(f'no good image was answered after {sent} messages')
                break
        peak = process.status()['VmHWM'] / 1024 - idle
        text = log.read_text(errors='replace')
        tracebacks = len(re.findall('Traceback', text))
        print(f'{transport}: {sent} mutated messages, {camera.totals()}; memory {idle:.0f} MB '
              f'idle, peak {peak:.0f} MB above; log {len(text) / 1e6:.1f} MB, '
              f'{tracebacks} tracebacks',
              flush=True)
        if peak > MAX_MEMORY_MB:
            faults.append(f'peak of memory {peak:.0f} MB above idle: expected {MAX_MEMORY_MB}')
        if tracebacks:
            faults.append(f'{tracebacks} tracebacks in {log}')
        process.stop()
    except RuntimeError as error:
        faults.append(f'after {sent} messages: {error}')
    finally:
        process.kill()
        camera.close()
    return [f'{transport}: {fault}' for fault in faults]


def main() -> int:
    """Fuzz the node by each transport; return exit status 1 if any check failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--messages', type=int, default=50_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--log', type=Path, default=Path('.'), help="folder for the node's logs")
    options = parser.parse_args()
    options.log.mkdir(parents=True, exist_ok=True)
    sample = read_sample(ROOT / 'demo' / 'sample.mcap')
    rng = np.random.default_rng(options.seed)
    rclpy.init()
    faults = []
    for transport in TRANSPORTS:
        log = options.log / f'fuzz_{transport}.log'
        faults += fuzz(transport, -(-options.messages // len(TRANSPORTS)), sample, rng, log)
    rclpy.try_shutdown()
    print('\n'.join(faults) or 'nothing went wrong')
    return int(bool(faults))


if __name__ == '__main__':
    sys.exit(main())
