# SPDX-License-Identifier: Apache-2.0
"""The networks on an NVIDIA GPU, by TensorRT engines that are built on this machine."""
from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import read_onnx
from depthface_ros.engines.tensorrt.api import construct, new_logger, open_tensorrt, why
from depthface_ros.engines.tensorrt.build import build_plan
from depthface_ros.engines.tensorrt.cache import Recipe, cache_folder, plan_for
from depthface_ros.engines.tensorrt.cuda_runtime import (
    CudaError,
    Staging,
    Stream,
    describe_gpu,
    open_cuda,
)
from depthface_ros.engines.torch.half_precision import half_precision

PRECISIONS = ('fp16', 'fp32')
# Larger batches run in pieces. The finder sees one frame at a time.
MAX_BATCH = {'head_finder': 1, 'head_pose': 8, 'face_shape': 8, 'face_refiner': 8}
_log = logging.getLogger(__name__)


class TensorRt:
    """All networks of a models folder as TensorRT engines; arrays in and out are numpy's."""

    name = 'tensorrt'

    def __init__(self, models_folder: Path, precision: str = 'fp16', build: bool = True,
                 report: Callable[[str], None] = _log.warning):
        """Load the engines from the user's cache; build those that are missing or stale.

        :param build: False to raise instead, for building takes minutes.
        :param report: is told what is built, why, and how far it is.
        :raises EngineUnavailable: something is missing, refused or failed; the message says what.
        """
        if precision not in PRECISIONS:
            raise ValueError(f'precision {precision!r}: expected one of {PRECISIONS}')
        try:
            cuda = open_cuda()  # before any TensorRT object: see open_tensorrt
            trt = open_tensorrt()
            gpu = describe_gpu(cuda)
            self.description = (f'TensorRT {trt.__version__}, {precision}, {gpu.name} (compute '
                                f'{gpu.compute_capability}, driver for CUDA {gpu.driver}, '
                                f'runtime {gpu.runtime})')
            self.folder = cache_folder(gpu.name)
            logger = new_logger(trt)
            plans = {}
            for network, contract in NETWORKS.items():
                onnx, digest = _read(Path(models_folder) / f'{network}.onnx', precision)
                shapes = input_shapes(network)
                recipe = Recipe(network, digest, precision, shapes, dict(contract.outputs),
                                trt.__version__, gpu.name, gpu.compute_capability)

                def make(timings, network=network, onnx=onnx, shapes=shapes):
                    return build_plan(trt, logger, onnx(), precision == 'fp16', shapes, timings,
                                      lambda text: report(f'{network}: {text}'))

                plans[network] = plan_for(self.folder, recipe, make, build, report,
                                          driver=gpu.driver, cuda_runtime=gpu.runtime)
            stream = Stream(cuda)
            self.networks = {
                network: TensorRtNetwork(trt, logger, stream, network, plan)
                for network, plan in plans.items()}
        except CudaError as error:
            raise EngineUnavailable(str(error)) from error
        self._lock = threading.Lock()  # contexts and the stream are for one thread at a time

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, each (B, ...) float32, for an input (B, ...) float32.

        :raises RuntimeError: TensorRT or CUDA refused to run it.
        """
        runner, size = self.networks[network], MAX_BATCH[network]
        with self._lock:
            parts = [runner(array[i:i + size]) for i in range(0, len(array), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def input_shapes(network: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest and the largest input of a network, batch axis included."""
    sizes = NETWORKS[network].input_shapes
    return (1, *map(min, zip(*sizes))), (MAX_BATCH[network], *map(max, zip(*sizes)))


def _read(file: Path, precision: str) -> tuple[Callable[[], bytes], str]:
    """A function that gives the ONNX bytes to build from, and the sha256 of the file."""
    if not file.is_file():
        raise EngineUnavailable(f'{file} is missing')

    def model() -> bytes:
        try:
            read = half_precision if precision == 'fp16' else read_onnx
            return read(file).SerializeToString()
        except ImportError as error:
            raise EngineUnavailable(f'{error}: networks are read with it; '
                                    'pip install onnx') from error

    return model, hashlib.sha256(file.read_bytes()).hexdigest()


class TensorRtNetwork:
    """One engine with its memory; per shape of input a context and, where possible, a graph."""

    def __init__(self, trt, logger, stream: Stream, network: str, plan: bytes):
        self._logger, self._stream, self._network = logger, stream, network
        self._contract = NETWORKS[network]
        self._runtime = construct(trt.Runtime, logger)  # engines need it alive
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineUnavailable(f'TensorRT does not load the engine of {network}: '
                                    f'{why(logger)}')
        _check_tensors(trt, engine, network)
        self._engine, self._contexts = engine, []  # graphs need their contexts alive
        largest = input_shapes(network)[1]
        sizes = {self._contract.input_name: largest, **self._output_shapes(self._context(largest))}
        self._memory = {name: Staging(stream, 4 * math.prod(shape))
                        for name, shape in sizes.items()}
        self._launches: dict[tuple[int, ...], tuple[Callable[[], None], dict]] = {}
        self._of_others: dict[tuple[int, ...], object] = {}  # contexts on memory of the caller's

    def __call__(self, array: np.ndarray) -> dict[str, np.ndarray]:
        if array.shape not in self._launches:
            self._launches[array.shape] = self._prepare(array.shape)
        launch, outputs = self._launches[array.shape]
        self._memory[self._contract.input_name].host(array.shape)[:] = array
        launch()
        self._stream.synchronize()
        return {name: self._memory[name].host(shape).copy() for name, shape in outputs.items()}

    def _prepare(self, shape: tuple[int, ...]) -> tuple[Callable[[], None], dict]:
        """What runs an input of this shape, as one CUDA graph or step by step; output shapes."""
        context = self._context(shape)
        outputs = self._output_shapes(context)
        addresses = {name: memory.address for name, memory in self._memory.items()}

        def enqueue() -> None:
            self._memory[self._contract.input_name].upload(shape)
            self._execute(context, shape, addresses, self._stream.address)
            for name, output_shape in outputs.items():
                self._memory[name].download(output_shape)

        enqueue()  # the first run sets things up that a graph cannot hold
        self._stream.synchronize()
        try:
            return self._stream.capture(enqueue), outputs
        except RuntimeError as error:
            _log.warning('%s, input %s: no CUDA graph, so each launch takes a little longer: %s',
                         self._network, shape, error)
            return enqueue, outputs

    def output_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shapes by name of what :meth:`enqueue` writes for an input of this shape."""
        if shape not in self._of_others:
            self._of_others[shape] = self._context(shape)
        return self._output_shapes(self._of_others[shape])

    def enqueue(self, shape: tuple[int, ...], source: int, targets: dict[str, int],
                stream: int) -> None:
        """Put the network onto a CUDA stream, from and to a caller's memory on the GPU.

        :param source: address of the input of this shape; `targets` those of outputs, by name.
        :raises RuntimeError: TensorRT refuses.
        """
        self._execute(self._of_others[shape], shape,
                      {self._contract.input_name: source, **targets}, stream)

    def _execute(self, context, shape, addresses: dict[str, int], stream: int) -> None:
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                self._fail(f'does not take the memory for {name}')
        if not context.execute_async_v3(stream):
            self._fail(f'did not run an input of {shape}')

    def _context(self, shape: tuple[int, ...]):
        context = self._engine.create_execution_context()
        if context is None:
            self._fail('has no execution context')
        self._contexts.append(context)
        if not context.set_input_shape(self._contract.input_name, shape):
            self._fail(f'does not take an input of {shape}')
        missing = context.infer_shapes()
        if missing:
            self._fail(f'cannot tell its shapes without {", ".join(missing)}')
        return context

    def _output_shapes(self, context) -> dict[str, tuple[int, ...]]:
        return {name: tuple(context.get_tensor_shape(name)) for name in self._contract.outputs}

    def _fail(self, what: str):
        raise RuntimeError(f'TensorRT engine of {self._network} {what}: {why(self._logger)}')


def _check_tensors(trt, engine, network: str) -> None:
    """Raise EngineUnavailable unless inputs and outputs are those of the contract, in FP32."""
    inputs, outputs = {}, {}
    for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
        dtype = engine.get_tensor_dtype(name)
        if dtype != trt.DataType.FLOAT:
            raise EngineUnavailable(f'engine of {network}: {name} is {dtype}, expected FLOAT')
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        shape = (axis if axis >= 0 else None for axis in engine.get_tensor_shape(name))
        (inputs if is_input else outputs)[name] = tuple(shape)
    try:
        NETWORKS[network].check(network, inputs, outputs)
    except ValueError as error:
        raise EngineUnavailable(f'engine of {error}') from error
