# SPDX-License-Identifier: Apache-2.0
"""Signed distances between the triangles of posed meshes and a depth image."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from depthface_ros.compiled import in_order, takes
from depthface_ros.compiled import triangles as loops
from depthface_ros.geometry.arrays import device_of, namespace
from depthface_ros.geometry.camera import Intrinsics, depth_around

# Cosine to the viewing ray below which triangles have no weight; from twice that on they have all.
MIN_FACING = 0.2
# Reach in front of a face, as a fraction of the reach behind it: occluders stand in front.
FRONT_REACH = 0.7
# Distance behind a mesh, m and m / m^2, from which on points are not noise of its surface. The
# noise of triangulation grows with the square of the distance.
BEHIND, BEHIND_PER_SQUARE = 0.05, 0.01
ROWS = (0, 1, 2, 0, 1)  # x, y, z, x, y: with them a cross product is one of slices


class Planes(NamedTuple):
    """Planes through the triangles of N meshes, face frame; numpy or torch, float32."""

    centre: Any  # (N, 3, T) m
    normal: Any  # (N, 3, T), unit vectors out of the face
    visible_area: Any  # (N, 1, T) twice the visible area, m^2; 0 of slanted triangles
    total_area: Any  # (N, 1, 1) twice the visible area of the face, m^2


class Pixels(NamedTuple):
    """The four pixels around T points of N faces, by :func:`depth_around`; float32."""

    depth: Any  # (N, 2, 2, T) m, 0 where nothing is measured
    x: Any  # rays (x, y, 1) of the pixels; broadcast to (N, 2, 2, T)
    y: Any
    bilinear: Any  # (N, 2, 2, T) weights


class MeshTriangles:
    """Triangles (T, 3) of meshes of one topology; numpy or torch, as the indices are."""

    def __init__(self, triangles):
        """Keep triangles that are counter-clockwise seen from outside."""
        xp = namespace(triangles)
        if type(triangles) is np.ndarray:
            self._indices = np.ascontiguousarray(triangles, np.int32)  # for compiled loops
        rows = xp.asarray(ROWS, device=device_of(triangles))[:, None]
        places = 3 * xp.matrix_transpose(triangles)[:, None] + rows  # (3, 5, T)
        self._places = xp.astype(xp.reshape(places, (-1,)), xp.int64)
        self.count = triangles.shape[0]

    def corners(self, vertices):
        """Return the ROWS of the vertices (N, V, 3) at the three corners: (N, 5, T) each."""
        xp = namespace(vertices)
        meshes, count, _ = vertices.shape
        taken = xp.take(xp.reshape(vertices, (meshes, 3 * count)), self._places, axis=1)
        taken = xp.reshape(taken, (meshes, 3, len(ROWS), self.count))
        return [taken[:, i] for i in range(3)]

    def planes(self, camera_from_face, vertices_face) -> Planes:
        """Return the planes of meshes (N, V, 3) m at poses (N, 4, 4)."""
        if takes(vertices_face):
            return Planes(*loops.planes(self._indices, in_order(camera_from_face),
                                        in_order(vertices_face), np.float32(MIN_FACING)))
        xp = namespace(vertices_face)
        rotation, origin = camera_from_face[:, :3, :3], camera_from_face[:, :3, 3:]
        a, b, c = self.corners(vertices_face)
        centre, ab, ac = (a + b + c)[:, :3] / 3, b - a, c - a
        area = ab[:, 1:4] * ac[:, 2:] - ab[:, 2:] * ac[:, 1:4]  # cross product: twice the area
        size = _length(area).clip(1e-12)
        ray = centre - xp.matmul(xp.matrix_transpose(rotation), -origin)
        in_view = -(area * ray).sum(axis=1, keepdims=True) / _length(ray)
        facing = (in_view / size / MIN_FACING - 1).clip(0, 1)
        total = in_view.clip(0).sum(axis=-1, keepdims=True).clip(1e-12)
        return Planes(centre, area / size, in_view * facing, total)

    def plane_distances(self, depth, intrinsics: Intrinsics, camera_from_face, vertices_face,
                        reach: float):
        """Return the distances (N, T) m of a depth image from meshes, along the outward normals.

        :param reach: m along the ray, at which a point counts a quarter.
        :returns: distances, and their weights (N, T) in 0..1, 0 of triangles out of view.
        """
        planes = self.planes(camera_from_face, vertices_face)
        centre, normal = in_camera(camera_from_face, planes)
        pixels = pixels_around(depth, intrinsics, centre)
        return distances(pixels, centre, normal, planes.visible_area, reach)


def in_camera(camera_from_face, planes: Planes):
    """Return the centres and the normals of planes in the camera frame: (N, 3, T) each."""
    if takes(planes.centre):
        return loops.in_camera(in_order(camera_from_face), *planes[:2])
    xp, rotation = namespace(planes.centre), camera_from_face[:, :3, :3]
    return (xp.matmul(rotation, planes.centre) + camera_from_face[:, :3, 3:],
            xp.matmul(rotation, planes.normal))


def pixels_around(depth, intrinsics: Intrinsics, centre) -> Pixels:
    """Return the pixels around the projections of points (N, 3, T) m, camera frame."""
    return Pixels(*depth_around(depth, intrinsics, centre))


def distances(pixels: Pixels, centre, normal, visible_area, reach: float):
    """Return plane distances (N, T) m and weights (N, T) as :meth:`MeshTriangles.plane_distances`.

    :param centre, normal, visible_area: of the planes; camera frame.
    """
    if takes(centre) and pixels.x.shape == pixels.depth.shape:
        return loops.distances(*pixels, in_order(centre), in_order(normal), visible_area,
                               np.float32(reach), np.float32(FRONT_REACH))
    xp = namespace(centre)
    weight, distance = measure(pixels, centre, normal, reach)
    visible = xp.astype(visible_area > 0, xp.float32)
    return (distance / weight.clip(1e-9))[:, 0], (weight * visible)[:, 0]


def seen_through(pixels: Pixels, z, visible_area):
    """Return the fraction (N,) in 0..1 of the visible area at which the image shows what is behind.

    Heads are opaque: hands, hair and holes cover a face, but no camera measures a point behind it.

    :param z, visible_area: depth in m and area of the triangles, (N, 1, T) each.
    """
    if takes(pixels.depth):
        return loops.seen_through(pixels.depth, pixels.bilinear, in_order(z), visible_area,
                                  np.float32(BEHIND), np.float32(BEHIND_PER_SQUARE))
    xp = namespace(z)
    farthest = (z + (BEHIND_PER_SQUARE * z * z).clip(BEHIND))[:, None]
    behind = pixels.bilinear * xp.astype(pixels.depth > farthest, xp.float32)
    area = visible_area[:, 0]
    in_image = (area * pixels.bilinear.sum(axis=(1, 2))).sum(axis=1)
    return (area * behind.sum(axis=(1, 2))).sum(axis=1) / in_image.clip(1e-12)


def measure(pixels: Pixels, centre, normal, reach: float):
    """Return weights, and weights times point-to-plane distances (m), (N, 1, T) each.

    Each triangle is compared with the four pixels around the projection of its centre. A pixel's
    point q counts by bilinear interpolation, and by Geman and McClure's weight of its distance
    along the ray, which occluders do not pass:

        distance = n . (q - p)
        weight = bilinear * (1 / (1 + (distance along the ray / reach)^2))^2

    So no points are invented at edges, and weights change smoothly with the pose.

    :param centre, normal: p and n, (N, 3, T) m and unit vectors, camera frame.
    """
    if takes(centre) and pixels.x.shape == pixels.depth.shape:
        return loops.measure(*pixels, in_order(centre), in_order(normal), np.float32(reach),
                             np.float32(FRONT_REACH))
    xp = namespace(centre)
    measured, x, y, bilinear = pixels
    nx, ny, nz = (normal[:, None, i:i + 1] for i in range(3))
    slope = nx * x + ny * y + nz  # metres across the plane per metre of depth: (N, 2, 2, T)
    distance = slope * measured - (normal * centre).sum(axis=1)[:, None, None]
    # The distance along the ray is distance / slope; the squared slope keeps grazing rays finite.
    square = slope * slope
    scaled = xp.maximum(distance / FRONT_REACH, distance) / reach  # positive ones are in front
    robust = square / (square + scaled * scaled).clip(1e-12)
    weight = bilinear * xp.astype(measured > 0, xp.float32) * robust * robust
    return weight.sum(axis=(1, 2))[:, None], (weight * distance).sum(axis=(1, 2))[:, None]


def _length(vectors):
    """Return the lengths (N, 1, T) of vectors (N, 3, T)."""
    xp = namespace(vectors)
    return xp.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
