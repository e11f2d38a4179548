# SPDX-License-Identifier: Apache-2.0
"""Assignment of rows to columns at the least total cost."""
from __future__ import annotations

import numpy as np


def match_pairs(distance: np.ndarray, reach: np.ndarray) -> dict[int, int]:
    """Return a map from rows to columns of least cost; a row without a column costs its reach.

    So no pair is further apart than the reach of its row, and no good pair is broken up for a bad
    one.

    :param distance: (N, M) from N rows to M columns.
    :param reach: (N,)
    """
    if not distance.size:
        return {}
    nearest = distance.argmin(axis=1)
    pairs = {row: column for row, column in enumerate(nearest.tolist())
             if distance[row, column] <= reach[row]}
    if len(set(pairs.values())) == len(pairs):
        return pairs  # no conflict
    alone = np.where(np.eye(len(distance), dtype=bool), reach[:, None], np.inf)
    columns = assign(np.concatenate([distance, alone], axis=1))
    return {row: column for row, column in enumerate(columns.tolist())
            if column < distance.shape[1]}


def assign(cost: np.ndarray) -> np.ndarray:
    """Return the column (N,) of each row, all different, with the least sum of costs.

    Rows are added one by one along the shortest augmenting path to a free column; reduced costs
    stay >= 0 (Jonker and Volgenant 1987, 'A shortest augmenting path algorithm for dense and
    sparse linear assignment problems').

    :param cost: (N, M) with N <= M; inf where a row must not have a column. Each row needs a
        finite column that no other row can take.
    """
    rows, columns = cost.shape
    row_of = np.full(columns, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    for new in range(rows):
        path = np.full(columns, np.inf)  # its length to each column
        before = np.full(columns, -1)  # the column that it comes through; -1: from the new row
        done = np.zeros(columns, bool)
        row, column, length = new, -1, 0.0
        while True:
            through = length + cost[row] - row_price[row] - column_price
            shorter = ~done & (through < path)
            path[shorter], before[shorter] = through[shorter], column
            column = int(np.argmin(np.where(done, np.inf, path)))
            length, row = path[column], row_of[column]
            if row < 0:
                break
            done[column] = True
        row_price[new] += length
        row_price[row_of[done]] += length - path[done]
        column_price[done] -= length - path[done]
        while column >= 0:
            row_of[column] = new if before[column] < 0 else row_of[before[column]]
            column = before[column]
    return np.array([np.flatnonzero(row_of == row)[0] for row in range(rows)], int)
