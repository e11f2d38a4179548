# SPDX-License-Identifier: Apache-2.0
"""Measure all published figures of speed in one run: `python benchmarks/run.py`.

Needs depthface_ros[cpu], onnx and matplotlib; for the node also its ROS packages (`make demo` makes
such an environment). The compared processes take turns, so that other load of the machine affects
all alike. Ratios within a run are more reliable than milliseconds across runs.
"""
from __future__ import annotations

from depthface_ros.tools import thread_limits  # noqa: F401  before numpy

# isort: split
import argparse
import json
import os
import platform
import subprocess
import sys
import venv
from collections import defaultdict
from pathlib import Path

import limits
import numpy as np
from bench_process import BenchProcess
from crowd import CAMERAS, PLACES, crowd
from plot import plot
from tables import tables

from depthface_ros.engines import ENGINES, MODELS_FOLDER
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.tools.bench import machine
from depthface_ros.tools.provenance import measured

HERE = Path(__file__).resolve().parent
BUILD = HERE / 'build'
MEDIAPIPE = ('mediapipe==0.10.21', 'scikit-image==0.26.0')
SIZES = [f'{width}x{height}' for width, height in CAMERAS]
WAYS = ('tracked', 'searched')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, default=BUILD / 'results.json')
    parser.add_argument('--rounds', type=int, default=8, help='turns that everybody gets')
    parser.add_argument('--runs', type=int, default=20, help='images per turn')
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    result = {'measured': measured(), 'machine': machine(), 'python': platform.python_version(),
              'load_before': os.getloadavg()[0], 'not_measured': {}}
    skipped = result['not_measured']
    result['limits'] = limits.ceilings()
    result['networks'] = {network: limits.work(MODELS_FOLDER / f'{network}.onnx',
                                               (1, *contract.input_shapes[0]))
                          for network, contract in NETWORKS.items()}
    result |= compare(options.rounds, options.runs, skipped)
    try:
        from node import measure_node
        result['node'] = measure_node(BUILD / 'node.log')
    except (ImportError, RuntimeError) as error:
        skipped['node'] = str(error)
    result['load_after'] = os.getloadavg()[0]
    options.out.write_text(json.dumps(result, indent=1) + '\n')
    print(tables(result))
    plot(result, options.out.with_suffix('.png'))
    print(f'\nwritten to {options.out} and {options.out.with_suffix(".png")}')
    return 0


def compare(rounds: int, runs: int, skipped: dict[str, str]) -> dict:
    """Return timings of all available engines and of MediaPipe, measured in turns."""
    processes = open_processes(skipped)
    cases = [(name, dict(size=size, way=way) | ({} if name == 'mediapipe' else {'heads': heads}))
             for name in processes for size in SIZES for way in WAYS
             for heads in ((1,) if name == 'mediapipe' else PLACES)]
    answers = defaultdict(list)
    for turn in range(rounds):
        print(f'turn {turn + 1} of {rounds}', file=sys.stderr)
        for i, (name, case) in enumerate(cases):
            answers[i].append(processes[name].request(**case, runs=runs))
    for process in processes.values():
        process.close()
    return {'cases': [{'who': name, 'heads': 1} | case | summary(answers[i])
                      for i, (name, case) in enumerate(cases)]}


def open_processes(skipped: dict[str, str]) -> dict[str, BenchProcess]:
    """Start a process for each available engine, and one for MediaPipe."""
    frames = {}
    for size, text in zip(CAMERAS, SIZES):
        for heads in PLACES:
            frames[f'{heads} {text}'], camera = crowd(heads, size)
        frames[f'camera {text}'] = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    np.savez(BUILD / 'frames.npz', **frames)
    script, images = HERE / 'depthface_process.py', BUILD / 'frames.npz'
    commands = {engine: [sys.executable, script, engine, images] for engine in ENGINES}
    try:
        commands['mediapipe'] = [mediapipe_python(), HERE / 'mediapipe_process.py']
    except subprocess.CalledProcessError as error:
        skipped['mediapipe'] = error.stderr.strip().rpartition('\n')[2]
    processes = {}
    for name, command in commands.items():
        process = BenchProcess(command, BUILD / f'{name}.log')
        case = {} if name == 'mediapipe' else {'heads': 1}
        try:
            process.request(size='640x480', way='searched', runs=10, **case)
            processes[name] = process
        except RuntimeError as error:
            skipped[name] = str(error)
    return processes


def mediapipe_python() -> Path:
    """Return the Python of MediaPipe's environment; make the environment if it is missing."""
    folder = BUILD / 'mediapipe'
    python = folder / 'bin' / 'python'
    ready = folder / 'ready'
    if not ready.exists():
        print('installing', *MEDIAPIPE, file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, '-m', 'pip', 'install', '-q', *MEDIAPIPE], check=True,
                       capture_output=True, text=True)
        ready.touch()
    return python


def summary(answers: list[dict]) -> dict:
    """Join the answers of all turns for one case: [mean, 95th percentile] of each time, in ms.

    Means, because images of one stream differ in what runs. A stage that an image skips counts 0.
    """
    first = answers[0]
    images = sum(len(answer['wall_ms']) for answer in answers)

    def both(values) -> list[float]:
        values = np.concatenate(values)
        return np.round([values.sum() / images, np.percentile(values, 95)], 4).tolist()

    result = {name: both([answer[name] for answer in answers]) for name in ('wall_ms', 'cpu_ms')}
    if 'engine' in first:
        result['stages_cpu_ms'] = {
            stage: both([answer['stages_cpu_ms'].get(stage, []) for answer in answers])
            for stage in first['stages_cpu_ms']}
        result['engine'] = first['engine']
    return result | {'faces': first['faces'], 'resident_mb': round(first['resident_mb'], 1)}


if __name__ == '__main__':
    sys.exit(main())
