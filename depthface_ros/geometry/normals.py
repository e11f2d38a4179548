# SPDX-License-Identifier: Apache-2.0
"""Normals of triangle meshes."""
from __future__ import annotations

import numpy as np


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return unit normals (V, 3): the area-weighted mean of those of adjacent triangles."""
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for axis in range(3):  # bincount adds up ten times faster than np.add.at
        weights = np.repeat(normal[:, axis], 3)
        total[:, axis] = np.bincount(triangles.ravel(), weights, len(vertices))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
