# SPDX-License-Identifier: Apache-2.0
"""Worker of fuzz_files.py: read command lines from stdin, answer with their cost."""
from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import json
import os
import sys
import time
from functools import lru_cache
from pathlib import Path

from depthface_ros.cli import main
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.estimator import EstimatorConfig, FaceEstimator
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.tools import run as run_command

OPEN_ESTIMATOR = run_command.open_estimator


@lru_cache(maxsize=2)
def shipped_estimator(engine: str, config: EstimatorConfig) -> FaceEstimator:
    """Return an estimator of the shipped networks, which take longest to load."""
    return FaceEstimator(engine, config)


def open_estimator(options, config: EstimatorConfig | None = None) -> FaceEstimator:
    """Load networks as `depthface` does, but the shipped ones only once."""
    if options.models != MODELS_FOLDER:
        return OPEN_ESTIMATOR(options, config)
    return shipped_estimator(options.engine, config or EstimatorConfig())


def memory_mb(field: str) -> float:
    """Return VmRSS or VmHWM of this process."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def run(arguments: list[str], output: str) -> dict:
    """Run a command line; its errors, also from C code, go to a file."""
    gc.collect()
    if '--models' in arguments:
        FaceModel.load.cache_clear()
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak
    idle, start = memory_mb('VmRSS'), time.monotonic()
    stderr = os.dup(2)
    with open(output, 'w') as file:
        os.dup2(file.fileno(), 2)
        try:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                status = main(arguments)
            if 'Traceback' in printed.getvalue():
                file.write(printed.getvalue())
        except SystemExit as end:
            status = end.code
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return {'status': status, 'seconds': time.monotonic() - start,
            'peak_mb': memory_mb('VmHWM') - idle}


if __name__ == '__main__':
    run_command.open_estimator = open_estimator
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    answers.write('ready\n')
    for line in sys.stdin:
        request, output_file, limit_s = json.loads(line)
        faulthandler.dump_traceback_later(3 * limit_s, exit=True)  # hung: the process dies
        answers.write(json.dumps(run(request, output_file)) + '\n')
        faulthandler.cancel_dump_traceback_later()
