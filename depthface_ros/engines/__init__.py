# SPDX-License-Identifier: Apache-2.0
"""Inference engines: one small module per runtime behind one protocol."""
from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from depthface_ros.engines.contract import NETWORKS

AUTO = ('tensorrt', 'cuda', 'cpu')  # best first: the order in which 'auto' tries them
ENGINES = ('tensorrt', 'tensorrt_fp32', 'cuda', 'cuda_fp16', 'cpu', 'cpu_fp32')
MODELS_FOLDER = Path(__file__).resolve().parents[1] / 'models'


class EngineUnavailable(RuntimeError):
    """This engine cannot run on this machine; the message gives the reason."""


class Engine(Protocol):
    """Runs the networks of :data:`depthface_ros.engines.contract.NETWORKS`."""

    name: str
    description: str  # version, precision and device, for people to read

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """Return outputs by name, (B, ...) float32, of a network for an input (B, ...) float32."""
        ...


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine that also runs the array code between the networks, on tensors of a device."""

    def constant(self, array: np.ndarray) -> Any:
        """Return an array as a tensor that stays on the device."""

    def upload(self, depth: np.ndarray) -> Any:
        """Return a depth image as float32 metres on the device, valid until the next upload."""

    def compute(self, function: Callable[..., tuple], fixed: tuple,
                arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return `function(*fixed, *arrays)`, run on tensors.

        Its control flow may depend on shapes, not on values.
        """
        ...


def open_engine(name: str = 'auto', models_folder: str | Path = MODELS_FOLDER,
                build: bool = True) -> tuple[Engine, list[tuple[str, str]]]:
    """Load the networks and run each once: an engine that opens is one that works.

    :param name: one of :data:`ENGINES`, or 'auto' for the first of :data:`AUTO` that works.
    :param build: whether TensorRT may build missing engines for minutes; 'auto' never does.
        TensorRT for RTX builds in a second and always may.
    :returns: the engine, and for 'auto' the (name, reason) of each better one that does not work.
    :raises ValueError: no such engine, or networks in the folder that are not this project's.
    :raises EngineUnavailable: the engine requested, or with 'auto' every engine, does not work.
    """
    if name not in ('auto', *ENGINES):
        raise ValueError(f"engine {name!r}: expected one of 'auto', "
                         f'{", ".join(map(repr, ENGINES))}')
    models_folder = Path(models_folder)
    for network in NETWORKS:
        if not (models_folder / f'{network}.onnx').is_file():
            raise EngineUnavailable(f'{models_folder / network}.onnx is missing: expected all of '
                                    f'{", ".join(NETWORKS)}, as `python -m training adapt` writes '
                                    'them')
    skipped = []
    for candidate in AUTO if name == 'auto' else (name,):
        if name == 'auto' and candidate != 'cpu' and not _has_nvidia_driver():
            skipped.append((candidate, 'no NVIDIA driver: libcuda.so.1 does not load'))
            continue
        try:
            return _open(candidate, models_folder, build and name != 'auto'), skipped
        except (RuntimeError, OSError) as error:  # EngineUnavailable, or a failed first run
            skipped.append((candidate, str(error)))
    raise EngineUnavailable('; '.join(f'engine {failed}: {reason}' for failed, reason in skipped))


def _has_nvidia_driver() -> bool:
    """Return whether there is one, without importing PyTorch for seconds."""
    try:
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    return True


def _open(name: str, models_folder: Path, build: bool) -> Engine:
    # imported here: a machine needs the packages of its own engine only
    kind, _, precision = name.partition('_')
    if kind == 'tensorrt':
        from depthface_ros.engines.tensorrt.trt_engine import TensorRt
        engine = _on_tensors(TensorRt(models_folder, precision or 'fp16', build))
    elif kind == 'cuda':
        try:
            from depthface_ros.engines.torch.cuda_engine import TorchCuda
        except ImportError as error:
            raise EngineUnavailable(f'{error}; pip install torch onnx') from error
        engine = TorchCuda(models_folder, precision or 'fp32')
    else:
        from depthface_ros.engines.cpu import OnnxRuntimeCpu
        engine = OnnxRuntimeCpu(models_folder, precision or 'int8')
    for network, contract in NETWORKS.items():
        for shape in contract.input_shapes:
            engine.run(network, np.zeros((1, *shape), np.float32))
    return engine


def _on_tensors(engine) -> Engine:
    """Return a TensorRT engine with its stages on the GPU too, if there is a PyTorch that can."""
    try:
        from depthface_ros.engines.tensorrt.torch_trt_engine import TensorRtOnTensors
        return TensorRtOnTensors(engine)
    except (ImportError, EngineUnavailable):
        return engine
