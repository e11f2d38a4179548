# SPDX-License-Identifier: Apache-2.0
"""The cheapest pairs, compared with trying all of them."""
from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthface_ros.tracking.assignment import assign, match_pairs

COSTS = st.integers(0, 4).flatmap(lambda rows: st.integers(rows, 5).flatmap(
    lambda columns: hnp.arrays(float, (rows, columns), elements=st.integers(-3, 9))))


@given(COSTS)
def test_no_other_assignment_costs_less(cost):
    columns = assign(cost)
    assert len(set(columns.tolist())) == len(columns)
    rows = np.arange(len(cost))
    least = min(cost[rows, list(chosen)].sum()
                for chosen in permutations(range(cost.shape[1]), len(cost)))
    assert cost[rows, columns].sum() == least


def test_as_scipy_finds_it_for_many():
    optimize = pytest.importorskip('scipy.optimize')
    cost = np.random.default_rng(0).random((60, 80))
    rows, columns = optimize.linear_sum_assignment(cost)
    np.testing.assert_array_equal(assign(cost), columns[np.argsort(rows)])


def test_all_together_matter_not_the_nearest_pair():
    """The nearest pair would leave the other two far apart."""
    assert match_pairs(np.array([[2.0, 1.0], [5.0, 2.5]]), np.full(2, 10.0)) == {0: 0, 1: 1}


def test_pairs_are_within_reach_and_have_the_least_cost():
    assert match_pairs(np.array([[0.3]]), np.array([0.2])) == {}
    assert match_pairs(np.array([[0.0, 0.15], [0.1, 9.0]]), np.array([0.2, 0.2])) == {0: 0}


def test_empty_sets_have_no_pairs():
    assert match_pairs(np.zeros((0, 3)), np.zeros(0)) == match_pairs(np.zeros((3, 0)), np.ones(3)) == {}
