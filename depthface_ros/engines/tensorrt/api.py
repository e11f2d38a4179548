# SPDX-License-Identifier: Apache-2.0
"""TensorRT 8.6 to 11 as a module, with a logger that remembers what went wrong."""
from __future__ import annotations

import logging
import re
from collections import deque

from depthface_ros.engines import EngineUnavailable

OLDEST = (8, 6)  # the first with everything that is used here under today's names
_log = logging.getLogger(__name__)


def open_tensorrt():
    """The module `tensorrt`.

    Call :func:`depthface_ros.engines.tensorrt.cuda_runtime.open_cuda` first: without a driver TensorRT ends the
    process as soon as one of its objects is made.

    :raises EngineUnavailable: it is not installed, or too old.
    """
    try:
        import tensorrt as trt
    except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
        raise EngineUnavailable(f'TensorRT does not load: {error}; JetPack brings it, elsewhere '
                                'pip install tensorrt') from error
    if version(trt) < OLDEST:
        raise EngineUnavailable(f'TensorRT {trt.__version__} is too old: expected '
                                f'{".".join(map(str, OLDEST))} or newer')
    return trt


def version(trt) -> tuple[int, ...]:
    """Its version as numbers: (10, 13) of '10.13.3.9.post1'."""
    return tuple(int(part) for part in re.findall(r'\d+', trt.__version__)[:2])


def new_logger(trt):
    """A TensorRT logger: errors and warnings go to Python's logging, and errors are kept.

    TensorRT returns nothing but None or False when something fails; why, it tells its logger.
    Keep it as long as any TensorRT object that it was given to.
    """
    class Logger(trt.ILogger):

        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = deque(maxlen=5)

        def log(self, severity, message):
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
                _log.info('TensorRT: %s', message)  # it will be part of the exception's text
            elif severity == trt.ILogger.Severity.WARNING:
                _log.info('TensorRT warns: %s', message)

    return Logger()


def why(logger) -> str:
    """The last errors that TensorRT told its logger, which are forgotten then."""
    errors = '; '.join(logger.errors)
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
