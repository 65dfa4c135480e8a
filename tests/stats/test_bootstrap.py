import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actsim.errors import DataError, UsageError
from actsim.stats import bootstrap
from actsim.stats.bootstrap import (
    bootstrap_partial_spearman,
    bootstrap_spearman,
    paired_difference,
    percentile_interval,
)
from actsim.stats.correlation import partial_spearman, spearman

RESAMPLES = 20


@st.composite
def tables(draw, columns, missing=False):
    """A table [rows, columns] of few distinct values; ties, constant columns and (if asked for) NaN are common."""
    rows = draw(st.integers(1, 20))
    elements = st.sampled_from([0.0, 1.0, 2.0, 2.5, -3.0] + [math.nan] * missing)
    return draw(hnp.arrays(np.float64, (rows, columns), elements=elements))


def rows_of_resamples(n, resamples, seed):
    """The rows drawn in every resample: as many uniform draws with replacement as there are rows."""
    return np.random.default_rng(seed).integers(n, size=(resamples, n))


def naive_bootstrap(scores, gold, seed):
    drawn = rows_of_resamples(len(gold), RESAMPLES, seed)
    return np.array([[spearman(column[rows], gold[rows]) for column in scores.T] for rows in drawn])


@settings(max_examples=60, deadline=None)
@given(tables(4), st.integers(0, 2**32))
def test_replicates_equal_scipy_on_the_materialised_resamples(table, seed):
    gold, scores = table[:, 0], table[:, 1:]
    got = bootstrap_spearman(scores, gold, resamples=RESAMPLES, rng=np.random.default_rng(seed))
    np.testing.assert_allclose(got, naive_bootstrap(scores, gold, seed), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(tables(4, missing=True), st.integers(0, 2**32))
def test_replicates_with_missing_cells_equal_scipy_on_the_defined_rows(table, seed):
    gold, scores = np.nan_to_num(table[:, 0], nan=9.0), table[:, 1:]
    got = bootstrap_spearman(scores, gold, resamples=RESAMPLES, rng=np.random.default_rng(seed))
    np.testing.assert_allclose(got, naive_bootstrap(scores, gold, seed), rtol=0, atol=1e-12)


def test_replicates_of_many_pairs_equal_scipy():
    rng = np.random.default_rng(5)
    gold = np.round(rng.normal(size=3000), 1)
    scores = gold[:, None] + rng.normal(size=(3000, 3))
    scores[:, 1] = np.round(scores[:, 1])
    got = bootstrap_spearman(scores, gold, resamples=RESAMPLES, rng=np.random.default_rng(0))
    np.testing.assert_allclose(got, naive_bootstrap(scores, gold, 0), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(tables(5, missing=True), st.integers(0, 2**32))
def test_partial_replicates_equal_residuals_on_the_materialised_resamples(table, seed):
    x, y, covariates = table[:, 0], table[:, 1], table[:, 2:]
    got = bootstrap_partial_spearman(x, y, covariates, resamples=RESAMPLES, rng=np.random.default_rng(seed))
    drawn = rows_of_resamples(len(x), RESAMPLES, seed)
    expected = [partial_spearman(x[rows], y[rows], covariates[rows]) for rows in drawn]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_partial_replicates_with_constant_and_collinear_covariates_equal_those_without():
    rng = np.random.default_rng(6)
    z = rng.normal(size=60)
    x, y = z + rng.normal(size=(2, 60))
    flag = (rng.random(60) < 0.5).astype(float)
    needed = np.column_stack([z, flag])
    padded = np.column_stack([np.full(60, 3.0), z, flag, np.exp(z), 1 - flag])
    lean, rich = (
        bootstrap_partial_spearman(x, y, covariates, resamples=200, rng=np.random.default_rng(1))
        for covariates in (needed, padded)
    )
    assert not np.isnan(lean).any()
    np.testing.assert_allclose(rich, lean, rtol=0, atol=1e-9)


def test_a_covariate_constant_in_some_resamples_drops_out_of_those():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 12))
    rare = np.zeros(12)
    rare[4] = 1.0
    got = bootstrap_partial_spearman(x, y, rare[:, None], resamples=100, rng=np.random.default_rng(2))
    without = np.array([4 not in rows for rows in rows_of_resamples(12, 100, 2)])
    assert without.any()
    plain = bootstrap_spearman(x[:, None], y, resamples=100, rng=np.random.default_rng(2))[:, 0]
    np.testing.assert_allclose(got[without], plain[without], rtol=0, atol=1e-12)
    assert not np.isnan(got).any()


@pytest.mark.parametrize("others", [0, 1, 3])
def test_partial_replicates_are_undefined_when_a_covariate_explains_the_scores(others):
    x, y, *rest = np.random.default_rng(8).normal(size=(2 + others, 40))
    covariates = np.column_stack([*rest, np.exp(x)])
    for targets in ((x, y), (y, x)):
        got = bootstrap_partial_spearman(*targets, covariates, resamples=50, rng=np.random.default_rng(0))
        assert np.isnan(got).all()


def test_replicates_do_not_change_under_increasing_transforms():
    rng = np.random.default_rng(9)
    gold = np.round(rng.normal(size=50), 1)
    scores = np.round(gold[:, None] + rng.normal(size=(50, 2)), 1)
    one = bootstrap_spearman(scores, gold, resamples=50, rng=np.random.default_rng(3))
    other = bootstrap_spearman(np.exp(scores), gold**3, resamples=50, rng=np.random.default_rng(3))
    assert np.array_equal(one, other)


def test_replicates_do_not_depend_on_chunks_or_on_the_other_columns(monkeypatch):
    rng = np.random.default_rng(10)
    gold = rng.normal(size=37)
    scores = np.round(gold[:, None] + rng.normal(size=(37, 5)), 1)
    scores[3, 2] = math.nan
    whole = bootstrap_spearman(scores, gold, resamples=101, rng=np.random.default_rng(4))
    alone = bootstrap_spearman(scores[:, [2]], gold, resamples=101, rng=np.random.default_rng(4))
    assert np.array_equal(alone[:, 0], whole[:, 2])
    for cells in (1, 37 * 7):
        monkeypatch.setattr(bootstrap, "CELLS_PER_CHUNK", cells)
        assert np.array_equal(bootstrap_spearman(scores, gold, resamples=101, rng=np.random.default_rng(4)), whole)


def test_perfectly_ordered_columns_have_replicates_of_exactly_one():
    gold = np.arange(30.0)
    scores = np.column_stack([gold, -gold])
    got = bootstrap_spearman(scores, gold, resamples=50, rng=np.random.default_rng(0))
    assert (got[:, 0] == 1).all()
    assert (got[:, 1] == -1).all()


def test_the_difference_of_identical_columns_is_exactly_zero():
    rng = np.random.default_rng(11)
    gold = rng.normal(size=80)
    column = gold + rng.normal(size=80)
    replicates = bootstrap_spearman(
        np.column_stack([column, rng.normal(size=80), column]), gold, resamples=200, rng=np.random.default_rng(5)
    )
    interval = paired_difference(replicates[:, 0], replicates[:, 2])
    assert (interval.low, interval.high) == (0, 0)
    other = paired_difference(replicates[:, 0], replicates[:, 1])
    assert other.low < other.high


def test_intervals_cover_the_true_correlation_as_often_as_they_say():
    pearson = 0.6
    true = 6 / math.pi * math.asin(pearson / 2)
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(200):
        x = rng.normal(size=150)
        y = pearson * x + math.sqrt(1 - pearson**2) * rng.normal(size=150)
        interval = percentile_interval(bootstrap_spearman(x[:, None], y, resamples=300, rng=rng)[:, 0], 0.9)
        covered += interval.low <= true <= interval.high
    assert 0.83 <= covered / 200 <= 0.95


def test_paired_intervals_cover_a_true_difference_of_zero_and_are_not_too_wide():
    rng = np.random.default_rng(13)
    covered = 0
    for _ in range(200):
        gold = rng.normal(size=120)
        shared = gold + rng.normal(size=120)
        scores = shared[:, None] + 0.5 * rng.normal(size=(120, 2))
        replicates = bootstrap_spearman(scores, gold, resamples=300, rng=rng)
        interval = paired_difference(replicates[:, 0], replicates[:, 1], 0.9)
        covered += interval.low <= 0 <= interval.high
    assert 0.83 <= covered / 200 <= 0.96


def test_partial_intervals_cover_a_true_partial_correlation_of_zero():
    rng = np.random.default_rng(14)
    covered = 0
    for _ in range(200):
        z = rng.normal(size=120)
        x, y = 0.5 * z + rng.normal(size=(2, 120))
        replicates = bootstrap_partial_spearman(x, y, z[:, None], resamples=300, rng=rng)
        interval = percentile_interval(replicates, 0.9)
        covered += interval.low <= 0 <= interval.high
    assert 0.83 <= covered / 200 <= 0.96


def test_the_interval_holds_the_asked_share_of_the_replicates():
    interval = percentile_interval(np.arange(1001.0), 0.9)
    assert interval == pytest.approx((50, 950, 1001, 1001))


def test_undefined_replicates_are_left_out_and_counted():
    replicates = np.concatenate([np.arange(101.0), np.full(100, math.nan)])
    interval = percentile_interval(replicates, 0.5)
    assert interval == pytest.approx((25, 75, 101, 201))


@pytest.mark.parametrize("defined", [0, 99])
def test_an_interval_of_fewer_than_half_the_replicates_is_undefined(defined):
    replicates = np.concatenate([np.arange(float(defined)), np.full(200 - defined, math.nan)])
    interval = percentile_interval(replicates)
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert (interval.defined, interval.resamples) == (defined, 200)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.5, math.nan])
def test_an_impossible_level_is_refused(level):
    with pytest.raises(UsageError, match="level"):
        percentile_interval(np.arange(10.0), level)


@pytest.mark.parametrize("resamples", [0, -1])
def test_an_impossible_number_of_resamples_is_refused(resamples):
    column = np.arange(5.0)
    with pytest.raises(UsageError, match="resamples"):
        bootstrap_spearman(column[:, None], column, resamples=resamples, rng=np.random.default_rng(0))
    with pytest.raises(UsageError, match="resamples"):
        bootstrap_partial_spearman(column, column, column[:, None], resamples=resamples, rng=np.random.default_rng(0))


def test_gold_scores_that_are_not_finite_are_refused():
    gold = np.array([1.0, math.nan, 2.0])
    with pytest.raises(DataError, match="finite"):
        bootstrap_spearman(np.ones((3, 1)), gold, resamples=5, rng=np.random.default_rng(0))
