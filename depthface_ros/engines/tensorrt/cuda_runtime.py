# SPDX-License-Identifier: Apache-2.0
"""The few calls of the CUDA runtime that TensorRT needs around it: streams, memory and graphs.

By `cuda.bindings`, NVIDIA's own and small; no toolkit and no PyTorch. Every status is checked.
"""
from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthface_ros.engines import EngineUnavailable


class CudaError(RuntimeError):
    """A CUDA call failed; the message names it and says why."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that engines are built for and run on: the first that CUDA shows."""

    name: str
    compute_capability: str
    driver: str  # the newest CUDA that the driver supports
    runtime: str


def open_cuda():
    """The CUDA runtime's module, when it works here.

    :raises EngineUnavailable: no bindings, no driver, one too old, or no GPU.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineUnavailable(f'{error}; pip install "cuda-bindings==12.*" (or 13.*, as '
                                'TensorRT\'s CUDA)') from error
    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess:
        raise EngineUnavailable(
            f'CUDA {_version(runtime.cudaRuntimeGetVersion()[1])} does not start: '
            f'{_explain(runtime, status)} (the driver supports CUDA '
            f'{_version(runtime.cudaDriverGetVersion()[1])}; 0.0 means that there is none)')
    if not count:
        raise EngineUnavailable('CUDA works, but shows no GPU')
    return runtime


def describe_gpu(runtime) -> Gpu:
    properties = check(runtime, 'cudaGetDeviceProperties', 0)
    return Gpu(properties.name.decode().rstrip('\0'), f'{properties.major}.{properties.minor}',
               _version(check(runtime, 'cudaDriverGetVersion')),
               _version(check(runtime, 'cudaRuntimeGetVersion')))


def check(runtime, function: str, *arguments):
    """Call a function of the CUDA runtime: what it returns besides its status.

    :raises CudaError: the status is not success.
    """
    status, *results = getattr(runtime, function)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        raise CudaError(f'{function}: {_explain(runtime, status)}')
    return results[0] if results else None


def _explain(runtime, status) -> str:
    _, text = runtime.cudaGetErrorString(status)
    return f'{text.decode()} ({status.name})'


def _version(number: int) -> str:
    """Of a number like 12060, '12.6'."""
    return f'{number // 1000}.{number % 1000 // 10}'


class Stream:
    """A CUDA stream of one's own: the default one would make TensorRT wait for all others."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.handle = check(runtime, 'cudaStreamCreateWithFlags', runtime.cudaStreamNonBlocking)
        self.address = int(self.handle)  # as others than `cuda.bindings` want it

    def synchronize(self) -> None:
        """Wait until everything that was put on this stream is done."""
        check(self.runtime, 'cudaStreamSynchronize', self.handle)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record what `enqueue` puts on this stream; returns a function that does it again.

        :raises CudaError: something in it cannot be recorded. What `enqueue` raises passes
            through; the stream is usable afterwards in either case.
        """
        # Thread-local: other threads of a node may call CUDA meanwhile.
        mode = self.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(self.runtime, 'cudaStreamBeginCapture', self.handle, mode)
        try:
            try:
                enqueue()
            except BaseException:
                self.runtime.cudaStreamEndCapture(self.handle)
                raise
            graph = check(self.runtime, 'cudaStreamEndCapture', self.handle)
            launchable = check(self.runtime, 'cudaGraphInstantiateWithFlags', graph, 0)
        except BaseException:
            self.runtime.cudaGetLastError()  # forget it: the next call would report it again
            raise
        check(self.runtime, 'cudaGraphDestroy', graph)
        return lambda: check(self.runtime, 'cudaGraphLaunch', launchable, self.handle)


class Staging:
    """Memory twice: pinned on the host, where numpy sees it, and on the GPU at `address`.

    Both live until the process ends, as engines do.
    """

    def __init__(self, stream: Stream, size: int):
        """Allocate `size` bytes on either side."""
        self._stream, runtime = stream, stream.runtime
        self.address = int(check(runtime, 'cudaMalloc', size))
        self._pinned = int(check(runtime, 'cudaHostAlloc', size, runtime.cudaHostAllocDefault))
        self._memory = (ctypes.c_byte * size).from_address(self._pinned)

    def host(self, shape: tuple[int, ...]) -> np.ndarray:
        """The host's side as a float32 array; what is written to it is uploaded next."""
        return np.frombuffer(self._memory, np.float32, math.prod(shape)).reshape(shape)

    def upload(self, shape: tuple[int, ...]) -> None:
        """Put the copy of an array of this shape to the GPU onto the stream."""
        kind = self._stream.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.address, self._pinned, shape, kind)

    def download(self, shape: tuple[int, ...]) -> None:
        """As :meth:`upload`, back to the host; there once the stream is synchronised."""
        kind = self._stream.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._pinned, self.address, shape, kind)

    def _copy(self, target: int, source: int, shape: tuple[int, ...], kind) -> None:
        check(self._stream.runtime, 'cudaMemcpyAsync', target, source, self.host(shape).nbytes,
              kind, self._stream.handle)
