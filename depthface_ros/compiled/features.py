# SPDX-License-Identifier: Apache-2.0
"""Input and output of the refiner, and corrected poses. Arrays are float32 and in C order."""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled, compiled_sums

f4 = np.float32
ZERO, ONE = f4(0), f4(1)


@compiled
def corrected(a_from_b, vectors, translations):
    """Return poses (N, 4, 4) after rotations by vectors (N, 3) rad and translations (N, 3) m in b.

    Rodrigues' formula, as :func:`depthface_ros.geometry.rotations.rotation_from_vector`.
    """
    found, turn = a_from_b.copy(), np.empty((3, 3), np.float64)
    for i in range(len(a_from_b)):
        x, y, z = np.float64(vectors[i, 0]), np.float64(vectors[i, 1]), np.float64(vectors[i, 2])
        half = 0.5 * math.sqrt(x * x + y * y + z * z)
        sinc = math.sin(half) / half if half > 1e-12 else 1.0
        a, b = sinc * math.cos(half), sinc * sinc / 2
        turn[0, 0], turn[0, 1] = 1 - b * (y * y + z * z), b * x * y - a * z
        turn[0, 2], turn[1, 0] = b * x * z + a * y, b * x * y + a * z
        turn[1, 1], turn[1, 2] = 1 - b * (x * x + z * z), b * y * z - a * x
        turn[2, 0], turn[2, 1] = b * x * z - a * y, b * y * z + a * x
        turn[2, 2] = 1 - b * (x * x + y * y)
        for row in range(3):
            shift = 0.0
            for j in range(3):
                shift += a_from_b[i, row, j] * translations[i, j]
            found[i, row, 3] = a_from_b[i, row, 3] + shift
            for column in range(3):
                total = 0.0
                for j in range(3):
                    total += a_from_b[i, row, j] * turn[j, column]
                found[i, row, column] = total
    return found


@compiled_sums
def refiner_input(distances, weights, correction, camera_from_face, vertices, template, onto,
                  logs, expression, units):
    """Return the features (N, F) of :class:`depthface_ros.estimation.refinement.Refinement`.

    :param distances, weights: (N, T). :param correction: (N, P). :param vertices: (N, V, 3) m.
    :param onto: (K, V * 3). :param logs: (N, 2), of the sigmas. :param expression: (N, E).
    :param units: (3,) unit of distances in m, limit of distances in units, least expression.
    """
    count, size = distances.shape
    parameters, modes = correction.shape[1], len(onto)
    gap, limit, least = units
    after = 2 * size + parameters + modes
    found = np.empty((count, after + 6 + expression.shape[1]), f4)
    offsets, flat = np.empty(template.size, f4), template.reshape(-1)
    for i in range(count):
        mesh, row = vertices[i].reshape(-1), found[i]
        for t in range(size):
            row[t] = min(max(distances[i, t] / gap, -limit), limit) * weights[i, t]
            row[size + t] = weights[i, t]
        for p in range(parameters):
            row[2 * size + p] = correction[i, p]
        for k in range(len(flat)):
            offsets[k] = mesh[k] - flat[k]
        for mode in range(modes):
            total = ZERO
            for k in range(len(flat)):
                total += offsets[k] * onto[mode, k]
            row[2 * size + parameters + mode] = total
        square = ZERO
        for axis in range(3):
            total = ZERO
            for j in range(3):
                total -= camera_from_face[i, j, 3] * camera_from_face[i, j, axis]
            row[after + axis] = total
            square += total * total
        distance = math.sqrt(square)
        for axis in range(3):
            row[after + axis] /= distance
        row[after + 3] = math.log(distance)
        row[after + 4], row[after + 5] = logs[i, 0], logs[i, 1]
        for e in range(expression.shape[1]):
            value = min(max(expression[i, e], least), ONE - least)
            row[after + 6 + e] = math.log(value / (ONE - value))
    return found


@compiled_sums
def measured_regions(weights, regions, unmoved, symmetric, unmeasured, measured):
    """Return the factors (N, E) of :class:`MeasuredExpressions` for weights (N, T).

    :param regions: (2, E, T). :param unmoved: (2, E). :param symmetric: (E,) bool.
    """
    found = np.empty((len(weights), regions.shape[1]), f4)
    for i in range(len(weights)):
        for e in range(regions.shape[1]):
            left, right = unmoved[0, e], unmoved[1, e]
            for t in range(weights.shape[1]):
                left += weights[i, t] * regions[0, e, t]
                right += weights[i, t] * regions[1, e, t]
            share = max(left, right) if symmetric[e] else min(left, right)
            found[i, e] = min(max((share - unmeasured) / (measured - unmeasured), ZERO), ONE)
    return found


@compiled
def calibrated(expression, distance, nodes, gaps, first, steps):
    """Return expressions (N, E) and reliabilities (N, E) of :class:`CalibratedExpressions`.

    :param distance: (N,). :param nodes, gaps: (D,) m. :param first: (3 E,). :param steps: (D, 3 E).
    """
    size = expression.shape[1]
    found, reliability = np.empty_like(expression), np.empty_like(expression)
    row = np.empty(3 * size, f4)
    for i in range(len(expression)):
        for k in range(3 * size):
            row[k] = first[k]
        for node in range(len(nodes)):
            part = min(max((distance[i] - nodes[node]) / gaps[node], ZERO), ONE)
            for k in range(3 * size):
                row[k] += part * steps[node, k]
        for e in range(size):
            found[i, e] = min(max(row[size + e] + row[e] * expression[i, e], ZERO), ONE)
            reliability[i, e] = row[2 * size + e]
    return found, reliability
