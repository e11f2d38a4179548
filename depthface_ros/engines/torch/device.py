# SPDX-License-Identifier: Apache-2.0
"""A device of PyTorch's on which an estimator computes: images up, stages there, faces down."""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.torch.stage import Image, Stage, inference

GRAPHS_KEPT = 64  # of stages: one per image size, camera and number of faces


class TorchDevice:
    """What engines share whose stages run on tensors: see `DeviceEngine`."""

    def __init__(self, device: str = 'cuda'):
        """Use a device; 'cpu' runs the same code without a GPU, slowly: the tests do.

        :raises EngineUnavailable: PyTorch can use no GPU; the message says why.
        """
        if device == 'cuda':
            _check_cuda()
        self.device = torch.device(device)
        self.device_description = f'PyTorch {torch.__version__} on ' + (
            torch.cuda.get_device_name() if device == 'cuda' else 'the CPU')
        self._images: dict[tuple, Image] = {}
        self._stages: OrderedDict[tuple, Stage] = OrderedDict()
        self._lock = threading.Lock()  # stages have one set of buffers each

    def constant(self, array: np.ndarray):
        """An array as a tensor that stays on the device."""
        return torch.tensor(array, device=self.device)

    def upload(self, depth: np.ndarray):
        """A depth image as float32 metres on the device, until the next of its size and type."""
        key = depth.shape, depth.dtype
        with self._lock, inference():
            if key not in self._images:
                self._images[key] = Image(*key, self.device)
            return self._images[key].upload(depth)

    def compute(self, function: Callable, fixed: tuple,
                arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """`function(*fixed, *arrays)` on the device, where its arguments and results are tensors.

        On a GPU it becomes a CUDA graph when it is first called with these fixed arguments and
        arrays of these shapes.

        :param function: gives a tuple of float32 tensors; what it does depends on shapes only.
        :param fixed: hashable; tensors of :meth:`upload` and :meth:`constant` are.
        :raises RuntimeError: PyTorch could not run it.
        """
        key = function, fixed, tuple(array.shape for array in arrays)
        with self._lock, inference():
            if key not in self._stages:
                self._stages[key] = Stage(partial(function, *fixed), arrays, self.device,
                                          f'{function.__qualname__} of {key[2]}')
                if len(self._stages) > GRAPHS_KEPT:
                    self._stages.popitem(last=False)
            self._stages.move_to_end(key)
            return self._stages[key](*arrays)


def _check_cuda() -> None:
    """Raise EngineUnavailable, with the reason, unless PyTorch can use a GPU."""
    if torch.version.cuda is None:
        raise EngineUnavailable(f'PyTorch {torch.__version__} is a build without CUDA; '
                                'pytorch.org tells which to install')
    if not torch.cuda.is_available():
        raise EngineUnavailable(f'PyTorch {torch.__version__} for CUDA {torch.version.cuda} finds '
                                'no GPU that it can use; does nvidia-smi?')
