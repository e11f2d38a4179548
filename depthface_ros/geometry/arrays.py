# SPDX-License-Identifier: Apache-2.0
"""One namespace for numpy and torch: that of the array API standard."""
from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

device_of = array_api_compat.device
_OF_KIND: dict[type, Any] = {}


def namespace(array: Any) -> Any:
    """Return the array API namespace of an array, cached by type.

    numpy from 2.1 on is its own: wrappers would double the time for the small arrays of a face.
    """
    kind = type(array)
    found = _OF_KIND.get(kind)
    if found is None:
        found = array_api_compat.array_namespace(array)
        if kind is np.ndarray and hasattr(np, 'astype'):
            found = np
        _OF_KIND[kind] = found
    return found
