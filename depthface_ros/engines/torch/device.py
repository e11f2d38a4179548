# SPDX-License-Identifier: Apache-2.0
"""A PyTorch device that runs an estimator: images are uploaded, faces downloaded."""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.torch.stage import Image, Stage, inference

GRAPHS_KEPT = 64  # stages: one per function, image size, camera and number of faces


class TorchDevice:
    """Base of the engines with stages on tensors; see `DeviceEngine`."""

    def __init__(self, device: str = 'cuda'):
        """Choose a device; 'cpu' runs the same code without a GPU, for tests.

        :raises EngineUnavailable: PyTorch can use no GPU; the message gives the reason.
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
        """Return an array as a tensor that stays on the device."""
        return torch.tensor(array, device=self.device)

    def upload(self, depth: np.ndarray):
        """Return a depth image as float32 metres on the device.

        The tensor is overwritten by the next image of its size and type.
        """
        key = depth.shape, depth.dtype
        with self._lock, inference():
            if key not in self._images:
                self._images[key] = Image(*key, self.device)
            return self._images[key].upload(depth)

    def compute(self, function: Callable, fixed: tuple,
                arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Return `function(*fixed, *arrays)`, run on tensors on the device.

        On a GPU the first call with these fixed arguments and shapes records a CUDA graph.

        :param function: returns a tuple of float32 tensors; its control flow depends on shapes
            only.
        :param fixed: hashable, as the tensors of :meth:`upload` and :meth:`constant` are.
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
    """Raise EngineUnavailable with the reason unless PyTorch can use a GPU."""
    if torch.version.cuda is None:
        raise EngineUnavailable(f'PyTorch {torch.__version__} is a build without CUDA; '
                                'pytorch.org lists those with it')
    if not torch.cuda.is_available():
        raise EngineUnavailable(f'PyTorch {torch.__version__} for CUDA {torch.version.cuda} finds '
                                'no GPU that it can use; does nvidia-smi?')
