# SPDX-License-Identifier: Apache-2.0
"""What is installed and what works here: the text of `depthface check`."""
from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

from depthface_ros.engines import (
    AUTO,
    ENGINES,
    MODELS_FOLDER,
    EngineUnavailable,
    open_engine,
)
from depthface_ros.engines.tensorrt.api import describe, open_tensorrt
from depthface_ros.engines.tensorrt.build import supported_capabilities
from depthface_ros.engines.tensorrt.cuda_runtime import CudaError, describe_gpu, open_cuda
from depthface_ros.tools.bench import machine

PACKAGES = {'depthface_ros': 'this package', 'numpy': 'required', 'array-api-compat': 'required',
            'onnxruntime': "engine 'cpu'", 'opencv-python-headless': 'overlays, PNG',
            'rosbags': 'bags', 'rich': 'progress bars', 'rerun-sdk': '--rerun',
            'rclpy': 'the ROS node', 'tensorrt': "engine 'tensorrt'",
            'tensorrt-rtx-cu12': "engine 'tensorrt' on RTX cards",
            'cuda-bindings': "engine 'tensorrt'", 'torch': "engine 'cuda'",
            'onnx': "engines 'cuda' and 'tensorrt' (FP16)"}
JETSON = Path('/etc/nv_tegra_release')


def check_report(models_folder: Path = MODELS_FOLDER) -> tuple[list[str], bool]:
    """Lines for people to read, and whether at least one engine works."""
    lines = [f'Python {platform.python_version()} on {platform.system()} {platform.machine()}',
             f'CPU {machine()}', f'GPU {_gpu()}', '', 'packages']
    lines += [f'  {name:24} {_version(name):14} {purpose}' for name, purpose in PACKAGES.items()]
    engines = [(name, *_try(name, models_folder)) for name in ENGINES]
    auto = next((name for name in AUTO if (name, True) in [each[:2] for each in engines]), 'none')
    lines += ['', f"engines; 'auto' takes {auto}"]
    lines += [f'  {name:14} {"works" if works else "no"}: {text}' for name, works, text in engines]
    lines += ['', f'engines for other machines: {_ahead()}', '', f'models in {models_folder}']
    files = sorted([*Path(models_folder).glob('*.onnx'), *Path(models_folder).glob('*.npz')])
    lines += [f'  {file.name:20} {file.stat().st_size / 1e6:6.2f} MB  sha256 {_card(file)}'
              for file in files]
    return lines + ([] if files else ['  none']), auto != 'none'


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
    """The GPU, by whoever can tell without PyTorch or TensorRT; or why none can be used."""
    jetson = JETSON.read_text().splitlines()[0].lstrip('# ') if JETSON.is_file() else ''
    try:
        gpu = describe_gpu(open_cuda())
    except (EngineUnavailable, CudaError) as error:
        return f'none is seen: {error} {jetson}'.rstrip()
    return (f'{gpu.name}, compute {gpu.compute_capability}, driver for CUDA {gpu.driver}, '
            f'runtime {gpu.runtime} {jetson}').rstrip()


def _try(engine: str, models_folder: Path) -> tuple[bool, str]:
    """Whether an engine works, and what it is or else why it does not."""
    try:
        return True, open_engine(engine, models_folder, build=False)[0].description
    except (EngineUnavailable, ValueError) as error:
        return False, str(error).removeprefix(f'engine {engine}: ')


def _ahead() -> str:
    """Return what `depthface build-engines --for` can build for here, or the reason for nothing."""
    try:
        trt = open_tensorrt(without_gpu=True)
    except EngineUnavailable as error:
        return f'no: {error}'
    names = ','.join(f'sm{each.replace(".", "")}' for each in supported_capabilities(trt))
    return f'{describe(trt)} builds for {names}'


def _card(file: Path) -> str:
    """Return the hash of a file, and whether its card disagrees or is broken."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = file.with_suffix('.json')
    try:
        expected = json.loads(card.read_text())['sha256'] if card.is_file() else digest
    except (ValueError, KeyError, TypeError) as error:
        return f'{digest} (its card {card.name} is broken: {error!r})'
    return digest + ('' if expected == digest else ' (NOT the one of its card)')
