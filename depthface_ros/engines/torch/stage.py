# SPDX-License-Identifier: Apache-2.0
"""A function of tensors as one CUDA graph, from numpy arrays to numpy arrays."""
from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from depthface_ros.geometry.camera import depth_in_metres

WARM_UP = 3  # calls before a capture: the first ones select algorithms and fill caches
_log = logging.getLogger(__name__)


class Staged:
    """A tensor on the device and its pinned twin on the host; copies do not block."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device):
        self.host = torch.empty(shape, dtype=dtype, pin_memory=device.type == 'cuda')
        self.device = torch.empty(shape, dtype=dtype, device=device)

    def upload(self, array: np.ndarray) -> None:
        np.copyto(self.host.numpy(), array)
        self.device.copy_(self.host, non_blocking=True)


class Image:
    """A depth image on the device: uploaded in its own type, converted to metres there."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, device: torch.device):
        self._raw = Staged(shape, getattr(torch, np.dtype(dtype).name), device)
        self._metres = torch.empty(shape, dtype=torch.float32, device=device)

    def upload(self, depth: np.ndarray) -> Tensor:
        """Return (H, W) float32 metres, 0 where nothing was measured; the same tensor each time."""
        self._raw.upload(depth)
        return self._metres.copy_(depth_in_metres(self._raw.device))


class Stage:
    """A function of float32 tensors with inputs and outputs of fixed shapes.

    :param function: returns a tuple of tensors. Its control flow must not depend on values, for a
        graph replays the first run.
    :param arrays: examples of its inputs.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]],
                 arrays: Sequence[np.ndarray], device: torch.device, what: str):
        self._function, self._replay = function, None
        self._inputs = [Staged(array.shape, torch.float32, device) for array in arrays]
        for staged, array in zip(self._inputs, arrays):
            staged.upload(array)
        if device.type == 'cuda':
            self._capture(what)
        found = function(*(staged.device for staged in self._inputs))
        self._shapes = [tuple(tensor.shape) for tensor in found]
        size = sum(map(math.prod, self._shapes))
        self._host = torch.empty(size, pin_memory=device.type == 'cuda')

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        for staged, array in zip(self._inputs, arrays):
            staged.upload(array)
        if self._replay is None:
            output = self._flat()
        else:
            self._replay()
            output = self._output
        self._host.copy_(output, non_blocking=True)
        if output.is_cuda:
            torch.cuda.current_stream().synchronize()
        parts = np.split(self._host.numpy().copy(),
                         np.cumsum([math.prod(shape) for shape in self._shapes])[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(parts, self._shapes))

    def _flat(self) -> Tensor:
        """Return all outputs in one tensor, for one download."""
        found = self._function(*(staged.device for staged in self._inputs))
        return torch.cat([tensor.reshape(-1) for tensor in found])

    def _capture(self, what: str) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._flat()
            stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads of a node may call CUDA meanwhile
            with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
                self._output = self._flat()
            self._replay = graph.replay
        except RuntimeError as error:
            _log.warning('%s: no CUDA graph, so it takes longer: %s', what, error)
        torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def inference():
    """Disable gradients and TF32, whose 10 bits cost a tenth of a degree."""
    with torch.no_grad(), torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield
