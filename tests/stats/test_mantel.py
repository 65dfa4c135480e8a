"""Mantel's test against naive loops, scipy, known extremes, and its own null hypothesis."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.errors import DataError, UsageError
from actsim.stats.correlation import partial_spearman
from actsim.stats.mantel import mantel, mantel_replicates, partial_mantel


def symmetric(things: int, rng: np.random.Generator, levels: int | None = None) -> np.ndarray:
    values = rng.standard_normal((things, things)) if levels is None else rng.integers(0, levels, (things, things))
    return np.triu(values.astype(float)) + np.triu(values, 1).T


def cells(matrix: np.ndarray, diagonal: bool = False) -> np.ndarray:
    things = len(matrix)
    return np.array([matrix[i, j] for i in range(things) for j in range(i + (not diagonal), things)])


def naive(a: np.ndarray, b: np.ndarray, diagonal: bool) -> tuple[float, float]:
    """ρ, and p over every order of the things, one after the other."""
    rho = scipy.stats.spearmanr(cells(a, diagonal), cells(b, diagonal)).statistic
    found = []
    for order in itertools.permutations(range(len(a))):
        turned = np.array([[a[i, j] for j in order] for i in order])
        found.append(scipy.stats.spearmanr(cells(turned, diagonal), cells(b, diagonal)).statistic)
    return rho, float(np.mean([one >= rho - 1e-9 for one in found]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 5), st.booleans(), st.sampled_from([None, 3, 6]))
def test_few_things_are_tried_in_every_order(seed, things, diagonal, levels):
    rng = np.random.default_rng(seed)
    a, b = symmetric(things, rng, levels), symmetric(things, rng)
    found = mantel(a, b, rng=rng, diagonal=diagonal)
    if np.ptp(cells(a, diagonal)) == 0:
        assert math.isnan(found.rho) and math.isnan(found.p)
        return
    rho, p = naive(a, b, diagonal)
    assert found.exact and found.permutations == math.factorial(things)
    assert found.rho == pytest.approx(rho, abs=1e-12) and found.p == pytest.approx(p, abs=1e-12)


def test_drawn_orders_come_close_to_all_of_them():
    rng = np.random.default_rng(5)
    a, b = symmetric(6, rng), symmetric(6, rng)
    drawn = mantel(a, b, rng=rng, permutations=600)
    exact = mantel(a, b, rng=rng, permutations=719)
    assert exact.exact and not drawn.exact and drawn.permutations == 601
    assert drawn.rho == exact.rho
    assert abs(drawn.p - exact.p) < 4 * math.sqrt(exact.p * (1 - exact.p) / 600)


def test_p_is_about_uniform_where_the_names_mean_nothing():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found.append(mantel(symmetric(8, rng), symmetric(8, rng), rng=rng, permutations=99).p)
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_what_is_alike_has_the_smallest_p_and_what_is_opposite_the_largest():
    rng = np.random.default_rng(1)
    a = symmetric(9, rng)
    alike, opposite = mantel(a, np.exp(a), rng=rng, permutations=499), mantel(a, -a, rng=rng, permutations=499)
    assert alike.rho == pytest.approx(1) and alike.p == 1 / 500
    assert opposite.rho == pytest.approx(-1) and opposite.p == 1


def test_the_diagonal_counts_only_when_asked_for():
    rng = np.random.default_rng(2)
    a, b = symmetric(5, rng), symmetric(5, rng)
    changed = a + 100 * np.diag(rng.standard_normal(5))
    assert mantel(a, b, rng=rng) == mantel(changed, b, rng=rng)
    assert mantel(a, b, rng=rng, diagonal=True).rho != mantel(changed, b, rng=rng, diagonal=True).rho


@pytest.mark.parametrize("seed", range(10))
def test_a_matrix_held_constant_is_a_partial_correlation_of_cells(seed):
    rng = np.random.default_rng(seed)
    held = symmetric(7, rng)
    a, b = symmetric(7, rng) + held, symmetric(7, rng) + held
    found = partial_mantel(a, b, held, rng=rng, permutations=9)
    assert found.rho == pytest.approx(partial_spearman(cells(a), cells(b), cells(held)[:, None]), abs=1e-10)


def test_holding_the_common_cause_constant_takes_the_correlation_away():
    rng = np.random.default_rng(3)
    held = symmetric(12, rng)
    a, b = (held + 0.5 * symmetric(12, rng) for _ in range(2))
    assert mantel(a, b, rng=rng, permutations=199).p == 1 / 200
    assert partial_mantel(a, b, held, rng=rng, permutations=199).p > 0.05
    direct = a + 0.2 * symmetric(12, rng)
    assert partial_mantel(a, direct, held, rng=rng, permutations=199).p == 1 / 200


def test_nothing_is_left_where_the_matrix_held_is_one_of_the_two():
    rng = np.random.default_rng(3)
    a, b = symmetric(5, rng), symmetric(5, rng)
    assert math.isnan(partial_mantel(a, b, b, rng=rng).rho)


@pytest.mark.parametrize("diagonal", [False, True])
def test_replicates_are_correlations_one_by_one(diagonal):
    rng = np.random.default_rng(4)
    stack, other = np.stack([symmetric(6, rng, 4) for _ in range(5)]), symmetric(6, rng)
    want = [scipy.stats.spearmanr(cells(one, diagonal), cells(other, diagonal)).statistic for one in stack]
    np.testing.assert_allclose(mantel_replicates(stack, other[None], diagonal=diagonal), want, atol=1e-12)
    np.testing.assert_allclose(mantel_replicates(stack, stack, diagonal=diagonal), 1)


@pytest.mark.parametrize("fill", [0.3, math.nan])
def test_a_matrix_without_an_order_has_no_correlation(fill):
    rng = np.random.default_rng(4)
    flat = np.full((4, 4), fill)
    assert math.isnan(mantel(flat, symmetric(4, rng), rng=rng).p)


def test_two_things_have_no_correlation():
    rng = np.random.default_rng(4)
    assert math.isnan(mantel(symmetric(2, rng), symmetric(2, rng), rng=rng).rho)


def test_bad_matrices_are_refused():
    rng = np.random.default_rng(4)
    with pytest.raises(DataError, match="of one size"):
        mantel(symmetric(3, rng), symmetric(4, rng), rng=rng)
    with pytest.raises(DataError, match="symmetric"):
        mantel(np.arange(9.0).reshape(3, 3), symmetric(3, rng), rng=rng)
    with pytest.raises(UsageError, match="at least 1"):
        mantel(symmetric(3, rng), symmetric(3, rng), rng=rng, permutations=0)
