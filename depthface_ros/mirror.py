# SPDX-License-Identifier: Apache-2.0
"""Faces in a mirror: a network that sees one errs otherwise, and what it says can be put back."""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from depthface_ros.arrays import device_of, namespace
from depthface_ros.face_model import FaceModel

SIGNS = (1., -1., 1.)  # in the face frame, whose y points to the person's left
TWIST = (-1., 1., -1., *SIGNS)  # rotation vectors and translations


def mirrored_crops(crops):
    """What crops (N, 4, S, S) of mirrored faces look like: flipped, y to the other side."""
    xp = namespace(crops)
    return xp.flip(crops, axis=3) * _tables(xp, device_of(crops)).points


def mirrored_shape(shape: dict) -> dict:
    """What the shape network should have said of faces, if it was shown their mirror images.

    :param shape: offsets (N, V, 3), expression (N, 52) and residual (N, 6), rotation vector and
        translation; numpy or torch.
    """
    xp = namespace(shape['offsets'])
    tables = _tables(xp, device_of(shape['offsets']))
    return {'offsets': xp.take(shape['offsets'], tables.vertices, axis=1) * tables.offsets,
            'expression': xp.take(shape['expression'], tables.expressions, axis=1),
            'residual': shape['residual'] * tables.twist}


class _Tables(NamedTuple):
    """What a mirror does to numbers, by their place."""

    points: object  # (4, 1, 1) of a crop
    offsets: object  # (3,)
    twist: object  # (6,)
    vertices: object  # (V,) which one is where this was
    expressions: object  # (52,)


@lru_cache(maxsize=8)
def _tables(xp, device) -> _Tables:
    model = FaceModel.load()
    points, offsets, twist = (xp.asarray(signs, dtype=xp.float32, device=device) for signs in (
        (*SIGNS, 1.), SIGNS, TWIST))
    vertices, expressions = (xp.asarray(index.tolist(), dtype=xp.int64, device=device)
                             for index in (model.mirror, model.expression_mirror))
    return _Tables(points[:, None, None], offsets, twist, vertices, expressions)
