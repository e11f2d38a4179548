# SPDX-License-Identifier: Apache-2.0
"""Plain solids as triangles: (T, 3, 3) float32 metres, counter-clockwise seen from outside."""
from __future__ import annotations

from functools import cache

import numpy as np


def box(size):
    """Return a box of edge lengths (x, y, z), centred on the origin: 12 triangles."""
    return _unit_box() * np.asarray(size, np.float32)


def ellipsoid(radii, around=16, rings=8):
    """Return an ellipsoid with semi-axes (x, y, z), centred on the origin; its vertices lie on it."""
    return _unit_sphere(around, rings) * np.asarray(radii, np.float32)


def cylinder(radius, length, around=16):
    """Return a closed cylinder about the z axis, centred on the origin."""
    return _unit_cylinder(around) * np.asarray([radius, radius, length], np.float32)


def quad(width, height):
    """Return a rectangle across the z axis that faces +z, centred on the origin: 2 triangles."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) / 2
    return corners[[[0, 1, 2], [0, 2, 3]]] * np.asarray([width, height, 1], np.float32)


def revolve(profile, around=16):
    """Return the surface that a profile (N, 2) of (radius, z), z rising, sweeps around the z axis."""
    angle = np.arange(around + 1) * (2 * np.pi / around)
    radius, z = np.asarray(profile, np.float32).T
    grid = np.stack([radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle),
                     np.broadcast_to(z[:, None], (len(z), around + 1))], -1)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    triangles = np.stack([np.stack([a, b, d], 2), np.stack([a, d, c], 2)]).reshape(-1, 3, 3)
    return triangles.astype(np.float32)


@cache
def _unit_box():
    side = quad(1, 1) + np.array([0, 0, 0.5], np.float32)
    turns = [np.roll(side, k, axis=2) for k in range(3)]  # cyclic axes keep the winding
    # ... and so does half a turn, which brings the +z face to -z, and the others likewise
    back = [turn * flip for turn, flip in zip(turns, ([1, -1, -1], [-1, 1, -1], [-1, -1, 1]))]
    return np.concatenate(turns + back).astype(np.float32)


@cache
def _unit_sphere(around, rings):
    angle = np.linspace(0, np.pi, rings + 1)
    return revolve(np.stack([np.sin(angle), -np.cos(angle)], -1), around)


@cache
def _unit_cylinder(around):
    return revolve([[0, -0.5], [1, -0.5], [1, 0.5], [0, 0.5]], around)
