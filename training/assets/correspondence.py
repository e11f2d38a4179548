# SPDX-License-Identifier: Apache-2.0
"""Non-rigid registration of the face mesh to another average head, for a fixed barycentric map."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import splu

from depthface_ros.geometry.rotations import nearest_rotation
from training.synthesis.meshes import boundary_loops, directed_edges, vertex_normals
from training.synthesis.surface_points import SurfacePoints, closest_points

# Stiffness of the surface, from nearly rigid to loose, relative to one unit of pull per vertex.
STIFFNESS = np.geomspace(300, 0.3, 40)
# Closest points farther than this (m) pull nothing; it shrinks with the stiffness.
REACH = np.geomspace(0.02, 0.004, 40)


def similarity(source: np.ndarray, target: np.ndarray, scale: bool = True,
               ) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares scale, rotation (3, 3) and translation (3,) with target = scale * rotation @
    source + translation.

    Umeyama 1991; source and target (N, 3). Without scale it is the rigid Procrustes solution.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    rotation = nearest_rotation(b.T @ a)
    factor = float((b * (a @ rotation.T)).sum() / (a * a).sum()) if scale else 1.0
    return factor, rotation, target_mean - factor * rotation @ source_mean


def openings(vertices: np.ndarray, triangles: np.ndarray,
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loops around mouth, right and left eye, each from its right-most vertex; face frame axes."""
    loops = [loop for loop in boundary_loops(triangles)
             if np.ptp(vertices[loop], axis=0).max() < 0.08]
    if len(loops) != 3:
        raise ValueError(f'expected openings of mouth and eyes, found {len(loops)} small loops')
    mouth = min(loops, key=lambda loop: vertices[loop, 2].mean())
    right, left = sorted((loop for loop in loops if loop is not mouth),
                         key=lambda loop: vertices[loop, 1].mean())
    return tuple(np.roll(loop, -int(vertices[loop, 1].argmin())) for loop in (mouth, right, left))


def without_rings(triangles: np.ndarray, loop: np.ndarray, rings: int) -> np.ndarray:
    """Widen an opening by taking away rings of (T, 3) triangles around its loop of vertices."""
    for _ in range(rings):
        at_loop = np.isin(triangles, loop)
        removed, triangles = triangles[at_loop.any(1)], triangles[~at_loop.any(1)]
        loop = np.setdiff1d(removed, loop)
    return triangles


def along_loop(points: np.ndarray, loop: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Points on the closed polyline `points` (M, 3) at the same parts of its two halves as
    vertices `own` (K, 3) have.

    Both start at their right corner; the halves end at the left corner. loop: (K,) order only.
    Returns (K, 3).
    """
    def parts(polyline):
        turn = int(polyline[:, 1].argmax())
        closed = np.concatenate([polyline, polyline[:1]])
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
        half = length[turn]
        part = np.where(length <= half, length / half, 1 + (length - half) / (length[-1] - half))
        return closed, part

    closed, part = parts(points)
    _, own_part = parts(own)
    return np.stack([np.interp(own_part[:-1], part, closed[:, axis]) for axis in range(3)], axis=1)


def stiffness_matrix(vertices: np.ndarray, triangles: np.ndarray):
    """Squared Laplacian of a mesh, sparse (V, V): small for displacements that vary evenly."""
    edges = np.unique(np.sort(directed_edges(triangles), axis=1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    weight = length.mean() / np.maximum(length, 0.1 * length.mean())
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    shape = (len(vertices), len(vertices))
    adjacency = coo_array((np.tile(weight, 2), (rows, columns)), shape=shape).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = diags_array(np.ones(len(vertices))) - diags_array(1 / degree) @ adjacency
    return (laplacian.T @ laplacian + 1e-3 * laplacian.T @ diags_array(degree)).tocsc()


def register(vertices: np.ndarray, triangles: np.ndarray,
             target: np.ndarray, target_triangles: np.ndarray,
             anchors: np.ndarray, anchor_targets: np.ndarray) -> tuple[np.ndarray, SurfacePoints]:
    """Bend a face onto a target head: mouth and eye openings onto openings, the rest onto the
    closest surface.

    Non-rigid ICP (Amberg et al. 2007) with a Laplacian prior instead of per-vertex affine maps.
    vertices, triangles: the face, in the face frame's axes; target, target_triangles: the head,
    any similarity away
    anchors: (A,) face vertices; anchor_targets: (A, 3) where they belong on the target; at least 3
    Returns the bent vertices (V, 3) and the points of the target closest to them.
    """
    scale, rotation, shift = similarity(vertices[anchors], anchor_targets)
    start = scale * vertices @ rotation.T + shift
    loops = openings(vertices, triangles)
    fixed = np.concatenate([*loops, anchors])
    goals = np.concatenate(
        [*(along_loop(target[there], here, vertices[here])
           for here, there in zip(loops, openings(target, target_triangles))), anchor_targets])
    smooth = stiffness_matrix(start, triangles)
    border = boundary_loops(triangles)[0]
    bent = start
    for stiffness, reach in zip(STIFFNESS, REACH):
        found = closest_points(bent, target, target_triangles, vertex_normals(bent, triangles))
        pull = (found.distance < reach).astype(float)
        pull[border] *= 0.1
        goal = found.on(target)
        pull[fixed], goal[fixed] = 100, goals
        solve = splu((diags_array(pull + 1e-6) + stiffness * smooth).tocsc()).solve
        bent = start + solve(pull[:, None] * (goal - start))
    normals = vertex_normals(bent, triangles)
    # Rims of lids and lips fold inwards on both heads, and not by the same angle.
    rims = np.concatenate(loops)
    found = closest_points(bent, target, target_triangles, normals)
    at_rims = closest_points(bent[rims], target, target_triangles)
    for values, of_rims in zip(found, at_rims):
        values[rims] = of_rims
    return bent, found
