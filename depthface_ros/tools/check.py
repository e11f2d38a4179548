# SPDX-License-Identifier: Apache-2.0
"""Report what is installed and what works: the text of `depthface check`."""
from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from depthface_ros import compiled
from depthface_ros.engines import (
    AUTO,
    ENGINES,
    MODELS_FOLDER,
    EngineUnavailable,
    open_engine,
)
from depthface_ros.engines.model_file import hash_and_fault
from depthface_ros.engines.tensorrt.api import describe, open_tensorrt
from depthface_ros.engines.tensorrt.build import supported_capabilities
from depthface_ros.engines.tensorrt.cuda_runtime import CudaError, describe_gpu, open_cuda
from depthface_ros.estimation.alignment import aligned_triangles, face_modes
from depthface_ros.estimation.calibration import Calibration
from depthface_ros.estimation.error_prior import ErrorPrior
from depthface_ros.estimation.estimator import FaceEstimator
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.io.errors import one_line
from depthface_ros.tools.bench import machine
from depthface_ros.tracking.face_tracker import FaceTracker

PACKAGES = {'depthface_ros': 'this package', 'numpy': 'required', 'array-api-compat': 'required',
            'onnxruntime': "engine 'cpu'", 'numba': "engine 'cpu', faster",
            'opencv-python-headless': 'overlays, PNG', 'rosbags': 'bags',
            'rich': 'progress bars', 'rerun-sdk': '--rerun',
            'rclpy': 'the ROS node', 'tensorrt': "engine 'tensorrt'",
            'tensorrt-rtx-cu12': "engine 'tensorrt' on RTX cards",
            'cuda-bindings': "engine 'tensorrt'", 'torch': "engine 'cuda'",
            'onnx': "engines 'cuda' and 'tensorrt' (FP16)"}
JETSON = Path('/etc/nv_tegra_release')


def check_report(models_folder: str | Path = MODELS_FOLDER) -> tuple[list[str], bool]:
    """Return lines for people to read, and whether the package works with some engine."""
    models_folder = Path(models_folder)
    lines = [f'Python {platform.python_version()} on {platform.system()} {platform.machine()}',
             f'CPU {machine()}', f'GPU {_gpu()}', '', 'packages']
    lines += [f'  {name:24} {_version(name):14} {purpose}' for name, purpose in PACKAGES.items()]
    engines = [(name, *_try(name, models_folder)) for name in ENGINES]
    auto = next((name for name in AUTO if (name, True) in [each[:2] for each in engines]), 'none')
    lines += ['', f"engines; 'auto' takes {auto}"]
    lines += [f'  {name:14} {"works" if works else "no"}: {text}' for name, works, text in engines]
    readable, text = _face_model(models_folder)
    lines += [f'  {"loops":14} {_loops(models_folder)}', '',
              f'engines for other machines: {_ahead()}', '', f'models in {models_folder}',
              f'  face model and calibration: {text}']
    files = sorted([*Path(models_folder).glob('*.onnx'), *Path(models_folder).glob('*.npz')])
    for file in files:
        digest, fault = hash_and_fault(file)
        lines.append(f'  {file.name:22} {file.stat().st_size / 1e6:6.2f} MB  sha256 {digest}'
                     + (f' ({fault})' if fault else ''))
    return lines + ([] if files else ['  none']), readable and auto != 'none'


def _version(package: str) -> str:
    for name in (package, package.removesuffix('-headless'), f'ros-{package}',
                 package.replace('cu12', 'cu13')):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:  # system packages may have no metadata
        name = {'opencv-python-headless': 'cv2'}.get(package, package.replace('-', '_'))
        return getattr(__import__(name), '__version__', 'installed')
    except ImportError:
        return '-'


def _gpu() -> str:
    """Return the GPU, without PyTorch or TensorRT, or why none can be used."""
    jetson = JETSON.read_text().splitlines()[0].lstrip('# ') if JETSON.is_file() else ''
    try:
        gpu = describe_gpu(open_cuda())
    except (EngineUnavailable, CudaError) as error:
        return f'none is seen: {error} {jetson}'.rstrip()
    return (f'{gpu.name}, compute {gpu.compute_capability}, driver for CUDA {gpu.driver}, '
            f'runtime {gpu.runtime} {jetson}').rstrip()


def _try(engine: str, models_folder: Path) -> tuple[bool, str]:
    """Return whether an engine works, and its description or the cause."""
    try:
        return True, open_engine(engine, models_folder, build=False)[0].description
    except Exception as error:  # a check reports what does not work
        return False, one_line(error).removeprefix('EngineUnavailable: ').removeprefix(
            f'engine {engine}: ')


def _face_model(models_folder: Path) -> tuple[bool, str]:
    """Return whether mesh, modes and the measured errors of the networks can be read."""
    try:
        model, modes = FaceModel.load(), face_modes()
        ErrorPrior.load(models_folder, len(modes), len(aligned_triangles(model)))
        Calibration.load(models_folder)
    except Exception as error:
        return False, f'no: {one_line(error)}'
    return True, 'can be read'


def _loops(models_folder: Path) -> str:
    """Compile the loops of the CPU, so the node need not; return whether they are."""
    if not compiled.AVAILABLE:
        return f'not compiled, slower: {compiled.WHY_NOT}; pip install -U numba'
    try:
        FaceTracker(FaceEstimator('cpu', models_folder=models_folder))
    except Exception as error:
        return f'not compiled: {one_line(error)}'
    return 'compiled by Numba'


def _ahead() -> str:
    """Return what `depthface build-engines --for` can build for here, or the reason for nothing."""
    try:
        trt = open_tensorrt(without_gpu=True)
    except EngineUnavailable as error:
        return f'no: {error}'
    names = ','.join(f'sm{each.replace(".", "")}' for each in supported_capabilities(trt))
    return f'{describe(trt)} builds for {names}'
