# SPDX-License-Identifier: Apache-2.0
"""The networks on an NVIDIA GPU, by TensorRT or TensorRT for RTX."""
from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from depthface_ros.engines import EngineUnavailable
from depthface_ros.engines.contract import NETWORKS
from depthface_ros.engines.tensorrt.api import builds_ahead, describe, new_logger, open_tensorrt
from depthface_ros.engines.tensorrt.cuda_runtime import CudaError, Stream, describe_gpu, open_cuda
from depthface_ros.engines.tensorrt.plans import Plans
from depthface_ros.engines.tensorrt.trt_network import TensorRtNetwork
from depthface_ros.engines.tensorrt.trusted_files import cache_folder

_log = logging.getLogger(__name__)


class TensorRt:
    """All networks of a models folder as TensorRT engines; arrays in and out are numpy's."""

    name = 'tensorrt'

    def __init__(self, models_folder: Path, precision: str = 'fp16', build: bool = True,
                 report: Callable[[str], None] = _log.warning):
        """Load the engines; build those that are missing or stale.

        :param build: whether builds of minutes are allowed; TensorRT for RTX takes a second.
        :param report: called with what is built, the reason, and the time it took.
        :raises EngineUnavailable: the message gives the reason.
        """
        try:
            cuda = open_cuda()  # before any TensorRT object: see open_tensorrt
            trt = open_tensorrt()
            logger, gpu = new_logger(trt), describe_gpu(cuda)
            self.description = (f'{describe(trt)}, {precision}, {gpu.name} (compute '
                                f'{gpu.compute_capability}, driver for CUDA {gpu.driver}, '
                                f'runtime {gpu.runtime})')
            plans = Plans(trt, logger, models_folder, precision, report)
            loaded = {network: plans.for_gpu(network, gpu, build or builds_ahead(trt))
                      for network in NETWORKS}
            folder = _kernel_folder(gpu.name, report) if builds_ahead(trt) else None
            stream = Stream(cuda)
            self.networks = {
                network: TensorRtNetwork(trt, logger, stream, network, plan,
                                         folder and folder / f'{network}.{precision}.kernels')
                for network, plan in loaded.items()}
        except CudaError as error:
            raise EngineUnavailable(str(error)) from error
        self._lock = threading.Lock()  # contexts and the stream are for one thread at a time

    def run(self, network: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name, (B, ...) float32, for an input (B, ...) float32.

        :raises RuntimeError: TensorRT or CUDA refused to run it.
        """
        runner, size = self.networks[network], NETWORKS[network].max_batch
        with self._lock:
            parts = [runner(array[i:i + size]) for i in range(0, len(array), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kernel_folder(gpu: str, report: Callable[[str], None]) -> Path | None:
    """Return the folder of compiled kernels; None if there can be none, as on a read-only disk."""
    try:
        return cache_folder(gpu)
    except EngineUnavailable as error:
        report(f'kernels are compiled at every start: {error}')
        return None
