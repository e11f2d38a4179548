# SPDX-License-Identifier: Apache-2.0
"""Time the estimator on one engine: `python depthface_process.py ENGINE FRAMES.npz`."""
from __future__ import annotations

import sys
import time

import numpy as np
from bench_process import resident_mb, serve, timed

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.tools.bench import WARM_UP, Stopwatch, tracked

ENGINE, FRAMES = sys.argv[1:]
estimator = FaceEstimator(ENGINE)
with np.load(FRAMES) as file:
    frames = {name: file[name] for name in file}


def answer(heads: int, size: str, way: str, runs: int) -> dict:
    """Time calls on an image; `way` is searched, or tracked as the node does at 30 Hz."""
    depth, camera = frames[f'{heads} {size}'], Intrinsics(*frames[f'camera {size}'].tolist())
    stopwatch = Stopwatch(time.process_time)
    estimate = tracked(estimator) if way == 'tracked' else estimator

    def call():
        stopwatch.start()
        found = estimate(depth, camera, stage_done=stopwatch.stage_done)
        stopwatch.stop()
        return found

    for _ in range(WARM_UP):
        found = call()
    stopwatch = Stopwatch(time.process_time)

    result = timed(call, runs)
    return result | {'faces': len(found), 'stages_cpu_ms': stopwatch.milliseconds,
                     'resident_mb': resident_mb(),
                     'engine': estimator.engine.description}


serve(answer)
