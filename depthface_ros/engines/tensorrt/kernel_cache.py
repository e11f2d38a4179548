# SPDX-License-Identifier: Apache-2.0
"""Execution contexts, and the kernels that TensorRT for RTX compiles for them on first use."""
from __future__ import annotations

import logging
from pathlib import Path

from depthface_ros.engines.tensorrt.trusted_files import read_trusted, write_whole

_log = logging.getLogger(__name__)


class KernelCache:
    """Makes contexts of one engine, and keeps their kernels in a file for the next start.

    With the other TensorRTs, whose plans hold the kernels, it only makes contexts.
    """

    def __init__(self, trt, engine, file: Path | None):
        """Load the kernels of earlier starts; without a file none are kept.

        :raises EngineUnavailable: another user could have written the file.
        """
        self._trt, self._engine, self._file = trt, engine, file
        if not hasattr(trt, 'IRuntimeCache'):
            return
        self._runtime_config = runtime_config = engine.create_runtime_config()
        # a CUDA graph keeps the kernels of its capture: the final ones must be there by then
        runtime_config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER)
        self._runtime_cache = runtime_cache = runtime_config.create_runtime_cache()
        self._stored = (read_trusted(file) if file else None) or b''
        if self._stored and not runtime_cache.deserialize(self._stored):
            _log.info('%s is of another GPU or driver: kernels are compiled again', file)
        runtime_config.set_runtime_cache(runtime_cache)

    def new_context(self):
        """Make an execution context, or return None if TensorRT cannot."""
        if hasattr(self._trt, 'IRuntimeCache'):
            return self._engine.create_execution_context(self._runtime_config)
        return self._engine.create_execution_context()

    def save(self) -> None:
        """Write the kernels if there are new ones; call it after an input of a new shape."""
        if self._file is None or not hasattr(self._trt, 'IRuntimeCache'):
            return
        kernels = bytes(self._runtime_cache.serialize())
        if kernels != self._stored:
            self._stored = kernels
            try:
                write_whole(self._file, kernels)
            except OSError as error:
                _log.warning('kernels are not kept, the next start compiles them again: %s', error)
