# SPDX-License-Identifier: Apache-2.0
"""Do the engines see the same? `python benchmarks/agreement.py demo/sample.mcap MORE --json FILE`

Runs every engine that works here on the same frames, and the code of the engine 'cuda' on the CPU
as well, and tells how far poses and vertices are from those of the engine 'cpu_fp32'.
"""
from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from depthface_ros import FaceEstimator
from depthface_ros.cli import numbers
from depthface_ros.engines import ENGINES, MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.estimator import Face
from depthface_ros.progress import progress
from depthface_ros.recordings import open_recording
from depthface_ros.rotations import vector_from_rotation

REFERENCE = 'cpu_fp32'
NEAR = 0.1  # m; sellions nearer than this to each other are of the same face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('inputs', type=Path, nargs='+', help='as for `depthface run`')
    parser.add_argument('--intrinsics', type=numbers, help='of inputs that do not tell')
    parser.add_argument('--frames', type=int, default=200, help='at most, of all inputs')
    parser.add_argument('--json', type=Path, help='write the figures there, too')
    options = parser.parse_args()
    recordings = [open_recording(path, options.intrinsics) for path in options.inputs]
    frames = [(frame.depth, frame.intrinsics) for frame in itertools.islice(
        itertools.chain(*recordings), options.frames)]
    reference = FaceEstimator(REFERENCE)
    expected = [reference(*frame) for frame in progress(frames, len(frames), REFERENCE)]
    rows = []
    for name, engine in engines():
        estimator = FaceEstimator(engine, calibration=reference.calibration)
        found = [estimator(*frame) for frame in progress(frames, len(frames), name)]
        rows.append({'engine': name, 'is': engine.description, **compare(found, expected)})
    total = sum(map(len, expected))
    print(f'{len(frames)} frames, {total} faces; reference: {reference.engine.description}')
    print(f'{"engine":18}{"matched":>9}{"extra":>7}{"deg max":>10}{"p99":>9}{"mm max":>9}{"p99":>9}')
    for row in rows:
        print(f'{row["engine"]:18}{row["matched"]:9}{row["extra"]:7}{row["degrees_max"]:10.4f}'
              f'{row["degrees_p99"]:9.4f}{row["mm_max"]:9.4f}{row["mm_p99"]:9.4f}  {row["is"]}')
    if options.json:
        options.json.write_text(json.dumps(
            {'frames': len(frames), 'faces': total, 'reference': reference.engine.description,
             'engines': rows}, indent=2) + '\n')


def engines():
    """(name, engine) of all that work here but the reference."""
    for name in ENGINES:
        if name != REFERENCE:
            try:
                yield name, open_engine(name)[0]
            except EngineUnavailable as error:
                print(f'{name} is left out: {error}')
    from depthface_ros.engines.torch_cuda import PRECISIONS, TorchCuda
    for precision in PRECISIONS:
        yield f'PyTorch {precision}', TorchCuda(MODELS_FOLDER, precision, device='cpu')


def compare(found: list[list[Face]], expected: list[list[Face]]) -> dict[str, float]:
    """Degrees and mm between faces of the same frames; a vertex counts where it is farthest."""
    degrees, mm, extra = [], [], 0
    for faces, others in zip(found, expected):
        pairs = [(face, other) for face in faces for other in others if np.linalg.norm(
            face.camera_from_face[:3, 3] - other.camera_from_face[:3, 3]) < NEAR]
        extra += len(faces) - len(pairs)
        for face, other in pairs:
            turn = face.camera_from_face[:3, :3].T @ other.camera_from_face[:3, :3]
            degrees.append(np.degrees(np.linalg.norm(vector_from_rotation(turn))))
            mm.append(1000 * np.linalg.norm(face.vertices - other.vertices, axis=1).max())
    return {'matched': len(degrees), 'extra': extra,
            'degrees_max': float(np.max(degrees)), 'degrees_p99': float(np.percentile(degrees, 99)),
            'mm_max': float(np.max(mm)), 'mm_p99': float(np.percentile(mm, 99))}


if __name__ == '__main__':
    main()
