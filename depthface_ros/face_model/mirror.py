# SPDX-License-Identifier: Apache-2.0
"""Mirror images of faces: convert crops, and map predictions back to the original faces."""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from depthface_ros.estimation.alignment import face_modes
from depthface_ros.face_model.mesh import FaceModel
from depthface_ros.geometry.arrays import device_of, namespace

SIGNS = (1., -1., 1.)  # in the face frame, whose y points to the person's left
TWIST = (-1., 1., -1., *SIGNS)  # rotation vectors and translations


def mirrored_crops(crops):
    """Return crops (N, 4, S, S) of the mirrored faces: columns reversed, sign of y changed."""
    xp = namespace(crops)
    return xp.flip(crops, axis=3) * _tables(xp, device_of(crops)).points


def mirrored_shape(shape: dict) -> dict:
    """Return the shapes of faces from the predictions for their mirror images.

    :param shape: offsets (N, V, 3), expression (N, 52) and residual (N, 6), rotation vector and
        translation; numpy or torch.
    """
    residual = shape['residual']
    twist = _tables(namespace(residual), device_of(residual)).twist
    return {'offsets': mirrored_offsets(shape['offsets']),
            'expression': mirrored_expression(shape['expression']), 'residual': residual * twist}


def mirrored_offsets(offsets):
    """Return vertex offsets (N, V, 3), face frame, for the mirrored faces."""
    xp = namespace(offsets)
    tables = _tables(xp, device_of(offsets))
    return xp.take(offsets, tables.vertices, axis=1) * tables.offsets


def mirrored_expression(expression):
    """Return expressions (N, 52), or values per expression, for the mirrored faces."""
    xp = namespace(expression)
    return xp.take(expression, _tables(xp, device_of(expression)).expressions, axis=1)


def mirrored_corrections() -> np.ndarray:
    """Return the signs (6 + K,) float32 that mirror a pose and the modes of shape.

    The modes are fitted to faces and to their mirror images. Each mode is therefore symmetric or
    antisymmetric.
    """
    modes = face_modes()
    alike = (modes * mirrored_offsets(modes)).sum(axis=(1, 2))
    return np.concatenate([np.float32(TWIST), np.sign(alike)])


class _Tables(NamedTuple):
    """Factors and indices that mirror arrays."""

    points: object  # (4, 1, 1) of a crop
    offsets: object  # (3,)
    twist: object  # (6,)
    vertices: object  # (V,) index of the mirrored vertex
    expressions: object  # (52,)


@lru_cache(maxsize=8)
def _tables(xp, device) -> _Tables:
    model = FaceModel.load()
    points, offsets, twist = (xp.asarray(signs, dtype=xp.float32, device=device) for signs in (
        (*SIGNS, 1.), SIGNS, TWIST))
    vertices, expressions = (xp.asarray(index.tolist(), dtype=xp.int64, device=device)
                             for index in (model.mirror, model.expression_mirror))
    return _Tables(points[:, None, None], offsets, twist, vertices, expressions)
