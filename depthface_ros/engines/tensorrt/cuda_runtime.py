# SPDX-License-Identifier: Apache-2.0
"""The calls of the CUDA runtime that TensorRT needs around it: streams, memory and graphs.

They go through `cuda.bindings` of NVIDIA, which needs no toolkit. Every status is checked.
"""
from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthface_ros.engines import EngineUnavailable


class CudaError(RuntimeError):
    """A CUDA call failed; the message names the call and the reason."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that runs the engines: CUDA's first."""

    name: str
    compute_capability: str
    driver: str  # the newest CUDA that the driver supports
    runtime: str


def open_cuda():
    """Import the CUDA runtime, and check that it works here.

    :raises EngineUnavailable: no bindings, no driver, one too old, or no GPU.
    """
    try:
        from cuda.bindings import runtime  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise EngineUnavailable(f'{error}; pip install "cuda-bindings==12.*" (or 13.*, as '
                                'TensorRT\'s CUDA)') from error
    status, count = runtime.cudaGetDeviceCount()
    if status != runtime.cudaError_t.cudaSuccess:
        newest = runtime.cudaDriverGetVersion()[1]  # 0 without a driver
        raise EngineUnavailable(
            f'CUDA {_version(runtime.cudaRuntimeGetVersion()[1])} does not start: '
            f'{_explain(runtime, status)}; ' + (f'the driver supports CUDA {_version(newest)}'
                                                if newest else 'there is no NVIDIA driver'))
    if not count:
        raise EngineUnavailable('CUDA works, but shows no GPU')
    return runtime


def describe_gpu(runtime) -> Gpu:
    """Return name and versions of the GPU.

    :raises CudaError: CUDA does not answer.
    """
    properties = check(runtime, 'cudaGetDeviceProperties', 0)
    return Gpu(properties.name.decode().rstrip('\0'), f'{properties.major}.{properties.minor}',
               _version(check(runtime, 'cudaDriverGetVersion')),
               _version(check(runtime, 'cudaRuntimeGetVersion')))


def check(runtime, function: str, *arguments) -> Any:
    """Call a function of the CUDA runtime; return its result without the status.

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
    """Return a version as text: '12.6' of 12060."""
    return f'{number // 1000}.{number % 1000 // 10}'


class Stream:
    """A CUDA stream; on the default one TensorRT would wait for all others."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.handle = check(runtime, 'cudaStreamCreateWithFlags', runtime.cudaStreamNonBlocking)
        self.address = int(self.handle)  # for others than `cuda.bindings`

    def synchronize(self) -> None:
        """Wait until the work on this stream is done."""
        check(self.runtime, 'cudaStreamSynchronize', self.handle)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record the work that `enqueue` puts on this stream; return a function that repeats it.

        Errors of `enqueue` pass through. The stream stays usable after any error.

        :raises CudaError: some of the work cannot be recorded.
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
            self.runtime.cudaGetLastError()  # clear the error: the next call would report it again
            raise
        check(self.runtime, 'cudaGraphDestroy', graph)
        return lambda: check(self.runtime, 'cudaGraphLaunch', launchable, self.handle)


class Staging:
    """A buffer twice: pinned on the host, as a numpy array, and on the GPU at `address`.

    Both live until the process ends, as engines do.
    """

    def __init__(self, stream: Stream, size: int):
        """Allocate `size` bytes on either side."""
        self._stream, runtime = stream, stream.runtime
        self.address = int(check(runtime, 'cudaMalloc', size))
        self._pinned = int(check(runtime, 'cudaHostAlloc', size, runtime.cudaHostAllocDefault))
        self._memory = (ctypes.c_byte * size).from_address(self._pinned)

    def host(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the host's buffer as a float32 array, to write before an upload or to read."""
        return np.frombuffer(memoryview(self._memory), np.float32, math.prod(shape)).reshape(shape)

    def upload(self, shape: tuple[int, ...]) -> None:
        """Enqueue the copy of an array of this shape to the GPU."""
        kind = self._stream.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.address, self._pinned, shape, kind)

    def download(self, shape: tuple[int, ...]) -> None:
        """Enqueue the copy back to the host; complete once the stream is synchronised."""
        kind = self._stream.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._pinned, self.address, shape, kind)

    def _copy(self, target: int, source: int, shape: tuple[int, ...], kind) -> None:
        check(self._stream.runtime, 'cudaMemcpyAsync', target, source, self.host(shape).nbytes,
              kind, self._stream.handle)
