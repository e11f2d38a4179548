# SPDX-License-Identifier: Apache-2.0
"""Time the estimator on one engine: `python depthface_process.py ENGINE FRAMES.npz`."""
from __future__ import annotations

import sys
import time

import numpy as np
from bench_process import resident_mb, serve, timed

from depthface_ros import FaceEstimator, Intrinsics
from depthface_ros.estimation.types import HeadCandidates
from depthface_ros.tools.bench import Stopwatch

ENGINE, FRAMES = sys.argv[1:]
estimator = FaceEstimator(ENGINE)
with np.load(FRAMES) as file:
    frames = {name: file[name] for name in file}


def answer(heads: int, size: str, way: str, runs: int) -> dict:
    """Time calls on an image; `way` is searched, or tracked with given head centres."""
    depth, camera = frames[f'{heads} {size}'], Intrinsics(*frames[f'camera {size}'].tolist())
    stopwatch, found = Stopwatch(time.process_time), estimator(depth, camera)
    known = None
    if way == 'tracked':
        known = HeadCandidates(np.array([face.head_centre for face in found]), tracked=True)

    def call():
        stopwatch.start()
        estimator(depth, camera, known, stopwatch.stage_done)
        stopwatch.stop()

    result = timed(call, runs)
    return result | {'faces': len(found), 'stages_cpu_ms': stopwatch.milliseconds,
                     'resident_mb': resident_mb(),
                     'engine': estimator.engine.description}


serve(answer)
