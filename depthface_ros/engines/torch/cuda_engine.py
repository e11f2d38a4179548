# SPDX-License-Identifier: Apache-2.0
"""Networks, and the array code between them, on an NVIDIA GPU by PyTorch and CUDA graphs."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.model_file import load_model
from depthface_ros.engines.torch.device import TorchDevice
from depthface_ros.engines.torch.onnx_module import OnnxFunction


class TorchCuda(TorchDevice):
    """All networks of a models folder as PyTorch functions, their weights on the GPU."""

    name = 'cuda'

    def __init__(self, models_folder: Path, precision: str = 'fp32', device: str = 'cuda'):
        """Load the networks.

        :param precision: 'fp32' computes without TF32; 'fp16' convolves in half precision.
        :param device: see :class:`TorchDevice`.
        :raises EngineUnavailable: no GPU, a missing package, or a missing or broken file.
        :raises ValueError: inputs or outputs of a file are not those of the contract.
        """
        super().__init__(device)
        self.description = f'{precision}, {self.device_description}'
        self._networks = {}
        for network in NETWORKS:
            model = load_model(models_folder, network, precision == 'fp16')
            try:
                self._networks[network] = OnnxFunction(model, self.device)
            except ValueError as error:
                raise EngineUnavailable(f'network {network}: {error}') from error

    def run(self, network: str, array) -> dict:
        """Return the outputs by name, (B, ...) float32, for an input (B, ...) float32.

        A tensor on the device gives tensors there, for use in stages; numpy gives numpy.

        :raises RuntimeError: PyTorch could not run it.
        """
        function = self._networks[network]
        if not isinstance(array, np.ndarray):
            return function(array)
        return dict(zip(function.outputs, self.compute(function.in_order, (), (array,))))
