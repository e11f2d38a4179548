# SPDX-License-Identifier: Apache-2.0
"""Small tools on triangle meshes: normals, boundaries, closest points, cuts and simplification."""

from __future__ import annotations

import heapq

import numpy as np


def triangulate(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Split (F, 4) quads along their shorter diagonal into (2F, 3) triangles, orientation kept."""
    corners = vertices[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    turned = np.where((first <= second * (1 + 1e-6))[:, None], quads, np.roll(quads, -1, axis=1))
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])


def triangle_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return normals (..., T, 3) of triangles over (..., V, 3) vertices, as long as twice their area."""
    a, b, c = (vertices[..., triangles[:, i], :] for i in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return the area-weighted unit normals of the vertices: (V, 3)."""
    normals = np.zeros_like(vertices)
    of_triangles = triangle_normals(vertices, triangles)
    for axis in range(3):
        for corner in range(3):
            normals[:, axis] += np.bincount(triangles[:, corner], of_triangles[:, axis],
                                            len(vertices))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def directed_edges(triangles: np.ndarray) -> np.ndarray:
    """Return the three directed edges of each triangle: (3T, 2)."""
    return np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])


def border(triangles: np.ndarray) -> np.ndarray:
    """Return the vertices of edges with a triangle on one side only, in no order."""
    edges = directed_edges(triangles)
    count = int(triangles.max(initial=0)) + 1
    return np.unique(edges[~np.isin(edges @ [count, 1], edges @ [1, count])])


def boundary_loops(triangles: np.ndarray) -> list[np.ndarray]:
    """Return the vertices along each opening, in the order of the bordering edges; longest first.

    Raises ValueError where two openings touch in one vertex or an edge has more than two
    triangles.
    """
    edges = directed_edges(triangles).tolist()
    known = set(map(tuple, edges))
    if len(known) != len(edges):
        raise ValueError('an edge is used twice in the same direction: no oriented manifold')
    following: dict[int, int] = {}
    for a, b in edges:
        if (b, a) not in known:
            if a in following:
                raise ValueError(f'two openings meet in vertex {a}')
            following[a] = b
    loops = []
    while following:
        loop = [next(iter(following))]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        loops.append(np.array(loop[:-1]))
    return sorted(loops, key=len, reverse=True)


def largest_piece(triangles: np.ndarray) -> np.ndarray:
    """Return the (K, 3) triangles of the connected piece with the most triangles."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = directed_edges(triangles)
    size = int(triangles.max()) + 1
    _, piece = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(size, size)))
    labels = piece[triangles[:, 0]]
    return triangles[labels == np.bincount(labels).argmax()]


def cut(triangles: np.ndarray, field: np.ndarray, snap: float = 0.25,
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the part of a mesh where a field per vertex is positive, cutting triangles along its
    zero line.

    field: (V,) signed; snap: a cut nearer than this part of an edge to a vertex goes through that
    vertex. Returns triangles (T', 3) over new vertices, and each new vertex as a mix of two old
    ones: indices (V', 2) and weights (V', 2).
    """
    field = field.astype(np.float64).copy()
    edges = np.sort(directed_edges(triangles), axis=1)
    a, b = edges[field[edges[:, 0]] * field[edges[:, 1]] < 0].T
    part = field[a] / (field[a] - field[b])
    field[a[part < snap]] = 0
    field[b[part > 1 - snap]] = 0

    vertices: dict[tuple[int, int], int] = {}
    kept = []
    for triangle in triangles[(field[triangles] > 0).any(1)].tolist():
        polygon = []
        for start, end in zip(triangle, triangle[1:] + triangle[:1]):
            if field[start] >= 0:
                polygon.append((start, start))
            if field[start] * field[end] < 0:
                polygon.append((min(start, end), max(start, end)))
        corners = [vertices.setdefault(key, len(vertices)) for key in polygon]
        kept += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    mix = np.array(list(vertices))
    difference = field[mix[:, 0]] - field[mix[:, 1]]
    second = field[mix[:, 0]] / np.where(difference == 0, np.inf, difference)
    return np.array(kept), mix, np.stack([1 - second, second], axis=1)


def simplify(vertices: np.ndarray, triangles: np.ndarray, locked: np.ndarray,
             remove: int) -> np.ndarray:
    """Remove vertices by collapsing edges into one of their ends, cheapest quadric error first.

    Garland and Heckbert 1997, with half-edge collapses, so the vertices that stay do not move.
    locked: (V,) bool, vertices that stay. Returns the (T', 3) triangles over the same vertices.
    """
    normals = triangle_normals(vertices, triangles)
    area = np.linalg.norm(normals, axis=1, keepdims=True)
    heights = -(normals * vertices[triangles[:, 0]]).sum(1, keepdims=True)
    planes = np.concatenate([normals, heights], axis=1)
    of_triangles = planes[:, :, None] * planes[:, None] / np.maximum(area, 1e-12)[..., None]
    quadrics = np.zeros((len(vertices), 4, 4))
    for i in range(3):
        np.add.at(quadrics, triangles[:, i], of_triangles)
    faces = [set() for _ in vertices]
    corners = [tuple(t) for t in triangles.tolist()]
    for index, triangle in enumerate(corners):
        for vertex in triangle:
            faces[vertex].add(index)

    def neighbours(vertex):
        return {other for face in faces[vertex] for other in corners[face]} - {vertex}

    def collapsed(vertex, target):
        return [(face, tuple(target if other == vertex else other for other in corners[face]))
                for face in faces[vertex] if target not in corners[face]]

    def cost(vertex, target):
        point = np.append(vertices[target], 1)
        length = np.linalg.norm(vertices[vertex] - vertices[target])
        # The second term spreads the vertices evenly where the surface is flat.
        return point @ quadrics[vertex] @ point + 1e-3 * length**4

    def allowed(vertex, target):
        if len(neighbours(vertex) & neighbours(target)) != 2:
            return False
        for face, after in collapsed(vertex, target):
            old = triangle_normals(vertices, np.array([corners[face]]))[0]
            new = triangle_normals(vertices, np.array([after]))[0]
            longest = max(np.linalg.norm(vertices[after[i]] - vertices[after[i - 1]])
                          for i in range(3))
            sizes = np.linalg.norm(old) * np.linalg.norm(new)
            if old @ new < 0.6 * sizes or np.linalg.norm(new) < 0.15 * longest**2:
                return False
        return True

    def push(vertex):
        if not locked[vertex]:
            for target in neighbours(vertex):
                heapq.heappush(queue, (cost(vertex, target), vertex, target,
                                       stamp[vertex], stamp[target]))

    queue: list = []
    stamp = np.zeros(len(vertices), int)
    for vertex in range(len(vertices)):
        push(vertex)
    while remove and queue:
        _, vertex, target, *stamps = heapq.heappop(queue)
        if stamps != [stamp[vertex], stamp[target]] or not allowed(vertex, target):
            continue
        changed = neighbours(vertex)
        after = collapsed(vertex, target)
        for face in faces[vertex] & faces[target]:
            for other in corners[face]:
                faces[other].discard(face)
        for face, triangle in after:
            corners[face] = triangle
            faces[target].add(face)
        faces[vertex] = set()
        quadrics[target] += quadrics[vertex]
        remove -= 1
        stamp[vertex] += 1
        stamp[list(changed)] += 1
        for other in changed | set().union(*(neighbours(other) for other in changed)):
            push(other)
    alive = sorted(set().union(*faces))
    return np.array([corners[face] for face in alive])
