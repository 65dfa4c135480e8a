import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actsim.stats.correlation import kendall, partial_spearman, pearson, spearman

TIED = st.integers(0, 4).map(float)


@st.composite
def tied_table(draw, columns):
    """A table [rows, columns] of few distinct values, so that ties and constant columns are common."""
    rows = draw(st.integers(3, 25))
    return draw(hnp.arrays(np.float64, (rows, columns), elements=TIED))


def naive_partial(x, y, covariates):
    """Residuals of least squares with an explicit intercept, then Pearson's r of the residuals."""
    design = np.column_stack([np.ones(len(x)), *(scipy.stats.rankdata(column) for column in covariates.T)])
    residuals = []
    for target in (scipy.stats.rankdata(x), scipy.stats.rankdata(y)):
        residual = target - design @ np.linalg.lstsq(design, target, rcond=1e-10)[0]
        total = ((target - target.mean()) ** 2).sum()
        if total == 0 or (residual**2).sum() < 1e-8 * total:
            return math.nan
        residuals.append(residual)
    return np.corrcoef(*residuals)[0, 1]


@given(tied_table(2))
def test_correlations_agree_with_scipy_under_ties(table):
    x, y = table.T
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y)[0], abs=1e-12)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y)[0], abs=1e-12)
    assert kendall(x, y) == pytest.approx(scipy.stats.kendalltau(x, y)[0], abs=1e-12)


@pytest.mark.parametrize("correlation", [spearman, pearson, kendall])
def test_undefined_correlations_are_nan_without_a_warning(correlation, recwarn):
    varied = np.array([1.0, 2.0, 3.0])
    assert math.isnan(correlation(varied, np.ones(3)))
    assert math.isnan(correlation(np.ones(3), varied))
    assert math.isnan(correlation(varied[:1], varied[:1]))
    assert math.isnan(correlation(varied, np.array([1.0, math.nan, math.nan])))
    assert len(recwarn) == 0


@pytest.mark.parametrize("correlation", [spearman, pearson, kendall])
def test_a_missing_cell_leaves_its_row_out_and_no_other(correlation):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30))
    x[[3, 17]] = math.nan
    y[5] = math.nan
    kept = np.setdiff1d(np.arange(30), [3, 5, 17])
    assert correlation(x, y) == correlation(x[kept], y[kept])


@given(tied_table(4))
def test_partial_spearman_equals_least_squares_with_an_intercept(table):
    got = partial_spearman(table[:, 0], table[:, 1], table[:, 2:])
    assert got == pytest.approx(naive_partial(table[:, 0], table[:, 1], table[:, 2:]), abs=1e-9, nan_ok=True)


def test_partial_spearman_of_one_covariate_has_the_textbook_form():
    rng = np.random.default_rng(1)
    z = rng.normal(size=200)
    x, y = z + rng.normal(size=(2, 200))
    xy, xz, yz = spearman(x, y), spearman(x, z), spearman(y, z)
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, z[:, None]) == pytest.approx(expected, abs=1e-12)
    assert expected < xy - 0.1


@given(tied_table(3))
def test_partial_spearman_without_information_in_the_covariates_is_spearman(table):
    x, y, _ = table.T
    constant = np.full((len(x), 2), 7.0)
    plain = pytest.approx(spearman(x, y), abs=1e-12, nan_ok=True)
    assert partial_spearman(x, y, constant) == plain
    assert partial_spearman(x, y, constant[:, :0]) == plain


@settings(max_examples=50)
@given(tied_table(4))
def test_collinear_covariates_count_once(table):
    x, y, z, other = table.T
    once = partial_spearman(x, y, np.column_stack([z, other]))
    repeated = partial_spearman(x, y, np.column_stack([z, other, -z, 2 * other + 1, z]))
    assert repeated == pytest.approx(once, abs=1e-9, nan_ok=True)


def test_partial_spearman_is_undefined_when_a_covariate_explains_a_column_fully():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 50))
    assert math.isnan(partial_spearman(x, y, np.exp(x)[:, None]))
    assert math.isnan(partial_spearman(x, y, np.column_stack([rng.normal(size=50), -y])))


@given(tied_table(4))
def test_rank_correlations_do_not_change_under_increasing_transforms(table):
    x, y = table[:, 0], table[:, 1]
    covariates = table[:, 2:]
    assert spearman(np.exp(x), y**3) == pytest.approx(spearman(x, y), abs=1e-12, nan_ok=True)
    transformed = partial_spearman(np.exp(x), y**3, np.exp(covariates))
    assert transformed == pytest.approx(partial_spearman(x, y, covariates), abs=1e-12, nan_ok=True)


def test_partial_spearman_leaves_incomplete_rows_out():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(40, 4))
    table[4, 0] = table[9, 1] = table[20, 3] = math.nan
    kept = table[~np.isnan(table).any(axis=1)]
    assert len(kept) == 37
    assert partial_spearman(table[:, 0], table[:, 1], table[:, 2:]) == partial_spearman(
        kept[:, 0], kept[:, 1], kept[:, 2:]
    )
