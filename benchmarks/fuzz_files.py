# SPDX-License-Identifier: Apache-2.0
"""Run `depthface run` and `check` on mutated files: bags, images, cameras, parameters, networks.

Usage: python benchmarks/fuzz_files.py [--files 3000] [--seed 0] [--keep FOLDER]

The command line itself reads each file, in one process that is restarted when it dies. The report
counts tracebacks, errors of several lines, files that took longer than the limit, and the peak of
memory above the idle process. The exit status is 1 if any of these checks fails.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

for _name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(_name, '1')

import numpy as np
from mutations import bombs, mutated

HERE = Path(__file__).resolve().parent
MAX_MEMORY_MB = 400
MAX_SECONDS = 60
NETWORKS = ('head_finder.onnx', 'head_pose.onnx', 'face_shape.onnx', 'face_refiner.onnx')


@dataclass(frozen=True)
class Seed:
    """A file to mutate, and the command line that reads it; `{}` is its folder."""

    kind: str
    name: str  # within its folder
    content: bytes
    arguments: tuple[str, ...]
    beside: tuple[tuple[str, bytes], ...] = ()
    text: bool = False


def seeds(models: Path, folder: Path) -> list[Seed]:
    """Return valid files of all kinds."""
    return [*bag_seeds(folder), *image_seeds(), *text_seeds(models), *network_seeds(models)]


def bag_seeds(folder: Path) -> list[Seed]:
    """Return bags of three small images in all storage formats."""
    sys.path.insert(0, str(HERE.parent / 'tests' / 'support'))
    from bags import Bag, storage_file
    found = []
    for storage, compression in (('mcap', None), ('mcap', 'storage'), ('mcap', 'message'),
                                 ('mcap', 'file'), ('sqlite3', None), ('sqlite3', 'file'),
                                 ('ros1', None), ('ros1', 'lz4'), ('ros1', 'bz2')):
        name = f'{storage}_{compression}'
        path = Bag(folder / (f'{name}.bag' if storage == 'ros1' else name), storage,
                   compression).fill(3)
        file = path if path.is_file() else storage_file(path)
        found.append(Seed(f'bag {storage} {compression}', file.name, file.read_bytes(),
                          (f'{{}}/{file.name}',)))
        if storage != 'ros1' and not compression:
            found.append(Seed(f'metadata of {storage}', 'metadata.yaml',
                              (path / 'metadata.yaml').read_bytes(), ('{}',),
                              ((file.name, file.read_bytes()),), text=True))
    return found


def image_seeds() -> list[Seed]:
    """Return PNG and .npz files of slanted planes, without faces."""
    import io

    import cv2
    depth = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint16) * 5 + 600
    camera = ('--intrinsics', '70,70')
    png = cv2.imencode('.png', depth)[1].tobytes()
    found = [Seed('png', 'a.png', png, ('{}/a.png', *camera, '--video', '--sheet'))]
    for name, arrays in (('depth_mm', {'depth_mm': np.stack([depth] * 2), 'K': [70., 70, 40, 30],
                                       'size_hw': [[60, 80], [30, 40]]}),
                         ('depth_m', {'depth_m': depth.astype(np.float64) / 1000})):
        for save in (np.savez, np.savez_compressed):
            file = io.BytesIO()
            save(file, **arrays)
            found.append(Seed(f'npz {name}', 'a.npz', file.getvalue(),
                              ('{}/a.npz', *(() if 'K' in arrays else camera))))
    return found


def text_seeds(models: Path) -> list[Seed]:
    """Return camera and parameter files."""
    import cv2
    png = cv2.imencode('.png', np.full((60, 80), 900, np.uint16))[1].tobytes()
    image = ('a.png', png)
    ros = (b'image_width: 80\nimage_height: 60\ncamera_matrix: {rows: 3, cols: 3, data: [70, 0, '
           b'40, 0, 70, 30, 0, 0, 1]}\ndistortion_model: plumb_bob\n'
           b'distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}\n')
    plain = json.dumps({'fx': 70, 'fy': 70, 'cx': 40, 'cy': 30}).encode()
    params = (HERE.parent / 'config' / 'depthface.yaml').read_bytes()
    return [Seed('camera.yaml', 'camera.yaml', ros, ('{}/a.png',), (image,), text=True),
            Seed('camera.json', 'camera.json', plain, ('{}/a.png',), (image,), text=True),
            Seed('parameters', 'params.yaml', params, (
                '{}/a.png', '--intrinsics', '70,70', '--params-file', '{}/params.yaml'),
                (image,), text=True)]


def network_seeds(models: Path) -> list[Seed]:
    """Return networks, their cards, and the files measured with them."""
    # a link: the worker caches networks of the package's own folder between files
    run = ('{}/a.npz', '--intrinsics', '70,70', '--models', '{models}')
    import io
    file = io.BytesIO()
    np.savez(file, depth_mm=np.full((1, 60, 80), 900, np.uint16))
    names = [*NETWORKS, 'head_pose.json', 'calibration.json', 'error_prior.npz', 'face_model.npz',
             'face_basis.npz']
    return [Seed(f'models {name}', f'models/{name}', (models / name).read_bytes(), run,
                 (('a.npz', file.getvalue()),), text=name.endswith('.json'))
            for name in names if (models / name).is_file()]


def bomb_seeds() -> list[Seed]:
    """Return files that claim large sizes; they are run without mutations."""
    import cv2
    image = ('a.png', cv2.imencode('.png', np.full((60, 80), 900, np.uint16))[1].tobytes())
    found = []
    for name, content in bombs().items():
        arguments = (f'{{}}/{name}', '--intrinsics', '70,70', '--video', '--sheet')
        if name.startswith('camera'):
            arguments = ('{}/a.png',)
        elif name.startswith('params'):
            arguments = ('{}/a.png', '--intrinsics', '70,70', '--params-file', f'{{}}/{name}')
        found.append(Seed('bomb', name, content, arguments, (image,)))
    return found


class Worker:
    """A process that runs command lines one after the other and reports their cost."""

    def __init__(self, package: Path):
        self._environment = os.environ | {'PYTHONPATH': str(package)}
        self._process = None

    def run(self, arguments: list[str], output: Path) -> dict:
        """Run a command line; returns status, seconds and peak memory, or how the process died."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / 'fuzz_worker.py')], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True, env=self._environment)
            self._process.stdout.readline()
        self._process.stdin.write(json.dumps([arguments, str(output), MAX_SECONDS]) + '\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return json.loads(answer)
        status, self._process = self._process.wait(), None
        return {'status': status, 'died': True, 'seconds': 0.0, 'peak_mb': 0.0}

    def close(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


def main() -> int:
    """Mutate the files, run them and report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--keep', type=Path, help='folder for files that went wrong')
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # end early, with a report
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix='fuzz_files_') as name:
        return fuzz(options, Path(name))


def fuzz(options: argparse.Namespace, folder: Path) -> int:
    """Run all mutated files in a folder; return the exit status."""
    package, models = folder / 'package', folder / 'package' / 'depthface_ros' / 'models'
    shutil.copytree(HERE.parent / 'depthface_ros', models.parent,
                    ignore=shutil.ignore_patterns('__pycache__', '*.int8.onnx'))
    linked = folder / 'linked'
    linked.symlink_to(models)
    rng, good = np.random.default_rng(options.seed), seeds(models, folder)
    cases = [(seed, seed.content) for seed in bomb_seeds()]
    cases += [(seed, mutated(seed.content, rng, seed.text))
              for i in range(options.files) for seed in [good[i % len(good)]]]
    worker, report, start = Worker(package), Report(options.keep), time.monotonic()
    models = linked
    with suppress(KeyboardInterrupt):  # the results so far are reported
        for number, (seed, content) in enumerate(cases, 1):
            with placed(seed, content, folder / 'case', models) as arguments:
                report.add(seed, content, worker.run(arguments, folder / 'output.txt'),
                           (folder / 'output.txt').read_text(errors='replace'))
            if number % 100 == 0:
                print(f'{number} of {len(cases)}', file=sys.stderr, flush=True)
    worker.close()
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(report.text(time.monotonic() - start, seconds.ru_utime + seconds.ru_stime))
    return 0 if report.good else 1


class placed:
    """Put a case and its companion files into a folder; yield the command line that reads it."""

    def __init__(self, seed: Seed, content: bytes, folder: Path, models: Path):
        self._seed, self._content, self._folder, self._models = seed, content, folder, models

    def __enter__(self) -> list[str]:
        seed = self._seed
        self._folder.mkdir()
        for name, content in seed.beside:
            (self._folder / name).write_bytes(content)
        if seed.name.startswith('models/'):
            (self._models / Path(seed.name).name).write_bytes(self._content)
        else:
            (self._folder / seed.name).write_bytes(self._content)
        if seed.name.startswith('models/') and hash(self._content) % 2:
            return ['check', '--models', str(self._models)]
        arguments = [argument.replace('{models}', str(self._models))
                     .replace('{}', str(self._folder)) for argument in seed.arguments]
        return ['run', *arguments, '--engine', 'cpu', '--out', str(self._folder / 'out')]

    def __exit__(self, *_) -> None:
        if self._seed.name.startswith('models/'):
            (self._models / Path(self._seed.name).name).write_bytes(self._seed.content)
        shutil.rmtree(self._folder)


class Report:
    """The faults, by kind of file."""

    def __init__(self, keep: Path | None):
        self._keep, self._files, self._statuses = keep, Counter(), Counter()
        self._wrong: list[str] = []
        self._peaks: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    @property
    def good(self) -> bool:
        return not self._wrong and max(self._peaks.values()) <= MAX_MEMORY_MB

    def add(self, seed: Seed, content: bytes, result: dict, output: str) -> None:
        """Add a result."""
        self._files[seed.kind] += 1
        self._statuses[seed.kind, result['status']] += 1
        self._peaks[seed.kind] = max(self._peaks.get(seed.kind, 0.0), result['peak_mb'])
        self._seconds[seed.kind] = max(self._seconds.get(seed.kind, 0.0), result['seconds'])
        wrong = fault(result, output)
        if wrong or result['peak_mb'] > MAX_MEMORY_MB:
            number = sum(self._files.values())
            self._wrong.append(f'{seed.kind}, file {number}: {wrong or result["peak_mb"]}')
            print(self._wrong[-1], output[-600:], sep='\n', file=sys.stderr, flush=True)
            if self._keep:
                self._keep.mkdir(parents=True, exist_ok=True)
                (self._keep / f'{number}_{Path(seed.name).name}').write_bytes(content)

    def text(self, seconds: float, processor_seconds: float) -> str:
        """Return the report."""
        lines = [f'{"kind":32}{"files":>7}{"read":>7}{"refused":>8}{"MB":>8}{"s":>7}']
        for kind, count in self._files.items():
            read = self._statuses[kind, 0]
            lines.append(f'{kind:32}{count:7}{read:7}{count - read:8}{self._peaks[kind]:8.0f}'
                         f'{self._seconds[kind]:7.1f}')
        lines.append(f'{sum(self._files.values())} files in {seconds:.0f} s '
                     f'({processor_seconds:.0f} s of the processor): {len(self._wrong)} wrong; '
                     f'peak {max(self._peaks.values()):.0f} MB above idle (limit {MAX_MEMORY_MB})')
        return '\n'.join([*lines, *self._wrong[:20]])


def fault(result: dict, output: str) -> str:
    """Return the fault in the output of a run, or an empty text."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith('depthface: error: ')]
    if result.get('died'):
        return f'the process died with status {result["status"]}'
    if 'Traceback' in output:
        return 'traceback'
    if result['seconds'] > MAX_SECONDS:
        return f'took {result["seconds"]:.0f} s'
    if result['status'] == 2 and len(errors) != 1:
        return f'{len(errors)} lines of errors'
    foreign = [line for line in lines if not line.startswith('depthface: ')]
    return f'lines without a prefix: {foreign[0][:200]!r}' if foreign else ''


if __name__ == '__main__':
    sys.exit(main())
