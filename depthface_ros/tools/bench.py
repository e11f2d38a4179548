# SPDX-License-Identifier: Apache-2.0
"""Time each stage on a recording, or on a drawn frame with a given number of heads."""
from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import count, islice

import numpy as np

from depthface_ros.engines import Engine
from depthface_ros.engines.contract import DETECTOR_CELL, DETECTOR_HEIGHT, DETECTOR_WIDTHS
from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
from depthface_ros.estimation.head_detector import detector_stride
from depthface_ros.geometry.camera import Intrinsics
from depthface_ros.io.frame import Recording
from depthface_ros.tracking.face_tracker import FaceTracker

HEIGHT, WIDTH = 480, 640
CAMERA = Intrinsics(525.0, 525.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
WARM_UP = 10
RECORDED_FRAMES = 60
SEARCHED, TRACKED = 'all images searched', 'tracked at 30 Hz'


class Stopwatch:
    """Collect the milliseconds of each stage: pass its `stage_done` to the estimator."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        """Start with a clock in seconds; `time.process_time` counts the processor's."""
        self._clock = clock
        self.milliseconds: dict[str, list[float]] = defaultdict(list)
        self._call: dict[str, float] = {}

    def start(self) -> None:
        self._start = self._last = self._clock()

    def stage_done(self, stage: str) -> None:
        now = self._clock()
        self._call[stage] = self._call.get(stage, 0.0) + 1000 * (now - self._last)
        self._last = now

    def stop(self) -> None:
        """End a call; the times of a stage that ran twice are added."""
        self._call['end to end'] = 1000 * (self._clock() - self._start)
        for stage, milliseconds in self._call.items():
            self.milliseconds[stage].append(milliseconds)
        self._call = {}

    def table(self) -> list[tuple[str, float, float]]:
        """Return (stage, median, 95th percentile) in milliseconds."""
        return [(stage, *np.percentile(values, (50, 95)).tolist())
                for stage, values in self.milliseconds.items()]


def bench(estimator: Callable, frames: list[tuple[np.ndarray, Intrinsics]],
          runs: int = 200) -> tuple[Stopwatch, float]:
    """Estimate faces in (depth, intrinsics) frames, again and again.

    :param estimator: a FaceEstimator, or :func:`tracked`.
    :returns: the times, and the mean number of faces per frame.
    """
    stopwatch, faces = Stopwatch(), 0
    for i in range(-WARM_UP, runs):
        depth, intrinsics = frames[i % len(frames)]
        if i == 0:
            stopwatch, faces = Stopwatch(), 0
        stopwatch.start()
        faces += len(estimator(depth, intrinsics, stage_done=stopwatch.stage_done))
        stopwatch.stop()
    return stopwatch, faces / runs


def bench_recording(estimator: FaceEstimator, recording: Recording, runs: int) -> None:
    """Print a table for the first frames of a recording.

    :raises ValueError: there are none.
    """
    frames = [(frame.depth, frame.intrinsics) for frame in islice(recording, RECORDED_FRAMES)]
    if not frames:
        raise ValueError('the recording holds no frames')
    height, width = frames[0][0].shape
    for mode, estimate in ((SEARCHED, estimator), (TRACKED, tracked(estimator))):
        stopwatch, faces = bench(estimate, frames, runs)
        print_table(f'{width}x{height}, {faces:.1f} faces per frame, {mode}', stopwatch.table())


def bench_drawn(estimator: FaceEstimator, runs: int) -> None:
    """Print tables for drawn frames with one and three heads."""
    for heads in (1, 3):
        depth, centres = drawn_frame(heads)
        known = KnownHeads(estimator.engine, centres)
        for mode, estimate in ((SEARCHED, known), (TRACKED, tracked(known))):
            stopwatch, faces = bench(estimate, [(depth, CAMERA)], runs)
            print_table(f'{WIDTH}x{HEIGHT}, {faces:g} face{"s" * (heads > 1)}, {mode}',
                        stopwatch.table())


def print_table(title: str, rows: list[tuple[str, float, float]]) -> None:
    """Print (stage, median, 95th percentile) in milliseconds."""
    print(f'\n{title:44}{"p50 ms":>8}{"p95 ms":>8}')
    for stage, median, p95 in rows:
        print(f'  {stage:42}{median:8.2f}{p95:8.2f}')


def tracked(estimator: FaceEstimator) -> Callable:
    """Return a callable like the estimator that tracks faces as the node does at 30 Hz."""
    tracker, stamps = FaceTracker(estimator), count(0, 33_333_333)
    return lambda depth, intrinsics, stage_done: tracker(
        depth, intrinsics, next(stamps), stage_done)


class KnownHeads(FaceEstimator):
    """Run the head detector, replace its peaks by the drawn heads, and accept all as faces.

    So a drawn frame costs as much as a camera's with as many people.
    """

    def __init__(self, engine: Engine, head_centres: np.ndarray):
        """Expect heads at (N, 3) metres in :func:`drawn_frame`."""
        super().__init__(engine, EstimatorConfig(
            min_confidence=0.0, max_rotation_std=10.0, max_seen_through=1.0, min_measured=0.0,
            separation=0.0, recentre=1.0, upright=3.2))
        stride = DETECTOR_CELL * detector_stride(HEIGHT, WIDTH, CAMERA.fx)
        x, y, z = head_centres.T
        column, row = (np.floor(pixel / stride).astype(int)
                       for pixel in CAMERA.project(x / z, y / z))
        width = next(width for width in DETECTOR_WIDTHS if width * stride >= WIDTH * DETECTOR_CELL)
        peaks = np.zeros((DETECTOR_HEIGHT // DETECTOR_CELL, width // DETECTOR_CELL), np.float32)
        peaks[row, column] = 1
        self._peaks = self._constant(peaks)

    def _detector_stage(self, *arguments, **options):
        heatmap, offset, points = super()._detector_stage(*arguments, **options)
        return 0 * heatmap + self._peaks, 0 * offset, points


def drawn_frame(heads: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ellipsoids before a wall: depth (480, 640) uint16 mm, and centres (heads, 3), m."""
    centres = np.array([((i - (heads - 1) / 2) * 0.4, 0.0, 1.0) for i in range(heads)], np.float32)
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = np.stack([*CAMERA.unproject(u, v), np.ones(u.shape)], axis=-1)
    depth = np.full(u.shape, 2.5)
    radii = np.array([0.075, 0.115, 0.095])
    for centre in centres:  # |ray z - centre| = 1 in units of the radii: the nearer root
        a, b = rays / radii, centre / radii
        aa, ab = (a * a).sum(-1), (a * b).sum(-1)
        root = ab ** 2 - aa * ((b * b).sum() - 1)
        hit = root > 0
        depth[hit] = np.minimum(depth, (ab - np.sqrt(np.where(hit, root, 0))) / aa)[hit]
    return np.round(depth * 1000).astype(np.uint16), centres


def machine() -> str:
    """Return the name of the processor."""
    try:
        with open('/proc/cpuinfo') as file:
            return next(line.partition(':')[2].strip() for line in file if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
