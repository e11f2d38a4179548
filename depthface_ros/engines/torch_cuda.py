# SPDX-License-Identifier: Apache-2.0
"""The networks on an NVIDIA GPU by PyTorch, each as one CUDA graph per batch size."""
from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.half_precision import half_precision

PRECISIONS = ('fp32', 'fp16')
WARM_UP = 3  # runs before a capture: the first ones choose algorithms and allocate
_log = logging.getLogger(__name__)


class TorchCuda:
    """All networks of a models folder as PyTorch functions, their weights on the GPU.

    Arrays in may be numpy's or tensors on the device; arrays out are of the same kind.
    """

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
            import onnx
            import torch

            from depthface_ros.engines.onnx_torch import OnnxFunction
        except ImportError as error:
            raise EngineUnavailable(f'{error}; pip install torch onnx') from error
        if device == 'cuda':
            _check_cuda(torch)
        self.device = torch.device(device)
        self.description = f'PyTorch {torch.__version__}, {precision}, ' + (
            torch.cuda.get_device_name() if device == 'cuda' else 'CPU')
        self._torch, self._functions = torch, {}
        self._graphs: dict[tuple, _Graph] = {}
        self._lock = threading.Lock()  # a graph has one set of buffers
        for network, contract in NETWORKS.items():
            file = Path(models_folder) / f'{network}.onnx'
            if not file.is_file():
                raise EngineUnavailable(f'{file} is missing')
            try:
                model = half_precision(file) if precision == 'fp16' else onnx.load(str(file))
                function = OnnxFunction(model, self.device)
            except Exception as error:  # protobuf's exceptions share no base class
                raise EngineUnavailable(f'{file} does not load: {error}') from error
            contract.check(network, function.inputs, function.outputs)
            self._functions[network] = function

    def run(self, network: str, array) -> dict:
        """Outputs by name, each (B, ...) float32, for an input (B, ...) float32.

        :raises RuntimeError: PyTorch could not run it.
        """
        torch = self._torch
        # TF32 has 10 bits: a tenth of a degree would be gone
        exact = torch.backends.cudnn.flags(allow_tf32=False)
        with torch.inference_mode(), exact, self._lock:
            x = torch.as_tensor(array, device=self.device)
            outputs = self._call(network, x)
            if isinstance(array, np.ndarray):
                return {name: value.cpu().numpy() for name, value in outputs.items()}
            return outputs

    def _call(self, network: str, x) -> dict:
        function = self._functions[network]
        if self.device.type != 'cuda':
            return function(x)
        key = network, tuple(x.shape)
        if key not in self._graphs:
            self._graphs[key] = _Graph(self._torch, function, x, network)
        return self._graphs[key](x)


def _check_cuda(torch) -> None:
    """Raise EngineUnavailable, with the reason, unless PyTorch can use a GPU."""
    if torch.version.cuda is None:
        raise EngineUnavailable(f'PyTorch {torch.__version__} is a build without CUDA; '
                                'pytorch.org tells which to install')
    if not torch.cuda.is_available():
        raise EngineUnavailable(f'PyTorch {torch.__version__} for CUDA {torch.version.cuda} finds '
                                'no GPU that it can use; does nvidia-smi?')


class _Graph:
    """A function of one tensor as a CUDA graph: one launch for all its kernels."""

    def __init__(self, torch, function, x, what: str):
        self._function, self._graph, self._input = function, None, x.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(self._input)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                # thread_local: other threads of a node may call CUDA meanwhile
                with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
                    self._outputs = function(self._input)
                self._graph = graph
            except RuntimeError as error:
                _log.warning('%s, input %s: no CUDA graph, so it takes a little longer: %s',
                             what, tuple(x.shape), error)
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, x) -> dict:
        if self._graph is None:
            return self._function(x)
        self._input.copy_(x)
        self._graph.replay()
        # copies, for the next replay overwrites them
        return {name: value.clone() for name, value in self._outputs.items()}
