# SPDX-License-Identifier: Apache-2.0
"""Gauss-Newton steps of the alignment: sums over the triangles of faces.

Arrays are float32 and in C order.
"""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled_sums

f4 = np.float32
ZERO, ONE = f4(0), f4(1)


@compiled_sums
def by_parameters(centre, normal, modes):
    """Return the derivatives (N, 6 + K, T) of n . p by rotation vector, translation and modes.

    :param centre, normal: (N, 3, T), face frame. :param modes: (K, 3, T) at the centres, metres.
    """
    count, _, size = centre.shape
    found = np.empty((count, 6 + len(modes), size), f4)
    for i in range(count):
        for t in range(size):
            x, y, z = centre[i, 0, t], centre[i, 1, t], centre[i, 2, t]
            nx, ny, nz = normal[i, 0, t], normal[i, 1, t], normal[i, 2, t]
            found[i, 0, t], found[i, 1, t] = y * nz - z * ny, z * nx - x * nz
            found[i, 2, t] = x * ny - y * nx
            found[i, 3, t], found[i, 4, t], found[i, 5, t] = nx, ny, nz
        for k in range(len(modes)):
            for t in range(size):
                found[i, 6 + k, t] = (
                    modes[k, 0, t] * normal[i, 0, t] + modes[k, 1, t] * normal[i, 1, t]
                    + modes[k, 2, t] * normal[i, 2, t])
    return found


@compiled_sums
def gauss_newton_step(derivatives, loadings, cholesky, sigma, information, weight,
                      weighted_distance, z):
    """Return z (N, P + F, 1) after a step of the alignment.

        (J W J' + I) step = J W r - z,   J = [(sigma L)' derivatives; loadings]

    The products over the triangles come first, then those with sigma L, which are small.

    :param derivatives: (N, P, T), by `by_parameters`. :param loadings: (F, T), of the surface
        offset, which the distances do not contain yet.
    :param cholesky: (P, P), L. :param sigma: (N, P, 1).
    :param information: (N, 1, T), without the weights (N, 1, T).
    :param weighted_distance: (N, 1, T).
    """
    count, parameters, size = derivatives.shape
    rows = parameters + len(loadings)
    found, matrix, gradient = np.empty_like(z), np.empty((rows, rows), f4), np.empty(rows, f4)
    stacked, lower = np.empty((rows, size), f4), np.zeros((rows, rows), f4)
    product, solution = np.empty_like(matrix), np.empty_like(gradient)
    scaled, residual = np.empty(size, f4), np.empty(size, f4)
    for f in range(parameters, rows):
        lower[f, f] = ONE
        for t in range(size):
            stacked[f, t] = loadings[f - parameters, t]
    for i in range(count):
        for p in range(parameters):
            for t in range(size):
                stacked[p, t] = derivatives[i, p, t]
            for q in range(p + 1):
                lower[p, q] = sigma[i, p, 0] * cholesky[p, q]
        for t in range(size):
            residual[t] = ZERO
        for f in range(parameters, rows):
            for t in range(size):
                residual[t] += z[i, f, 0] * stacked[f, t]
        for t in range(size):
            residual[t] = weighted_distance[i, 0, t] - weight[i, 0, t] * residual[t]
        for p in range(rows):
            total = ZERO
            for t in range(size):
                scaled[t] = stacked[p, t] * information[i, 0, t]
                total += scaled[t] * residual[t]
                scaled[t] *= weight[i, 0, t]
            gradient[p] = total
            for q in range(p + 1):
                total = ZERO
                for t in range(size):
                    total += scaled[t] * stacked[q, t]
                matrix[p, q] = matrix[q, p] = total
        # L' A L and L' b, where L is lower triangular
        for p in range(rows):
            for q in range(rows):
                product[p, q] = ZERO
            for k in range(rows):
                for q in range(k + 1):
                    product[p, q] += matrix[p, k] * lower[k, q]
        for p in range(rows):
            total = -z[i, p, 0]
            for q in range(p + 1):
                matrix[p, q] = ZERO
            for k in range(p, rows):
                total += lower[k, p] * gradient[k]
                for q in range(p + 1):
                    matrix[p, q] += lower[k, p] * product[k, q]
            matrix[p, p] += ONE
            solution[p] = total
        _solve_in_place(matrix, solution)
        for p in range(rows):
            found[i, p, 0] = z[i, p, 0] + solution[p]
    return found


@compiled_sums
def _solve_in_place(matrix, vector):
    """Replace a vector (Q,) by the solution of equations; by Cholesky's factors L L'.

    :param matrix: (Q, Q), symmetric and positive definite; only its lower triangle is read, and it
        is overwritten.
    """
    for p in range(len(vector)):
        for q in range(p + 1):
            total = matrix[p, q]
            for k in range(q):
                total -= matrix[p, k] * matrix[q, k]
            matrix[p, q] = total / matrix[q, q] if q < p else math.sqrt(total)
        total = vector[p]
        for k in range(p):
            total -= matrix[p, k] * vector[k]
        vector[p] = total / matrix[p, p]
    for p in range(len(vector) - 1, -1, -1):
        total = vector[p]
        for k in range(p + 1, len(vector)):
            total -= matrix[k, p] * vector[k]
        vector[p] = total / matrix[p, p]


@compiled_sums
def moved(z, cholesky, sigma, camera_from_face, centre, modes):
    """Return what z (N, P + F, 1) means; as :meth:`Alignment._moved`.

    :param cholesky: (P, P). :param sigma: (N, P, 1).
    :param centre: (N, 3, T), face frame. :param modes: (K, 3, T) metres.
    """
    bent, poses = centre.copy(), camera_from_face.copy()
    correction = np.empty((len(centre), len(cholesky)), f4)
    scaled, turn = np.empty(len(cholesky), f4), np.empty((3, 3), f4)
    for i in range(len(centre)):
        for p in range(len(cholesky)):
            total = ZERO
            for q in range(p + 1):
                total += cholesky[p, q] * z[i, q, 0]
            correction[i, p], scaled[p] = total, sigma[i, p, 0] * total
        a, b, c = scaled[0] / f4(2), scaled[1] / f4(2), scaled[2] / f4(2)
        factor = f4(2) / (ONE + a * a + b * b + c * c)  # Cayley's map, as `small_rotation`
        turn[0, 0] = ONE - factor * (b * b + c * c)
        turn[0, 1] = factor * (a * b - c)
        turn[0, 2] = factor * (a * c + b)
        turn[1, 0] = factor * (a * b + c)
        turn[1, 1] = ONE - factor * (a * a + c * c)
        turn[1, 2] = factor * (b * c - a)
        turn[2, 0] = factor * (a * c - b)
        turn[2, 1] = factor * (b * c + a)
        turn[2, 2] = ONE - factor * (a * a + b * b)
        for k in range(len(modes)):
            amount = scaled[6 + k]
            for axis in range(3):
                for t in range(centre.shape[2]):
                    bent[i, axis, t] += amount * modes[k, axis, t]
        for axis in range(3):
            for k in range(3):
                poses[i, axis, k] = ZERO
                for j in range(3):
                    poses[i, axis, k] += camera_from_face[i, axis, j] * turn[j, k]
                poses[i, axis, 3] += camera_from_face[i, axis, k] * scaled[3 + k]
    return correction, poses, bent
