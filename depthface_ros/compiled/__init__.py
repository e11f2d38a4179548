# SPDX-License-Identifier: Apache-2.0
"""Loops that Numba compiles for the CPU, where it is installed.

numpy takes some microseconds for each of the hundreds of small arrays of a face: together more than
the networks. Each function here computes what array code does otherwise: on GPUs, and without
Numba. The array code is the definition, and tests compare both.

Numba keeps what it compiled beside the sources, or in the user's cache, and compiles a function
again when its file changes, but not when others do. So constants of other files are arguments.
"""
from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

try:
    import numba
    from numba.core import event

    WHY_NOT = 'NUMBA_DISABLE_JIT is set' if numba.config.DISABLE_JIT else ''  # type: ignore
except Exception as error:  # ImportError, and what packages raise that do not fit together
    WHY_NOT = str(error)
AVAILABLE = not WHY_NOT


def compiled(function: Callable) -> Callable:
    """Compile a function for the types of its first arguments; without Numba, return it."""
    return _compiled(function) if AVAILABLE else function


def compiled_sums(function: Callable) -> Callable:
    """Compile a function whose sums may be added up in any order: vector instructions do."""
    return _compiled(function, fastmath={'reassoc', 'contract', 'nsz'}) if AVAILABLE else function


def takes(array) -> bool:
    """Return whether compiled functions take an array: of numpy, and float32."""
    return AVAILABLE and type(array) is np.ndarray and array.dtype == np.float32


def in_order(array: np.ndarray) -> np.ndarray:
    """Return an array as float32 in C order, which compiled functions take."""
    return np.ascontiguousarray(array, np.float32)


def _compiled(function: Callable, **options) -> Callable:
    options = {'nogil': True, 'error_model': 'numpy'} | options
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for a cache can be written
        return numba.njit(**options)(function)


if AVAILABLE:
    class _Announce(event.Listener):
        """Logs that something is compiled, once."""

        def on_start(self, event_):
            event.unregister('numba:compile', self)
            logging.getLogger(__name__).warning(
                'compiling loops for this processor: up to a minute, once (they are kept in '
                '__pycache__ or ~/.cache)')

        def on_end(self, event_):
            pass

    event.register('numba:compile', _Announce())
