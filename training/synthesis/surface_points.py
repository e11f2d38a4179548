# SPDX-License-Identifier: Apache-2.0
"""Closest points on a triangle mesh, as barycentric coordinates that fit any shape of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from training.synthesis.meshes import triangle_normals


class SurfacePoints(NamedTuple):
    """Points on a mesh: corners (N, 3) vertices, weights (N, 3), sum one, distance (N,) m."""

    corners: np.ndarray
    weights: np.ndarray
    distance: np.ndarray

    def on(self, vertices: np.ndarray) -> np.ndarray:
        """Return the same points on another shape (..., V, 3) of the mesh: (..., N, 3)."""
        return (vertices[..., self.corners, :] * self.weights[..., None]).sum(-2)


def barycentric_of_closest(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return weights (N, 3) of the points of triangles corners (N, 3, 3) closest to points (N, 3).

    Ericson, Real-Time Collision Detection (2005), 5.1.5: inside the triangle by areas, else on the
    nearest edge.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    weights = np.stack([1 - v - w, v, w], axis=1)

    outside = weights.min(1) < 0
    best = np.full(len(points), np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, edge = corners[:, i], corners[:, j] - corners[:, i]
        part = ((points - start) * edge).sum(1) / np.maximum((edge * edge).sum(1), 1e-30)
        part = np.clip(part, 0, 1)
        distance = np.linalg.norm(points - start - part[:, None] * edge, axis=1)
        nearer = outside & (distance < best)
        best[nearer] = distance[nearer]
        weights[nearer] = 0
        weights[nearer, i] = 1 - part[nearer]
        weights[nearer, j] = part[nearer]
    return weights


def closest_points(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray,
                   normals: np.ndarray | None = None, candidates: int = 16) -> SurfacePoints:
    """Return the mesh points closest to points (N, 3), among the triangles with the nearest centres.

    normals: (N, 3) unit normals of the points; given, triangles more than 75 degrees off count
    only
        where there is nothing else.
    """
    corners = vertices[triangles]
    ranks = range(1, 1 + min(candidates, len(triangles)))
    _, nearest = cKDTree(corners.mean(1)).query(points, k=ranks)
    facing = triangle_normals(vertices, triangles)
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    best = np.full(len(points), np.inf)
    distance_of_best = np.zeros(len(points))
    chosen = np.zeros(len(points), np.int64)
    weights = np.zeros((len(points), 3))
    for triangle in nearest.T:
        trial = barycentric_of_closest(points, corners[triangle])
        distance = np.linalg.norm((corners[triangle] * trial[..., None]).sum(1) - points, axis=1)
        away = 0 if normals is None else (facing[triangle] * normals).sum(1) < 0.26
        nearer = distance + away < best
        best[nearer] = (distance + away)[nearer]
        distance_of_best[nearer], chosen[nearer] = distance[nearer], triangle[nearer]
        weights[nearer] = trial[nearer]
    return SurfacePoints(triangles[chosen], weights, distance_of_best)
