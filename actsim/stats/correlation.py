"""Correlations of a column of scores with the gold scores, and partial Spearman correlations.

A cell that is NaN is missing: a pair of columns is correlated over the rows where both are defined. A correlation
that is undefined (fewer than two rows, a constant column) is NaN.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

COLLINEAR_TOLERANCE = 1e-8
"""About the square root of the float64 rounding unit. Directions in which standardised covariates keep less than this
share of the largest variance count as collinear, and a residual with less than this share of its column's variance
counts as constant."""


def complete_rows(*columns: Float[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    """Mask [rows] of the rows in which no column is NaN."""
    return ~np.any([np.isnan(column) for column in columns], axis=0)


def _correlatable(
    x: Float[np.ndarray, " rows"], y: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, " kept"], Float[np.ndarray, " kept"]] | None:
    """The rows where both are defined, or None when no correlation is defined on them."""
    kept = complete_rows(x, y)
    x, y = x[kept], y[kept]
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return None
    return x, y


def spearman(x: Float[np.ndarray, " rows"], y: Float[np.ndarray, " rows"]) -> float:
    """Spearman's ρ: Pearson's r of the mid-ranks. Source: ``scipy.stats.spearmanr``."""
    columns = _correlatable(x, y)
    return math.nan if columns is None else float(scipy.stats.spearmanr(*columns).statistic)


def pearson(x: Float[np.ndarray, " rows"], y: Float[np.ndarray, " rows"]) -> float:
    """Pearson's r = Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²). Source: ``scipy.stats.pearsonr``."""
    columns = _correlatable(x, y)
    return math.nan if columns is None else float(scipy.stats.pearsonr(*columns).statistic)


def kendall(x: Float[np.ndarray, " rows"], y: Float[np.ndarray, " rows"]) -> float:
    """Kendall's τ-b, corrected for ties. Source: ``scipy.stats.kendalltau``."""
    columns = _correlatable(x, y)
    return math.nan if columns is None else float(scipy.stats.kendalltau(*columns, variant="b").statistic)


def partial_spearman(
    x: Float[np.ndarray, " rows"], y: Float[np.ndarray, " rows"], covariates: Float[np.ndarray, "rows covariates"]
) -> float:
    """Spearman's ρ of x and y with the covariates held constant.

    Mid-ranks of x and y are regressed, with an intercept, on the mid-ranks of the covariates (a binary covariate is a
    covariate like any other); the result is Pearson's r of the two residuals. Constant covariates explain nothing and
    are left out; of collinear ones only the common directions count (COLLINEAR_TOLERANCE). Rows with a NaN in any of
    the columns are left out. NaN where a residual is constant.
    """
    kept = complete_rows(x, y, *covariates.T)
    if kept.sum() < 2:
        return math.nan
    centred = [_centred_ranks(column[kept]) for column in (x, y, *covariates.T)]
    lengths = [np.linalg.norm(column) for column in centred]
    if lengths[0] == 0 or lengths[1] == 0:
        return math.nan
    units = [column / length for column, length in zip(centred, lengths, strict=True) if length > 0]
    residual_x, residual_y = _residuals(np.stack(units[:2], axis=1), np.stack(units, axis=1)[:, 2:]).T
    variance_x, variance_y = residual_x @ residual_x, residual_y @ residual_y
    if min(variance_x, variance_y) <= COLLINEAR_TOLERANCE:
        return math.nan
    return float(np.clip(residual_x @ residual_y / math.sqrt(variance_x * variance_y), -1, 1))


def _centred_ranks(column: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Mid-ranks minus their mean (n + 1) / 2; exact, so a constant column gives exact zeros."""
    return scipy.stats.rankdata(column) - (len(column) + 1) / 2


def _residuals(
    targets: Float[np.ndarray, "rows targets"], units: Float[np.ndarray, "rows covariates"]
) -> Float[np.ndarray, "rows targets"]:
    """What the projection on the columns of ``units`` (centred, of length 1) leaves of the targets."""
    if units.shape[1] == 0:
        return targets
    basis, singular, _ = np.linalg.svd(units, full_matrices=False)
    basis = basis[:, singular**2 > COLLINEAR_TOLERANCE * singular[0] ** 2]
    return targets - basis @ (basis.T @ targets)
