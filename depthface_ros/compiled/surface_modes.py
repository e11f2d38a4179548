# SPDX-License-Identifier: Apache-2.0
"""The fit of surface modes, as :class:`depthface_ros.estimation.surface.SurfaceDetail` defines it.

Arrays are float32 and in C order. Values of triangles are (2, H): left and right half.
Coefficients are (2, M): even and odd modes.
"""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled_sums

f4 = np.float32
ZERO, ONE = f4(0), f4(1)
LOG_QUARTER = f4(-math.log(4))


@compiled_sums
def fitted(distance, weight, jacobian, square, min_cuts, limits, solver_steps):
    """Return the most probable coefficients (N, 2, M) for distances (N, 2, H) m.

    :param weight: (N, 2, H). :param jacobian: (2, M, H) metres. :param square: (2, M) m^2, the
        mean squares of the jacobian over all triangles of both halves.
    :param min_cuts: (I,) metres, for each iteration.
    :param limits: (7,) least weight of a triangle, least number of triangles, cut in sigmas, its
        share in front of the face, least and largest noise (m), and least divisor.
    """
    min_weight, min_count, cut_sigmas, front, min_noise, max_noise, tiny = limits
    count, _, half = distance.shape
    modes = jacobian.shape[1]
    found = np.zeros((count, 2, modes), f4)
    size, information = np.empty(2 * half, f4), np.empty((2, half), f4)
    residual, weighted = np.empty((2, half), f4), np.empty((2, half), f4)
    gradient, preconditioner = np.empty((2, modes), f4), np.empty((2, modes), f4)
    for i in range(count):
        valid = 0
        for side in range(2):
            for t in range(half):
                valid += weight[i, side, t] > min_weight
                residual[side, t] = distance[i, side, t]
        if valid < min_count:
            continue
        for min_cut in min_cuts:
            for side in range(2):
                for t in range(half):
                    size[side * half + t] = (
                        abs(residual[side, t]) if weight[i, side, t] > min_weight else max_noise)
            noise = min(max(f4(1.4826) * _ordered(size, valid // 2), min_noise), max_noise)
            cut, total = max(cut_sigmas * noise, min_cut), ZERO
            for side in range(2):
                for t in range(half):
                    scaled = max(residual[side, t] / front, residual[side, t]) / cut
                    known = weight[i, side, t] if weight[i, side, t] > min_weight else ZERO
                    information[side, t] = (known * math.exp(LOG_QUARTER * scaled * scaled)
                                            / (noise * noise))
                    weighted[side, t] = information[side, t] * residual[side, t]
                    total += information[side, t]
            _onto_modes(weighted, jacobian, gradient)
            for side in range(2):
                for k in range(modes):
                    gradient[side, k] -= found[i, side, k]
                    preconditioner[side, k] = ONE / (ONE + total * square[side, k])
            _solve(information, gradient, preconditioner, jacobian, solver_steps, tiny, found[i],
                   residual)
    return found


@compiled_sums
def _solve(information, gradient, preconditioner, jacobian, steps, tiny, coefficients, distance):
    """Add a Gauss-Newton step to coefficients (2, M), by some conjugate gradients.

    The motion of the triangles by this step is taken off the distances (2, H). The gradient is
    overwritten.
    """
    direction, onto = preconditioner * gradient, np.empty_like(gradient)
    motion, weighted = np.empty_like(distance), np.empty_like(distance)
    energy = _dot(gradient, direction)
    for remaining in range(steps - 1, -1, -1):
        _at_triangles(direction, jacobian, motion)
        for side in range(2):
            for t in range(motion.shape[1]):
                weighted[side, t] = information[side, t] * motion[side, t]
        length = energy / max(_dot(weighted, motion) + _dot(direction, direction), tiny)
        _add(length, direction, coefficients)
        _add(-length, motion, distance)
        if remaining:
            _onto_modes(weighted, jacobian, onto)
            _add(ONE, direction, onto)
            _add(-length, onto, gradient)
            before, energy = energy, ZERO
            for side in range(2):
                for k in range(gradient.shape[1]):
                    onto[side, k] = preconditioner[side, k] * gradient[side, k]
                    energy += gradient[side, k] * onto[side, k]
            for side in range(2):
                for k in range(gradient.shape[1]):
                    direction[side, k] = onto[side, k] + energy / max(
                        before, tiny) * direction[side, k]


@compiled_sums
def _at_triangles(coefficients, jacobian, found):
    """Write the displacements (2, H) of triangles by coefficients (2, M) to `found`."""
    for side in range(2):
        for t in range(found.shape[1]):
            found[side, t] = ZERO
        for k in range(jacobian.shape[1]):
            factor = coefficients[side, k]
            for t in range(found.shape[1]):
                found[side, t] += factor * jacobian[side, k, t]
    for t in range(found.shape[1]):  # sum and difference of even and odd modes
        even, odd = found[0, t], found[1, t]
        found[0, t], found[1, t] = even + odd, even - odd


@compiled_sums
def _onto_modes(values, jacobian, found):
    """Write the products (2, M) of modes and values (2, H) of triangles to `found`."""
    for k in range(jacobian.shape[1]):
        even, odd = ZERO, ZERO
        for t in range(values.shape[1]):
            even += jacobian[0, k, t] * (values[0, t] + values[1, t])
            odd += jacobian[1, k, t] * (values[0, t] - values[1, t])
        found[0, k], found[1, k] = even, odd


@compiled_sums
def _ordered(values, rank):
    """Return the value (K,) with this rank, 0 the least; they are finite and not negative.

    Such floats are in the order of their bits, so bisection finds the value itself.
    """
    bits, found = values.view(np.int32), np.empty(1, np.int32)
    low, high = 0, bits[0]
    for value in bits:
        high = max(high, value)
    while low < high:
        middle, below = (low + high) // 2, 0
        for value in bits:
            below += value <= middle
        if below > rank:
            high = middle
        else:
            low = middle + 1
    found[0] = low
    return found.view(f4)[0]


@compiled_sums
def _add(factor, values, total):
    """Add values (2, K) times a factor to a total (2, K)."""
    for side in range(2):
        for k in range(values.shape[1]):
            total[side, k] += factor * values[side, k]


@compiled_sums
def _dot(a, b):
    """Return the sum of the products of (2, K) and (2, K)."""
    total = ZERO
    for side in range(2):
        for k in range(a.shape[1]):
            total += a[side, k] * b[side, k]
    return total
