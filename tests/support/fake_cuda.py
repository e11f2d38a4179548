# SPDX-License-Identifier: Apache-2.0
"""A CUDA runtime without a GPU: strict, and asynchronous as the real one.

Work on a stream happens when the stream is synchronised: reading results too early fails. Wrong
addresses, and names that are not in `cuda.bindings.runtime`, fail as well.
"""
from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace


class cudaError_t(enum.IntEnum):  # noqa: N801 (CUDA's name)
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):  # noqa: N801
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):  # noqa: N801
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class cudaStream_t:  # noqa: N801
    """An object that converts to a number."""

    def __init__(self, address):
        self._address = address

    def __int__(self):
        return self._address


class FakeCuda:
    """Stands in for the module `cuda.bindings.runtime`. `_fail[function]` makes a call fail."""

    cudaError_t, cudaMemcpyKind = cudaError_t, cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking, cudaHostAllocDefault = 1, 0

    def __init__(self, gpu=('Fake Orin', 8, 7), driver=12060):
        self._gpu, self._driver = gpu, driver
        self._fail: dict[str, cudaError_t] = {}
        self._host, self._device, self._streams, self._graphs = {}, {}, {}, {}
        self._captured: list | None = None
        self._launches = 0

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        if name.startswith('cuda') and callable(value) and not isinstance(value, type):
            error = self._fail.get(name)
            if error is not None:
                if name == 'cudaStreamEndCapture':
                    self._captured = None  # it ends, with or without a graph
                return lambda *_: (error, None)
        return value

    def cudaGetDeviceCount(self):
        return cudaError_t.cudaSuccess, 1

    def cudaGetErrorString(self, error):
        return cudaError_t.cudaSuccess, f'text of {error.name}'.encode()

    def cudaGetLastError(self):
        return cudaError_t.cudaSuccess,

    def cudaDriverGetVersion(self):
        return cudaError_t.cudaSuccess, self._driver

    def cudaRuntimeGetVersion(self):
        return cudaError_t.cudaSuccess, 12060

    def cudaGetDeviceProperties(self, device):
        return cudaError_t.cudaSuccess, SimpleNamespace(
            name=self._gpu[0].encode(), major=self._gpu[1], minor=self._gpu[2])

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == self.cudaStreamNonBlocking
        handle = cudaStream_t(0x5000 + len(self._streams))
        self._streams[int(handle)] = []
        return cudaError_t.cudaSuccess, handle

    def cudaStreamSynchronize(self, stream):
        if self._captured is not None:
            return cudaError_t.cudaErrorStreamCaptureUnsupported,
        queue, self._streams[int(stream)] = self._streams[int(stream)], []
        for work in queue:
            work()
        return cudaError_t.cudaSuccess,

    def cudaMalloc(self, size):
        return self._allocate(self._device, size)

    def cudaHostAlloc(self, size, flags):
        return self._allocate(self._host, size)

    def _allocate(self, where, size):
        if not size > 0:
            return cudaError_t.cudaErrorInvalidValue, None
        memory = ctypes.create_string_buffer(size)
        where[ctypes.addressof(memory)] = memory
        return cudaError_t.cudaSuccess, ctypes.addressof(memory)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        host, device = self._host, self._device
        up = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
        to, of = (device, host) if up else (host, device)
        if any(size > len(memory.get(address, b'')) for memory, address in
               ((to, target), (of, source))):
            return cudaError_t.cudaErrorInvalidValue,
        self._put(stream, lambda: ctypes.memmove(target, source, size))
        return cudaError_t.cudaSuccess,

    def cudaStreamBeginCapture(self, stream, mode):
        assert mode == cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        assert not self._streams[int(stream)] and self._captured is None
        self._captured = []
        return cudaError_t.cudaSuccess,

    def cudaStreamEndCapture(self, stream):
        captured, self._captured = self._captured, None
        if captured is None:
            return cudaError_t.cudaErrorStreamCaptureInvalidated, None
        return self._new_graph(captured)

    def cudaGraphInstantiateWithFlags(self, graph, flags):
        return self._new_graph(list(self._graphs[graph]))

    def cudaGraphDestroy(self, graph):
        del self._graphs[graph]
        return cudaError_t.cudaSuccess,

    def cudaGraphLaunch(self, graph, stream):
        self._launches += 1
        for work in self._graphs[graph]:
            self._put(stream, work)
        return cudaError_t.cudaSuccess,

    def _new_graph(self, work):
        handle = 0x9000 + id(work)
        self._graphs[handle] = work
        return cudaError_t.cudaSuccess, handle

    def _put(self, stream, work) -> None:
        """Queue the work of a kernel or copy on a stream, or in the graph that is captured."""
        (self._streams[int(stream)] if self._captured is None else self._captured).append(work)

    def _at(self, address, size) -> memoryview:
        """Return the GPU's memory at an address."""
        return memoryview(self._device[address]).cast('B')[:size]
