# SPDX-License-Identifier: Apache-2.0
"""Networks, and the array code between them, on an NVIDIA GPU by PyTorch and CUDA graphs."""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.half_precision import half_precision
from depthface_ros.engines.onnx_file import read_onnx

if TYPE_CHECKING:
    from depthface_ros.engines.torch_stage import Image, Stage

PRECISIONS = ('fp32', 'fp16')
GRAPHS_KEPT = 64  # of stages: one per image size, camera and number of faces


class TorchCuda:
    """All networks of a models folder as PyTorch functions, their weights on the GPU."""

    name = 'cuda'

    def __init__(self, models_folder: Path, precision: str = 'fp32', device: str = 'cuda'):
        """Load the networks.

        :param precision: 'fp32' computes without TF32; 'fp16' convolves in half precision.
        :param device: 'cpu' runs the same code without a GPU, slowly: the tests do.
        :raises EngineUnavailable: no GPU, a missing package, or a file that cannot be read.
        """
        if precision not in PRECISIONS:
            raise ValueError(f'precision {precision!r}: expected one of {PRECISIONS}')
        try:
            import onnx  # noqa: F401 (what reads the files)
            import torch

            from depthface_ros.engines.onnx_torch import OnnxFunction
        except ImportError as error:
            raise EngineUnavailable(f'{error}; pip install torch onnx') from error
        if device == 'cuda':
            _check_cuda(torch)
        self.device = torch.device(device)
        self.description = f'PyTorch {torch.__version__}, {precision}, ' + (
            torch.cuda.get_device_name() if device == 'cuda' else 'CPU')
        self._torch, self._networks = torch, {}
        self._images: dict[tuple, Image] = {}
        self._stages: OrderedDict[tuple, Stage] = OrderedDict()
        self._lock = threading.Lock()  # stages have one set of buffers each
        for network, contract in NETWORKS.items():
            file = Path(models_folder) / f'{network}.onnx'
            if not file.is_file():
                raise EngineUnavailable(f'{file} is missing')
            try:
                model = (half_precision if precision == 'fp16' else read_onnx)(file)
                function = OnnxFunction(model, self.device)
            except Exception as error:  # protobuf's exceptions share no base class
                raise EngineUnavailable(f'{file} does not load: {error}') from error
            contract.check(network, function.inputs, function.outputs)
            self._networks[network] = function

    def run(self, network: str, array) -> dict:
        """Outputs by name, each (B, ...) float32, for an input (B, ...) float32.

        A tensor on the device gives tensors there, as stages want them; numpy gives numpy.

        :raises RuntimeError: PyTorch could not run it.
        """
        function = self._networks[network]
        if not isinstance(array, np.ndarray):
            return function(array)
        return dict(zip(function.outputs, self.compute(function.in_order, (), (array,))))

    def constant(self, array: np.ndarray):
        """An array as a tensor that stays on the device."""
        return self._torch.tensor(array, device=self.device)

    def upload(self, depth: np.ndarray):
        """A depth image as float32 metres on the device, until the next of its size and type."""
        from depthface_ros.engines.torch_stage import Image, inference
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
        from depthface_ros.engines.torch_stage import Stage, inference
        key = function, fixed, tuple(array.shape for array in arrays)
        with self._lock, inference():
            if key not in self._stages:
                self._stages[key] = Stage(partial(function, *fixed), arrays, self.device,
                                          f'{function.__qualname__} of {key[2]}')
                if len(self._stages) > GRAPHS_KEPT:
                    self._stages.popitem(last=False)
            self._stages.move_to_end(key)
            return self._stages[key](*arrays)


def _check_cuda(torch) -> None:
    """Raise EngineUnavailable, with the reason, unless PyTorch can use a GPU."""
    if torch.version.cuda is None:
        raise EngineUnavailable(f'PyTorch {torch.__version__} is a build without CUDA; '
                                'pytorch.org tells which to install')
    if not torch.cuda.is_available():
        raise EngineUnavailable(f'PyTorch {torch.__version__} for CUDA {torch.version.cuda} finds '
                                'no GPU that it can use; does nvidia-smi?')
