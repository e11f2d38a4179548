# SPDX-License-Identifier: Apache-2.0
"""Processes that are timed in turn; each answers a line of JSON with a line of JSON.

Imports nothing but the standard library: MediaPipe's environment has no depthface_ros.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class BenchProcess:
    """A timed process, as the comparing process controls it."""

    def __init__(self, command: list[str | Path], log: Path):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=log.open('w'), text=True)
        self._log = log

    def request(self, **question) -> dict:
        """Return the answer to a request.

        :raises RuntimeError: the process ended; with the end of its log.
        """
        try:
            self._process.stdin.write(json.dumps(question) + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ''
        if not line:
            raise RuntimeError(self._log.read_text().strip().rpartition('\n')[2] or 'no answer')
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def serve(answer: Callable[..., dict]) -> None:
    """Answer requests until the input ends; other output goes to the log."""
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=answers)


def timed(call: Callable[[], object], runs: int) -> dict:
    """Return wall and processor time of each call, in milliseconds, all threads."""
    wall_ms, cpu_ms = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        wall_ms.append(1000 * (time.perf_counter() - wall))
        cpu_ms.append(1000 * (time.process_time() - cpu))
    return {'wall_ms': wall_ms, 'cpu_ms': cpu_ms}


def resident_mb(pid: int | str = 'self') -> float:
    """Return the resident memory of a process, in MB."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS')) / 1024
