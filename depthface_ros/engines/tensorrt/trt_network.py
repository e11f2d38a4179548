# SPDX-License-Identifier: Apache-2.0
"""One network as a TensorRT engine with its memory, contexts and CUDA graphs."""
from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt.api import construct, take_errors
from depthface_ros.engines.tensorrt.cuda_runtime import Staging, Stream
from depthface_ros.engines.tensorrt.kernel_cache import KernelCache

_log = logging.getLogger(__name__)


class TensorRtNetwork:
    """Runs a plan: per shape of input a context and, where possible, a CUDA graph."""

    def __init__(self, trt, logger, stream: Stream, network: str, plan: bytes,
                 kernels: Path | None):
        """Load a plan.

        :param kernels: file for the kernels that are compiled here; see :class:`KernelCache`.
        :raises EngineUnavailable: TensorRT refuses it; the message holds its reasons.
        """
        self._logger, self._stream, self._network = logger, stream, network
        self._contract = NETWORKS[network]
        self._runtime = construct(trt.Runtime, logger)  # engines need it alive
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineUnavailable(f'TensorRT does not load the engine of {network}: '
                                    f'{take_errors(logger)}')
        self._kernels = KernelCache(trt, engine, kernels)
        self._contexts = []  # graphs need their contexts alive
        largest = self._contract.input_range[1]
        sizes = {self._contract.input_name: largest, **self._output_shapes(self._context(largest))}
        self._memory = {name: Staging(stream, 4 * math.prod(shape))
                        for name, shape in sizes.items()}
        self._addresses = {name: memory.address for name, memory in self._memory.items()}
        self._launches: dict[tuple[int, ...], tuple[Callable[[], None], dict]] = {}
        self._on_caller_memory: dict[tuple[int, ...], object] = {}  # contexts by input shape

    def __call__(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for an input; both on the host, in float32."""
        if array.shape not in self._launches:
            self._launches[array.shape] = self._prepare(array.shape)
        launch, outputs = self._launches[array.shape]
        self._memory[self._contract.input_name].host(array.shape)[:] = array
        launch()
        self._stream.synchronize()
        return {name: self._memory[name].host(shape).copy() for name, shape in outputs.items()}

    def _prepare(self, shape: tuple[int, ...]) -> tuple[Callable[[], None], dict]:
        """Return a function that runs an input of this shape, and the shapes of its outputs."""
        context = self._used_context(shape)
        outputs = self._output_shapes(context)

        def enqueue() -> None:
            self._memory[self._contract.input_name].upload(shape)
            self._execute(context, shape, self._addresses, self._stream.address)
            for name, output_shape in outputs.items():
                self._memory[name].download(output_shape)

        try:
            return self._stream.capture(enqueue), outputs
        except RuntimeError as error:
            _log.warning('%s, input %s: no CUDA graph, so each launch takes a little longer: %s',
                         self._network, shape, error)
            return enqueue, outputs

    def output_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes by name of what :meth:`enqueue` writes for an input of this shape."""
        if shape not in self._on_caller_memory:
            self._on_caller_memory[shape] = self._used_context(shape)
        return self._output_shapes(self._on_caller_memory[shape])

    def enqueue(self, shape: tuple[int, ...], source: int, targets: dict[str, int],
                stream: int) -> None:
        """Put the network onto a CUDA stream, from and to a caller's memory on the GPU.

        Call :meth:`output_shapes` for this shape first.

        :param source: address of the input.
        :param targets: addresses of the outputs by name.
        :raises RuntimeError: TensorRT refuses.
        """
        self._execute(self._on_caller_memory[shape], shape,
                      {self._contract.input_name: source, **targets}, stream)

    def _execute(self, context, shape, addresses: dict[str, int], stream: int) -> None:
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                self._fail(f'does not take the memory for {name}')
        if not context.execute_async_v3(stream):
            self._fail(f'did not run an input of {shape}')

    def _used_context(self, shape: tuple[int, ...]):
        """Make a context that ran once: the first run does what a CUDA graph cannot hold."""
        context = self._context(shape)
        self._execute(context, shape, self._addresses, self._stream.address)
        self._stream.synchronize()
        self._kernels.save()
        return context

    def _context(self, shape: tuple[int, ...]):
        context = self._kernels.new_context()
        if context is None:
            self._fail('has no execution context')
        self._contexts.append(context)
        if not context.set_input_shape(self._contract.input_name, shape):
            self._fail(f'does not take an input of {shape}')
        missing = context.infer_shapes()
        if missing:
            self._fail(f'cannot compute its shapes without {", ".join(missing)}')
        return context

    def _output_shapes(self, context) -> dict[str, tuple[int, ...]]:
        return {name: tuple(context.get_tensor_shape(name)) for name in self._contract.outputs}

    def _fail(self, what: str):
        raise RuntimeError(f'TensorRT engine of {self._network} {what}: '
                           f'{take_errors(self._logger)}')
