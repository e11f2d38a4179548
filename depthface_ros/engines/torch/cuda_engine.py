# SPDX-License-Identifier: Apache-2.0
"""Networks, and the array code between them, on an NVIDIA GPU by PyTorch and CUDA graphs."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.onnx_file import read_onnx
from depthface_ros.engines.torch.device import TorchDevice
from depthface_ros.engines.torch.half_precision import half_precision
from depthface_ros.engines.torch.onnx_module import OnnxFunction

PRECISIONS = ('fp32', 'fp16')


class TorchCuda(TorchDevice):
    """All networks of a models folder as PyTorch functions, their weights on the GPU."""

    name = 'cuda'

    def __init__(self, models_folder: Path, precision: str = 'fp32', device: str = 'cuda'):
        """Load the networks.

        :param precision: 'fp32' computes without TF32; 'fp16' convolves in half precision.
        :param device: see :class:`TorchDevice`.
        :raises EngineUnavailable: no GPU, a missing package, or a file that cannot be read.
        """
        if precision not in PRECISIONS:
            raise ValueError(f'precision {precision!r}: expected one of {PRECISIONS}')
        super().__init__(device)
        self.description = f'{precision}, {self.device_description}'
        self._networks = {}
        for network, contract in NETWORKS.items():
            file = Path(models_folder) / f'{network}.onnx'
            if not file.is_file():
                raise EngineUnavailable(f'{file} is missing')
            try:
                model = (half_precision if precision == 'fp16' else read_onnx)(file)
                function = OnnxFunction(model, self.device)
            except ImportError as error:
                raise EngineUnavailable(f'{error}; pip install onnx') from error
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
