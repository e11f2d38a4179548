# SPDX-License-Identifier: Apache-2.0
"""TensorRT 8.6 to 11 or TensorRT for RTX as one module, and a logger that keeps its errors.

What a version can do is found by the names that it has, never by its number.
"""
from __future__ import annotations

import importlib
import logging
from collections import deque

from depthface_ros.engines import EngineUnavailable

MODULES = ('tensorrt', 'tensorrt_rtx')  # best first
INSTALL = ('JetPack brings TensorRT; for an RTX card: pip install tensorrt-rtx-cu12 onnx '
           '"cuda-bindings==12.*"')
_log = logging.getLogger(__name__)


def open_tensorrt(without_gpu: bool = False):
    """Import the first of :data:`MODULES` that is installed and usable.

    With a GPU, call :func:`depthface_ros.engines.tensorrt.cuda_runtime.open_cuda` first. Without
    a driver, `tensorrt` ends the process as soon as one of its objects is made.

    :param without_gpu: require a module that can build for GPUs that are not here.
    :raises EngineUnavailable: none is usable; the message gives the reason for each.
    """
    reasons = []
    for name in MODULES:
        try:
            trt = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
            reasons.append(str(error))
            continue
        if not hasattr(trt, 'HardwareCompatibilityLevel'):  # came with 8.6
            reasons.append(f'{describe(trt)} is too old: expected 8.6 or newer')
        elif without_gpu and not builds_ahead(trt):
            reasons.append(f'{describe(trt)} builds only for the GPU of its own machine')
        else:
            return trt
    raise EngineUnavailable(f'TensorRT does not load: {"; ".join(reasons)}. {INSTALL}')


def describe(trt) -> str:
    """Return name and version of a module."""
    return f'TensorRT{" for RTX" if builds_ahead(trt) else ""} {trt.__version__}'


def builds_ahead(trt) -> bool:
    """Return whether a module builds in a second, and for any GPU: kernels are compiled later."""
    return hasattr(trt, 'ComputeCapability')


def new_logger(trt):
    """Make a TensorRT logger that passes messages to Python's logging and keeps the errors.

    A TensorRT call that fails returns None or False; the reason goes to the logger only. Keep the
    logger as long as any TensorRT object that it was given to.
    """
    class Logger(trt.ILogger):

        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = deque(maxlen=5)

        def log(self, severity, message):
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
                _log.info('TensorRT: %s', message)  # it becomes part of an exception's text
            elif severity == trt.ILogger.Severity.WARNING:
                _log.info('TensorRT warns: %s', message)

    return Logger()


def take_errors(logger) -> str:
    """Return the errors that a logger keeps as one line, and empty it."""
    errors = '; '.join(' '.join(error.split()) for error in logger.errors)
    logger.errors.clear()
    return errors or 'TensorRT gave no reason'


def construct(factory, *arguments):
    """Make a TensorRT object.

    :raises EngineUnavailable: TensorRT could not; without a GPU it raises TypeError.
    """
    try:
        made = factory(*arguments)
    except TypeError as error:
        raise EngineUnavailable(f'TensorRT does not start: {error}') from error
    if made is None:
        raise EngineUnavailable(f'TensorRT does not start: {factory.__name__} is None')
    return made
