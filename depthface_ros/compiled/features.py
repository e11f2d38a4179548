# SPDX-License-Identifier: Apache-2.0
"""Input of the refiner, and calibration of its expressions. Arrays are float32 and in C order."""
from __future__ import annotations

import math

import numpy as np

from depthface_ros.compiled import compiled, compiled_sums

f4 = np.float32
ZERO, ONE = f4(0), f4(1)


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
