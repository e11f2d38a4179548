# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a depth image belong to points. Arrays are float32 and in C order.

Depth images are (H, W), of uint16 or float32. `unit` is metres per number, and numbers from
`limit` on are no measurements.
"""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled

f4 = np.float32
ZERO, ONE = f4(0), f4(1)


@compiled
def crops(depth, unit, limit, camera, nearest, rotation, centre, camera_from_value, half_size,
          depth_limit, ticks):
    """Return crops (N, 4, S, S) as :func:`depthface_ros.geometry.crop._crop` defines them.

    Rounds as the array code does, operation by operation, so both read the same pixels.

    :param camera: (4,) fx, fy, cx, cy.
    :param rotation, centre: (N, 3, 3), columns right, down and forward of the crops, and (N, 3) m.
    :param camera_from_value: (N, 4, 4). :param ticks: (S,) in -1..1.
    """
    height, width = depth.shape
    fx, fy, cx, cy = camera
    size = len(ticks)
    found = np.empty((len(centre), 4, size, size), f4)
    linear, origin = np.empty((4, 3), f4), np.empty(4, f4)
    right, down = np.empty(3, f4), np.empty(3, f4)
    u, v, metres = np.empty(size, f4), np.empty(size, f4), np.empty(size, f4)
    for i in range(len(centre)):
        for axis in range(3):  # from points to values, and to their distance from the plane
            origin[axis], origin[3] = ZERO, ZERO
            for j in range(3):
                linear[axis, j] = camera_from_value[i, j, axis] / half_size
                linear[3, j] = rotation[i, j, 2] / (depth_limit * half_size)
            right[axis] = half_size * rotation[i, axis, 0]
            down[axis] = half_size * rotation[i, axis, 1]
            for j in range(3):
                origin[axis] += linear[axis, j] * camera_from_value[i, j, 3]
                origin[3] += linear[3, j] * centre[i, j]
        for row in range(size):
            tick = ticks[row]
            x_row = centre[i, 0] + down[0] * tick
            y_row = centre[i, 1] + down[1] * tick
            z_row = centre[i, 2] + down[2] * tick
            for k in range(size):  # loops without branches become vector instructions
                z = z_row + right[2] * ticks[k]
                before = max(z, nearest)
                u[k] = np.rint(fx * ((x_row + right[0] * ticks[k]) / before) + cx)
                v[k] = np.rint(fy * ((y_row + right[1] * ticks[k]) / before) + cy)
                metres[k] = ONE if z == before else ZERO
            for k in range(size):
                if metres[k] > 0 and u[k] >= 0 and v[k] >= 0 and u[k] < width and v[k] < height:
                    measured = f4(depth[int(v[k]), int(u[k])])
                    metres[k] = measured * unit if ZERO < measured < limit else ZERO
                else:
                    u[k], v[k], metres[k] = ZERO, ZERO, ZERO
            for k in range(size):
                z = metres[k]
                x, y = (u[k] - cx) / fx * z, (v[k] - cy) / fy * z
                away = linear[3, 0] * x + linear[3, 1] * y + linear[3, 2] * z - origin[3]
                measured = ONE if z > 0 else ZERO
                near = measured if abs(away) < 1 else ZERO
                for axis in range(3):
                    found[i, axis, row, k] = near * (
                        linear[axis, 0] * x + linear[axis, 1] * y + linear[axis, 2] * z
                        - origin[axis])
                found[i, 3, row, k] = f4(2) * near - measured
    return found


@compiled
def shape_frames(camera_from_face, face_centre, up_axis, face_step, up_step):
    """Return rotations (N, 3, 3) and centres (N, 3) of shape crops.

    :param face_centre, up_axis: (3,) in the face frame.
    """
    rotation = np.empty((len(camera_from_face), 3, 3), f4)
    centre, up = np.empty((len(camera_from_face), 3), f4), np.empty(3, np.float64)
    for i in range(len(camera_from_face)):
        pose = camera_from_face[i]
        for k in range(3):
            offset, upwards = ZERO, ZERO
            for j in range(3):
                offset += pose[k, j] * face_centre[j]
                upwards += pose[k, j] * up_axis[j]
            centre[i, k] = np.rint((pose[k, 3] + offset) / face_step) * face_step
            up[k] = np.rint(upwards / up_step) * up_step
        x, y, z = np.float64(centre[i, 0]), np.float64(centre[i, 1]), np.float64(centre[i, 2])
        length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
        x, y, z = x / length, y / length, z / length
        a, b, c = y * up[2] - z * up[1], z * up[0] - x * up[2], x * up[1] - y * up[0]
        length = max(math.sqrt(a * a + b * b + c * c), 1e-12)
        a, b, c = a / length, b / length, c / length
        rotation[i, 0, 0], rotation[i, 1, 0], rotation[i, 2, 0] = a, b, c
        rotation[i, 0, 1], rotation[i, 1, 1] = y * c - z * b, z * a - x * c
        rotation[i, 2, 1] = x * b - y * a
        rotation[i, 0, 2], rotation[i, 1, 2], rotation[i, 2, 2] = x, y, z
    return rotation, centre


@compiled
def depth_around(depth, unit, limit, camera, nearest, points):
    """Return depth, rays x and y, and weights, (N, 2, 2, P) each, of the pixels around points.

    As :func:`depthface_ros.geometry.camera.depth_around`.

    :param points: (N, 3, P) metres, camera frame.
    """
    height, width = depth.shape
    fx, fy, cx, cy = camera
    count, _, size = points.shape
    last_u, last_v = f4(max(width - 2, 0)), f4(max(height - 2, 0))
    step_u, step_v = f4(min(width - 1, 1)), f4(min(height - 1, 1))
    metres = np.empty((count, 2, 2, size), f4)
    x, y, weight = np.empty_like(metres), np.empty_like(metres), np.empty_like(metres)
    goal_u, goal_v = np.empty(size, f4), np.empty(size, f4)
    first_u, first_v = np.empty(size, f4), np.empty(size, f4)
    for i in range(count):
        for k in range(size):
            z = max(points[i, 2, k], nearest)
            goal_u[k] = fx * (points[i, 0, k] / z) + cx
            goal_v[k] = fy * (points[i, 1, k] / z) + cy
            # not by min and max: NaN must become a pixel, too
            u = math.floor(goal_u[k]) if goal_u[k] >= 0 else ZERO
            v = math.floor(goal_v[k]) if goal_v[k] >= 0 else ZERO
            first_u[k], first_v[k] = u if u < last_u else last_u, v if v < last_v else last_v
        for row in range(2):
            for column in range(2):
                for k in range(size):
                    u, v = first_u[k] + f4(column) * step_u, first_v[k] + f4(row) * step_v
                    x[i, row, column, k], y[i, row, column, k] = (u - cx) / fx, (v - cy) / fy
                    weight[i, row, column, k] = (max(ONE - abs(goal_v[k] - v), ZERO)
                                                 * max(ONE - abs(goal_u[k] - u), ZERO))
                for k in range(size):
                    measured = f4(depth[int(first_v[k]) + row * int(step_v),
                                        int(first_u[k]) + column * int(step_u)])
                    metres[i, row, column, k] = measured * unit if ZERO < measured < limit else ZERO
    return metres, x, y, weight
