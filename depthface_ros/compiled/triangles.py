# SPDX-License-Identifier: Apache-2.0
"""Triangles of meshes beside the pixels around them; twins of functions in `point_to_plane`.

Arrays are float32 and in C order.
"""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled_sums

f4 = np.float32
ZERO, ONE, TINY = f4(0), f4(1), f4(1e-12)


@compiled_sums
def planes(triangles, camera_from_face, vertices, min_facing):
    """Return centres (N, 3, T), normals (N, 3, T), visible areas (N, 1, T) and totals (N, 1, 1).

    :param triangles: (T, 3) int32. :param vertices: (N, V, 3) metres, face frame.
    """
    count, size, third = len(vertices), len(triangles), ONE / f4(3)
    centre = np.empty((count, 3, size), f4)
    normal, visible = np.empty_like(centre), np.empty((count, 1, size), f4)
    total = np.empty((count, 1, 1), f4)
    for i in range(count):
        pose, mesh, sum_in_view = camera_from_face[i], vertices[i], ZERO
        x_camera = -(pose[0, 0] * pose[0, 3] + pose[1, 0] * pose[1, 3] + pose[2, 0] * pose[2, 3])
        y_camera = -(pose[0, 1] * pose[0, 3] + pose[1, 1] * pose[1, 3] + pose[2, 1] * pose[2, 3])
        z_camera = -(pose[0, 2] * pose[0, 3] + pose[1, 2] * pose[1, 3] + pose[2, 2] * pose[2, 3])
        for t in range(size):
            a, b, c = triangles[t]
            x, y, z = mesh[a, 0], mesh[a, 1], mesh[a, 2]
            x_b, y_b, z_b = mesh[b, 0] - x, mesh[b, 1] - y, mesh[b, 2] - z
            x_c, y_c, z_c = mesh[c, 0] - x, mesh[c, 1] - y, mesh[c, 2] - z
            x, y, z = x + (x_b + x_c) * third, y + (y_b + y_c) * third, z + (z_b + z_c) * third
            nx, ny, nz = y_b * z_c - z_b * y_c, z_b * x_c - x_b * z_c, x_b * y_c - y_b * x_c
            area = max(math.sqrt(nx * nx + ny * ny + nz * nz), TINY)
            ray_x, ray_y, ray_z = x - x_camera, y - y_camera, z - z_camera
            distance = math.sqrt(ray_x * ray_x + ray_y * ray_y + ray_z * ray_z)
            in_view = -(nx * ray_x + ny * ray_y + nz * ray_z) / distance
            facing = min(max(in_view / area / min_facing - ONE, ZERO), ONE)
            sum_in_view += max(in_view, ZERO)
            centre[i, 0, t], centre[i, 1, t], centre[i, 2, t] = x, y, z
            normal[i, 0, t], normal[i, 1, t], normal[i, 2, t] = nx / area, ny / area, nz / area
            visible[i, 0, t] = in_view * facing
        total[i, 0, 0] = max(sum_in_view, TINY)
    return centre, normal, visible, total


@compiled_sums
def in_camera(camera_from_face, centre, normal):
    """Return centres and normals (N, 3, T) in the camera frame."""
    placed, turned = np.empty_like(centre), np.empty_like(normal)
    for i in range(len(centre)):
        for axis in range(3):
            a, b, c, origin = camera_from_face[i, axis]
            for t in range(centre.shape[2]):
                placed[i, axis, t] = (a * centre[i, 0, t] + b * centre[i, 1, t]
                                      + c * centre[i, 2, t] + origin)
                turned[i, axis, t] = (a * normal[i, 0, t] + b * normal[i, 1, t]
                                      + c * normal[i, 2, t])
    return placed, turned


@compiled_sums
def measure(depth, x, y, bilinear, centre, normal, reach, front_reach):
    """Return weights, and weights times point-to-plane distances, (N, 1, T) each.

    :param depth, x, y, bilinear: (N, 2, 2, T), of the pixels around the centres.
    :param centre, normal: (N, 3, T) camera frame.
    """
    count, _, size = centre.shape
    weights, weighted = np.zeros((count, 1, size), f4), np.zeros((count, 1, size), f4)
    offset = np.empty(size, f4)
    for i in range(count):
        for t in range(size):
            offset[t] = (normal[i, 0, t] * centre[i, 0, t] + normal[i, 1, t] * centre[i, 1, t]
                         + normal[i, 2, t] * centre[i, 2, t])
        for row in range(2):
            for column in range(2):
                for t in range(size):
                    measured = depth[i, row, column, t]
                    slope = (normal[i, 0, t] * x[i, row, column, t]
                             + normal[i, 1, t] * y[i, row, column, t] + normal[i, 2, t])
                    distance = slope * measured - offset[t]
                    square = slope * slope
                    scaled = max(distance / front_reach, distance) / reach
                    robust = square / max(square + scaled * scaled, TINY)
                    weight = bilinear[i, row, column, t] * robust * robust
                    weight = weight if measured > 0 else ZERO
                    weights[i, 0, t] += weight
                    weighted[i, 0, t] += weight * distance
    return weights, weighted


@compiled_sums
def distances(depth, x, y, bilinear, centre, normal, visible_area, reach, front_reach):
    """Return distances and weights (N, T), of the visible triangles; arguments as `measure`."""
    weights, weighted = measure(depth, x, y, bilinear, centre, normal, reach, front_reach)
    for i in range(len(weights)):
        for t in range(weights.shape[2]):
            weighted[i, 0, t] /= max(weights[i, 0, t], f4(1e-9))
            weights[i, 0, t] = weights[i, 0, t] if visible_area[i, 0, t] > 0 else ZERO
    return weighted[:, 0], weights[:, 0]


@compiled_sums
def seen_through(depth, bilinear, z, visible_area, behind, behind_per_square):
    """Return the fractions (N,) of the visible areas at which the image shows what is behind.

    :param depth, bilinear: (N, 2, 2, T). :param z, visible_area: (N, 1, T).
    """
    found = np.empty(len(z), f4)
    for i in range(len(z)):
        in_image, seen = ZERO, ZERO
        for t in range(z.shape[2]):
            farthest = z[i, 0, t] + max(behind_per_square * z[i, 0, t] * z[i, 0, t], behind)
            for row in range(2):
                for column in range(2):
                    area = visible_area[i, 0, t] * bilinear[i, row, column, t]
                    in_image += area
                    if depth[i, row, column, t] > farthest:
                        seen += area
        found[i] = seen / max(in_image, TINY)
    return found
