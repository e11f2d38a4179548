# SPDX-License-Identifier: Apache-2.0
"""The functions of numpy or torch under one name each: those of the array API standard."""
from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

device_of = array_api_compat.device
_OF_KIND: dict[type, Any] = {}


def namespace(array: Any) -> Any:
    """What `array_api_compat.array_namespace` gives for an array, which takes long to find it.

    numpy from 2.1 on is its own: wrappers would be half of the work for the few numbers of a face.
    """
    kind = type(array)
    found = _OF_KIND.get(kind)
    if found is None:
        found = array_api_compat.array_namespace(array)
        if kind is np.ndarray and hasattr(np, 'astype'):
            found = np
        _OF_KIND[kind] = found
    return found
