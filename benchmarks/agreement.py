# SPDX-License-Identifier: Apache-2.0
"""Compare the engines: `python benchmarks/agreement.py demo/sample.mcap MORE --json FILE`.

Runs every available engine on the same frames. On the CPU it also runs the code of the engine
'cuda', and the networks that TensorRT builds in FP16. Reports the differences of poses and vertices
from the engine 'cpu_fp32', and the number of faces that differ by more than 0.1 degrees or 0.2 mm.
"""
from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np

from depthface_ros import FaceEstimator
from depthface_ros.cli import numbers
from depthface_ros.engines import ENGINES, MODELS_FOLDER, EngineUnavailable, open_engine
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.cpu import OnnxRuntimeCpu
from depthface_ros.engines.half_precision import half_precision
from depthface_ros.engines.torch.cuda_engine import TorchCuda
from depthface_ros.estimation.types import Face
from depthface_ros.geometry.rotations import vector_from_rotation
from depthface_ros.io.recordings import open_recording
from depthface_ros.tools.progress import progress

BAGS = {'.mcap', '.db3'}  # contain their intrinsics
REFERENCE = 'cpu_fp32'
DEGREES, MILLIMETRES = 0.1, 0.2  # tolerances of engines in FP32
FIGURES = ('matched', 'extra', 'beyond', 'deg p50', 'deg p99', 'deg max', 'mm p50', 'mm p99',
           'mm max')
NEAR = 0.1  # m; two faces are the same if their sellions are nearer than this


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('inputs', type=Path, nargs='+', help='as for `depthface run`')
    parser.add_argument('--intrinsics', type=numbers, help='of inputs that do not tell')
    parser.add_argument('--frames', type=int, default=200, help='at most, of all inputs')
    parser.add_argument('--json', type=Path, help='write the figures there, too')
    options = parser.parse_args()
    recordings = [open_recording(path, None if path.suffix in BAGS else options.intrinsics)
                  for path in options.inputs]
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
    print(f'{"engine":16}' + ''.join(f'{column:>12}' for column in FIGURES))
    for row in rows:
        print(f'{row["engine"]:16}' + ''.join(f'{row[column]:12.4g}' for column in FIGURES)
              + f'  {row["is"]}')
    if options.json:
        options.json.write_text(json.dumps(
            {'frames': len(frames), 'faces': total, 'reference': reference.engine.description,
             'engines': rows}, indent=2) + '\n')


def engines():
    """Yield name and engine of all available engines except the reference."""
    for name in ENGINES:
        if name != REFERENCE:
            try:
                yield name, open_engine(name)[0]
            except EngineUnavailable as error:
                print(f'{name} is left out: {error}')
    yield "PyTorch's CPU", TorchCuda(MODELS_FOLDER, device='cpu')
    with tempfile.TemporaryDirectory() as folder:  # for the ONNX files that TensorRT builds from
        for network in NETWORKS:
            model = half_precision(MODELS_FOLDER / f'{network}.onnx')
            (Path(folder) / f'{network}.onnx').write_bytes(model.SerializeToString())
        yield 'FP16 networks', OnnxRuntimeCpu(Path(folder), 'fp32')


def compare(found: list[list[Face]], expected: list[list[Face]]) -> dict[str, float]:
    """Return differences in degrees and mm of faces of the same frames; mm of the worst vertex."""
    degrees, mm, extra = [], [], 0
    for faces, others in zip(found, expected):
        pairs = [(face, other) for face in faces for other in others if np.linalg.norm(
            face.camera_from_face[:3, 3] - other.camera_from_face[:3, 3]) < NEAR]
        extra += len(faces) - len(pairs)
        for face, other in pairs:
            turn = face.camera_from_face[:3, :3].T @ other.camera_from_face[:3, :3]
            degrees.append(np.degrees(np.linalg.norm(vector_from_rotation(turn))))
            mm.append(1000 * np.linalg.norm(face.vertices - other.vertices, axis=1).max())
    beyond = (np.array(degrees) > DEGREES) | (np.array(mm) > MILLIMETRES)
    numbers = np.concatenate([np.percentile(values, (50, 99, 100)) for values in (degrees, mm)])
    return dict(zip(FIGURES, (len(degrees), extra, int(beyond.sum()), *numbers.tolist())))


if __name__ == '__main__':
    main()
