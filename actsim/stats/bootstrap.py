"""Bootstrap over pairs of Spearman correlations, every resample ranked anew.

A resample of n pairs is a vector of multiplicities w (how often each pair was drawn, Σ w = n), so nothing is sorted
more than once: with a column's tie groups in ascending order and W_g the cumulative multiplicity up to group g, the
mid-rank of the group in the resample is (W_{g-1} + W_g + 1) / 2. Twice the centred mid-rank, W_{g-1} + W_g − W_last,
is an integer, hence all sums of products below are exact in float64 up to 200 000 pairs: results do not depend on the
chunking or on the other columns, and equal columns have exactly equal replicates.

A NaN cell is missing: its row has multiplicity zero for that column (and for the gold beside it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from actsim.errors import DataError, UsageError
from actsim.stats.correlation import COLLINEAR_TOLERANCE, complete_rows

CELLS_PER_CHUNK = 2**16
"""Resamples are handled in chunks of about this many multiplicities (512 KiB of float64): the working set of a column
stays in the cache, and memory does not grow with the number of resamples."""


class Interval(NamedTuple):
    """A percentile interval; both ends are NaN when fewer than half of the replicates are defined."""

    low: float
    high: float
    defined: int
    """Replicates the interval rests on."""
    resamples: int
    """Replicates drawn; those beyond ``defined`` had no correlation (a constant column in the resample)."""


def check_level(level: float) -> None:
    """Raise UsageError unless the level of an interval is inside (0, 1)."""
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval must be between 0 and 1, got {level}; 0.95 is usual.")


def percentile_interval(replicates: Float[np.ndarray, " resamples"], level: float = 0.95) -> Interval:
    """The (1 − level) / 2 and (1 + level) / 2 quantiles of the defined (not NaN) replicates.

    Raises:
        UsageError: ``level`` is not inside (0, 1).
    """
    check_level(level)
    defined = replicates[~np.isnan(replicates)]
    if len(defined) == 0 or 2 * len(defined) < len(replicates):
        return Interval(math.nan, math.nan, len(defined), len(replicates))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(defined), len(replicates))


def paired_difference(
    replicates_a: Float[np.ndarray, " resamples"], replicates_b: Float[np.ndarray, " resamples"], level: float = 0.95
) -> Interval:
    """Percentile interval of a − b, resample by resample.

    Both must come from the same resamples: two columns of one ``bootstrap_spearman``, or two calls whose generators
    started in the same state. A resample counts where both are defined.
    """
    return percentile_interval(replicates_a - replicates_b, level)


def bootstrap_spearman(
    scores: Float[np.ndarray, "pairs columns"],
    gold: Float[np.ndarray, " pairs"],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resamples columns"]:
    """Spearman's ρ of every column with the gold in each resample; all columns share the resamples.

    Equal to ``scipy.stats.spearmanr`` on the materialised resamples. NaN where a column or the gold is constant in
    the resample, on the rows where the column is defined.

    Raises:
        DataError: the numbers of rows differ or are zero, or a gold score is not finite.
        UsageError: ``resamples`` is less than 1.
    """
    _check(resamples, scores, gold)
    if not np.isfinite(gold).all():
        raise DataError(f"gold scores must be finite, got {gold[~np.isfinite(gold)][0]}; leave such pairs out.")
    replicates = np.empty((resamples, scores.shape[1]))
    groups = [
        (rows, _Ranking.of(gold[rows]), [(column, _Ranking.of(scores[rows, column])) for column in columns])
        for rows, columns in _columns_by_rows(scores)
    ]
    for chunk, multiplicities in _multiplicities(len(gold), resamples, rng):
        for rows, gold_ranking, rankings in groups:
            weights = multiplicities if len(rows) == len(gold) else multiplicities[:, rows]
            ranks = gold_ranking.row_ranks(weights)
            weighted = weights * ranks
            gold_variance = np.einsum("br,br->b", weighted, ranks)
            for column, ranking in rankings:
                covariance, variance = ranking.moments(weights, weighted)
                replicates[chunk, column] = _ratio(covariance, gold_variance, variance)
    return replicates


def bootstrap_partial_spearman_columns(
    scores: Float[np.ndarray, "pairs columns"],
    y: Float[np.ndarray, " pairs"],
    covariates: Float[np.ndarray, "pairs covariates"],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resamples columns"]:
    """Partial Spearman correlation of every column and y given the covariates, in each resample.

    With C the correlation matrix of the resample's mid-ranks, S = C_tt − C_tz C_zz⁺ C_zt for the targets t = (x, y)
    and the covariates z, the result is S_xy / √(S_xx S_yy): equal to ``partial_spearman`` on the materialised
    resample. A covariate that is constant in the resample has zero rows in C and drops out of the pseudo-inverse.
    NaN where a residual is constant. All columns share the resamples, and the ranks of y and the covariates.

    Raises:
        DataError: the numbers of rows differ or are zero.
        UsageError: ``resamples`` is less than 1.
    """
    _check(resamples, scores, y, *covariates.T)
    beside = complete_rows(y, *covariates.T)
    replicates = np.empty((resamples, scores.shape[1]))
    groups = []
    for defined, columns in _columns_by_rows(scores):
        rows = defined[beside[defined]]
        shared = [_Ranking.of(column[rows]) for column in (y, *covariates.T)]
        groups.append((rows, shared, [(column, _Ranking.of(scores[rows, column])) for column in columns]))
    for chunk, multiplicities in _multiplicities(len(y), resamples, rng):
        for rows, shared, rankings in groups:
            weights = multiplicities[:, rows]
            ranks = [ranking.row_ranks(weights) for ranking in shared]
            for column, ranking in rankings:
                correlations = _rank_correlations([ranking.row_ranks(weights), *ranks], weights)
                replicates[chunk, column] = _partial(correlations)
    return replicates


def bootstrap_partial_spearman(
    x: Float[np.ndarray, " pairs"],
    y: Float[np.ndarray, " pairs"],
    covariates: Float[np.ndarray, "pairs covariates"],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Float[np.ndarray, " resamples"]:
    """``bootstrap_partial_spearman_columns`` of the one column x."""
    return bootstrap_partial_spearman_columns(x[:, None], y, covariates, resamples=resamples, rng=rng)[:, 0]


@dataclass(frozen=True)
class _Ranking:
    """A column sorted once: what is needed to rank it in any resample."""

    order: Int[np.ndarray, " rows"]
    """Rows in ascending order of value."""
    starts: Int[np.ndarray, " groups"]
    """Position in ``order`` of the first row of each tie group."""
    group: Int[np.ndarray, " rows"]
    """Tie group of each row, in row order."""

    @classmethod
    def of(cls, values: Float[np.ndarray, " rows"]) -> _Ranking:
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.ones(len(values), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        group = np.empty(len(values), dtype=np.intp)
        group[order] = np.cumsum(first) - 1
        return cls(order, np.flatnonzero(first), group)

    def _group_sums(self, rows: Float[np.ndarray, "chunk rows"]) -> Float[np.ndarray, "chunk groups"]:
        """Sums over the rows of each tie group, in ascending order of value."""
        ordered = np.take(rows, self.order, axis=1)
        return ordered if len(self.starts) == len(self.order) else np.add.reduceat(ordered, self.starts, axis=1)

    @staticmethod
    def _centred_ranks(weights: Float[np.ndarray, "chunk groups"]) -> Float[np.ndarray, "chunk groups"]:
        """Twice the centred mid-rank of each group: W_{g-1} + W_g − W_last."""
        cumulative = np.cumsum(weights, axis=1)
        return 2 * cumulative - weights - cumulative[:, -1:]

    def row_ranks(self, weights: Float[np.ndarray, "chunk rows"]) -> Float[np.ndarray, "chunk rows"]:
        """Twice the centred mid-rank of every row in each resample."""
        return np.take(self._centred_ranks(self._group_sums(weights)), self.group, axis=1)

    def moments(
        self, weights: Float[np.ndarray, "chunk rows"], weighted: Float[np.ndarray, "chunk rows"]
    ) -> tuple[Float[np.ndarray, " chunk"], Float[np.ndarray, " chunk"]]:
        """Σ w r q and Σ w r² for this column's ranks r, given ``weights`` w and ``weighted`` = w q."""
        group_weights = self._group_sums(weights)
        ranks = self._centred_ranks(group_weights)
        covariance = np.einsum("bg,bg->b", ranks, self._group_sums(weighted))
        return covariance, np.einsum("bg,bg->b", np.square(ranks, out=ranks), group_weights)


def _columns_by_rows(
    scores: Float[np.ndarray, "pairs columns"],
) -> Iterator[tuple[Int[np.ndarray, " rows"], list[int]]]:
    """Columns defined on the same rows, with those rows; columns without any defined row are grouped like others."""
    columns: dict[bytes, list[int]] = {}
    defined = ~np.isnan(scores)
    for column in range(scores.shape[1]):
        columns.setdefault(defined[:, column].tobytes(), []).append(column)
    for members in columns.values():
        yield np.flatnonzero(defined[:, members[0]]), members


def _multiplicities(
    n: int, resamples: int, rng: np.random.Generator
) -> Iterator[tuple[slice, Float[np.ndarray, "chunk pairs"]]]:
    """How often each of n pairs occurs in each resample, chunk by chunk; the draws do not depend on the chunking."""
    size = max(1, CELLS_PER_CHUNK // n)
    for start in range(0, resamples, size):
        chunk = slice(start, min(start + size, resamples))
        drawn = rng.integers(n, size=(chunk.stop - chunk.start, n))
        drawn += np.arange(len(drawn))[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield chunk, counts.astype(np.float64)


def _ratio(
    covariance: Float[np.ndarray, " chunk"],
    variance_x: Float[np.ndarray, " chunk"],
    variance_y: Float[np.ndarray, " chunk"],
) -> Float[np.ndarray, " chunk"]:
    """The correlation, NaN where a variance is not positive."""
    defined = (variance_x > 0) & (variance_y > 0)
    product = np.where(defined, variance_x, 1) * np.where(defined, variance_y, 1)
    return np.where(defined, np.clip(covariance / np.sqrt(product), -1, 1), np.nan)


def _rank_correlations(
    ranks: list[Float[np.ndarray, "chunk rows"]], weights: Float[np.ndarray, "chunk rows"]
) -> Float[np.ndarray, "chunk columns columns"]:
    """Correlation matrix of the mid-ranks in each resample; zeros in the rows and columns of a constant one."""
    products = np.empty((len(weights), len(ranks), len(ranks)))
    for i, left in enumerate(ranks):
        weighted = weights * left
        for j in range(i + 1):
            products[:, i, j] = products[:, j, i] = np.einsum("br,br->b", weighted, ranks[j])
    variances = np.diagonal(products, axis1=1, axis2=2)
    scale = np.where(variances > 0, 1 / np.sqrt(np.where(variances > 0, variances, 1)), 0)
    return products * scale[:, :, None] * scale[:, None, :]


def _partial(correlations: Float[np.ndarray, "chunk columns columns"]) -> Float[np.ndarray, " chunk"]:
    """Correlation of the first two columns given the others."""
    cross = correlations[:, :2, 2:]
    inverse = np.linalg.pinv(correlations[:, 2:, 2:], rcond=COLLINEAR_TOLERANCE, hermitian=True)
    rest = correlations[:, :2, :2] - cross @ inverse @ cross.transpose(0, 2, 1)
    variances = rest[:, (0, 1), (0, 1)]
    variances = np.where(variances > COLLINEAR_TOLERANCE, variances, 0)
    return _ratio(rest[:, 0, 1], variances[:, 0], variances[:, 1])


def _check(resamples: int, columns: Float[np.ndarray, "rows columns"], *targets: Float[np.ndarray, " pairs"]) -> None:
    """At least one resample; every target has one row per row of the columns, and at least one."""
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}; 2000 is usual.")
    for target in targets:
        if len(target) != len(columns) or len(target) == 0:
            raise DataError(
                f"a bootstrap needs one row per pair, got {len(columns)} rows of scores and {len(target)} pairs; "
                "pass columns of equal, positive length."
            )
