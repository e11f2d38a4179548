# SPDX-License-Identifier: Apache-2.0
"""The fit of surface modes, as :class:`depthface_ros.estimation.surface.SurfaceDetail` defines it.

Arrays are float32 and in C order. Values of triangles are (2 H,): left half, right half.
Coefficients are (2 M,): even modes, odd modes.
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
    """Return the most probable coefficients (N, 2 M) for distances (N, 2 H) m.

    :param weight: (N, 2 H). :param jacobian: (2, M, H) metres. :param square: (2 M,) m^2, the mean
        squares of the jacobian over all triangles.
    :param min_cuts: (I,) metres, for each iteration.
    :param limits: (7,) least weight of a triangle, least number of triangles, cut in sigmas, its
        share in front of the face, least and largest noise (m), and least divisor.
    """
    min_weight, min_count, cut_sigmas, front, min_noise, max_noise, tiny = limits
    count, triangles = distance.shape
    found = np.zeros((count, len(square)), f4)
    size, known, information = (np.empty(triangles, f4), np.empty(triangles, f4),
                                np.empty(triangles, f4))
    gradient, preconditioner = np.empty(len(square), f4), np.empty(len(square), f4)
    for i in range(count):
        residual, coefficients, valid = distance[i].copy(), found[i], 0
        for t in range(triangles):
            known[t] = weight[i, t] if weight[i, t] > min_weight else ZERO
            valid += known[t] > 0
        if valid < min_count:
            continue
        for min_cut in min_cuts:
            for t in range(triangles):
                size[t] = abs(residual[t]) if known[t] > 0 else max_noise
            noise = min(max(f4(1.4826) * _ordered(size, valid // 2), min_noise), max_noise)
            cut, total = max(cut_sigmas * noise, min_cut), ZERO
            for t in range(triangles):
                scaled = max(residual[t] / front, residual[t]) / cut
                information[t] = (known[t] * math.exp(LOG_QUARTER * scaled * scaled)
                                  / (noise * noise))
                total += information[t]
                size[t] = information[t] * residual[t]
            _onto_modes(size, jacobian, gradient)
            for k in range(len(square)):
                gradient[k] -= coefficients[k]
                preconditioner[k] = ONE / (ONE + total * square[k])
            _solve(information, gradient, preconditioner, jacobian, solver_steps, tiny,
                   coefficients, residual)
    return found


@compiled_sums
def _solve(information, gradient, preconditioner, jacobian, steps, tiny, coefficients, distance):
    """Add a Gauss-Newton step to coefficients (2 M,), by some conjugate gradients.

    The motion of the triangles by this step is taken off the distances (2 H,). The gradient is
    overwritten.
    """
    direction, onto = preconditioner * gradient, np.empty_like(gradient)
    motion, weighted = np.empty_like(distance), np.empty_like(distance)
    energy = _dot(gradient, direction)
    for remaining in range(steps - 1, -1, -1):
        _at_triangles(direction, jacobian, motion)
        for t in range(len(motion)):
            weighted[t] = information[t] * motion[t]
        length = energy / max(_dot(weighted, motion) + _dot(direction, direction), tiny)
        _add(length, direction, coefficients)
        _add(-length, motion, distance)
        if remaining:
            _onto_modes(weighted, jacobian, onto)
            _add(ONE, direction, onto)
            _add(-length, onto, gradient)
            for k in range(len(gradient)):
                onto[k] = preconditioner[k] * gradient[k]
            before, energy = energy, _dot(gradient, onto)
            _add(energy / max(before, tiny), direction, onto)
            direction, onto = onto, direction


@compiled_sums
def _at_triangles(coefficients, jacobian, found):
    """Write the displacements (2 H,) of triangles by coefficients (2 M,) to `found`."""
    _, modes, half = jacobian.shape
    for t in range(len(found)):
        found[t] = ZERO
    for side in range(2):
        values = found[side * half:(side + 1) * half]
        for k in range(modes):
            factor = coefficients[side * modes + k]
            for t in range(half):
                values[t] += factor * jacobian[side, k, t]
    for t in range(half):  # sum and difference of even and odd modes
        even, odd = found[t], found[half + t]
        found[t], found[half + t] = even + odd, even - odd


@compiled_sums
def _onto_modes(values, jacobian, found):
    """Write the products (2 M,) of modes and values (2 H,) of triangles to `found`."""
    _, modes, half = jacobian.shape
    left, right = values[:half], values[half:]
    for side, both in enumerate((left + right, left - right)):
        for k in range(modes):
            total = ZERO
            for t in range(half):
                total += jacobian[side, k, t] * both[t]
            found[side * modes + k] = total


@compiled_sums
def _ordered(values, rank):
    """Return the value (K,) with this rank, 0 the least; they are finite and not negative.

    Such floats are in the order of their bits, so bisection finds the value itself.
    """
    bits, found = values.view(np.int32), np.empty(1, np.int32)
    low, high = 0, 0x7f800000  # of infinity
    while low < high:
        middle, below = (low + high) // 2, 0
        for k in range(len(bits)):
            below += bits[k] <= middle
        if below > rank:
            high = middle
        else:
            low = middle + 1
    found[0] = low
    return found.view(f4)[0]


@compiled_sums
def _add(factor, values, total):
    """Add values (K,) times a factor to a total (K,)."""
    for k in range(len(values)):
        total[k] += factor * values[k]


@compiled_sums
def _dot(a, b):
    """Return the inner product of (K,) and (K,)."""
    total = ZERO
    for k in range(len(a)):
        total += a[k] * b[k]
    return total
