# SPDX-License-Identifier: Apache-2.0
"""Run the node for ten minutes on three faces at 30 Hz: `python benchmarks/soak.py`.

Plays the sample recording to and fro through the real node, in a process of its own. A third head
is pasted between the two. Each minute reports the images sent, processed, dropped, lost and
missing; latency from stamp to publication; memory and processor time of the node; and how long its
threads waited for a core.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'demo')]
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ.update({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                   'FASTRTPS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
                   'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml')})

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from robot import NodeProcess
from sample import Sample, read_sample, restamped
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

HEAD = 70  # pixels on each side of the copied head's middle
COLUMNS = ('minute', 'sent', 'processed', 'dropped', 'rejected', 'lost', 'missing', 'faces',
           'p50 ms', 'p95 ms', 'MiB', 'threads', 'files', 'core %', 'queued %')


def with_third_head(sample: Sample, stamp: int) -> bytes:
    """Return the serialised image of this stamp, with a copy of its right head in the middle."""
    depth = sample.depths[stamp].copy()
    x, _, z = max(pose[:3, 3].tolist() for pose in sample.poses[stamp].values())
    column = round(sample.intrinsics.fx * x / z + sample.intrinsics.cx)
    source = depth[:, column - HEAD:column + HEAD]
    middle = round(sample.intrinsics.cx)
    target = depth[:, middle - HEAD:middle + HEAD]
    near = (source > 0) & (abs(source / 1000.0 - z) < 0.25)
    target[:] = np.where(near & ((target == 0) | (source < target)), source, target)
    data = sample.images[stamp]
    return data[:-depth.nbytes] + depth.tobytes()  # the pixels are the last field of an Image


class Watch:
    """Sends the images and receives the node's outputs."""

    def __init__(self, sample: Sample):
        self._node = rclpy.create_node('soak')
        self._image, self._info = (
            self._node.create_publisher(kind, topic, qos_profile_sensor_data)
            for kind, topic in ((Image, sample.image_topic), (CameraInfo, sample.info_topic)))
        self.heartbeat: dict[str, str] = {}
        self.latencies_ms: list[float] = []
        self.faces: list[int] = []
        self.sent = 0
        listen = self._node.create_subscription
        listen(TFMessage, '/tf', self._on_tf, 100)
        listen(Marker, '/depthface/mesh', lambda data: None, 10, raw=True)  # so that it is computed
        listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def wait_for(self, what: Callable[[], bool], process: NodeProcess) -> None:
        while not what():
            process.check()
            time.sleep(0.1)

    @property
    def connected(self) -> bool:
        return bool(self._image.get_subscription_count() and self._info.get_subscription_count()
                    and self.heartbeat)

    def send(self, image: bytes, info: bytes) -> None:
        now = time.time_ns()
        self._info.publish(restamped(info, now))
        self._image.publish(restamped(image, now))
        self.sent += 1

    def total(self, name: str) -> int:
        return int(self.heartbeat[f'{name} total'])

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_tf(self, message: TFMessage, info: dict) -> None:
        stamp = message.transforms[0].header.stamp
        stamp_ns = stamp.sec * 10**9 + stamp.nanosec
        self.latencies_ms.append((info['source_timestamp'] - stamp_ns) * 1e-6)
        self.faces.append(sum(item.child_frame_id.startswith('face_')
                              for item in message.transforms))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.heartbeat = {pair.key: pair.value for pair in message.status[0].values}


def row(minute: int, watch: Watch, process: NodeProcess, core: float, queued: float) -> tuple:
    """Return the row of one minute; missing are images that no counter includes.

    :param core: percent of one core that the node used.
    :param queued: percent of the time that its threads, taken together, waited for a core.
    """
    time.sleep(5.0)  # several heartbeats, so that the totals include all images sent
    totals = {name: watch.total(name) for name in ('processed', 'dropped', 'rejected', 'lost')}
    latencies, watch.latencies_ms = watch.latencies_ms, []
    faces, watch.faces = watch.faces, []
    status = process.status()
    return (minute, watch.sent, *totals.values(), watch.sent - sum(totals.values()),
            f'{np.mean(faces):.2f}' if faces else '-',
            *(f'{np.percentile(latencies, q):.1f}' if latencies else '-' for q in (50, 95)),
            f'{status["VmRSS"] / 1024:.1f}', status['Threads'], process.files(),
            f'{core:.0f}', f'{queued:.0f}')


def main() -> int:
    """Play and print a line a minute; return 1 if images are missing or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=int, default=10)
    parser.add_argument('--rate', type=float, default=30.0, help='images per second')
    parser.add_argument('--engine', default='auto')
    parser.add_argument('--log', type=Path, default=Path('soak.log'), help="the node's output")
    options = parser.parse_args()
    sample = read_sample(ROOT / 'demo' / 'sample.mcap')
    stamps = sorted(sample.images)
    images = [with_third_head(sample, stamp) for stamp in stamps]
    images += images[-2:0:-1]  # to and fro, so that no head jumps
    info = next(iter(sample.infos.values()))
    rclpy.init()
    watch = Watch(sample)
    process = NodeProcess(sample.image_topic, sample.info_topic, options.log, options.engine)
    try:
        watch.wait_for(lambda: watch.connected, process)
        print(' | '.join(COLUMNS), flush=True)
        rows, count = [], round(60 * options.rate)
        for minute in range(1, options.minutes + 1):
            start, cpu_s, queued_s = time.monotonic(), process.cpu_s(), process.queued_s()
            for i in range(count):
                time.sleep(max(0.0, start + i / options.rate - time.monotonic()))
                watch.send(images[((minute - 1) * count + i) % len(images)], info)
            process.check()
            percent = 100 / (time.monotonic() - start)
            core = percent * (process.cpu_s() - cpu_s)
            queued = percent * (process.queued_s() - queued_s)
            # Losses are only detected when the next image arrives.
            time.sleep(1.0)
            watch.send(images[minute * count % len(images)], info)
            rows.append(row(minute, watch, process, core, queued))
            print(' | '.join(map(str, rows[-1])), flush=True)
        process.stop()
    finally:
        process.kill()
        watch.close()
        rclpy.try_shutdown()
    missing = rows[-1][COLUMNS.index('missing')]
    memory = [float(line[COLUMNS.index('MiB')]) for line in rows]
    growth = memory[-1] - memory[min(1, len(memory) - 1)]  # the first minute fills caches
    print(f'{missing} images not accounted for; memory grew by {growth:.1f} MiB after minute 2')
    return int(missing != 0 or growth > 10)


if __name__ == '__main__':
    sys.exit(main())
