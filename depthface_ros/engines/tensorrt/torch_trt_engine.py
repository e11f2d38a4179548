# SPDX-License-Identifier: Apache-2.0
"""TensorRT's networks between PyTorch's tensors: from the depth image to the faces on the GPU."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt.trt_engine import TensorRt
from depthface_ros.engines.torch.device import TorchDevice


class TensorRtOnTensors(TorchDevice):
    """A TensorRT engine whose stages are PyTorch's; graphs of stages hold its networks, too."""

    name = 'tensorrt'

    def __init__(self, engine: TensorRt, device: str = 'cuda'):
        """Wrap an engine.

        :raises EngineUnavailable: PyTorch can use no GPU; the engine works without it.
        """
        super().__init__(device)
        self._engine = engine
        self.description = f'{engine.description}, stages by {self.device_description}'

    def run(self, network: str, array) -> dict:
        """Run as :meth:`TensorRt.run`; a tensor on the device gives tensors there.

        :raises RuntimeError: TensorRT refused to run it.
        """
        if isinstance(array, np.ndarray):
            return self._engine.run(network, array)
        runner = self._engine.networks[network]
        parts = [self._run(runner, part) for part in array.split(NETWORKS[network].max_batch)]
        return parts[0] if len(parts) == 1 else {
            name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _run(self, runner, tensor: Tensor) -> dict[str, Tensor]:
        tensor, outputs = tensor.contiguous(), {}
        for name, shape in runner.output_shapes(tuple(tensor.shape)).items():
            outputs[name] = torch.empty(shape, device=tensor.device)
        self._enqueue(runner, tensor, outputs)
        return outputs

    def _enqueue(self, runner, tensor: Tensor, outputs: dict[str, Tensor]) -> None:
        addresses = {name: output.data_ptr() for name, output in outputs.items()}
        runner.enqueue(tuple(tensor.shape), tensor.data_ptr(), addresses,
                       torch.cuda.current_stream().cuda_stream)
