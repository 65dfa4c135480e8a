"""Does what a model was calibrated on serve other texts the better, the more alike they are?

Levels of quality [calibrations, texts] are set against the similarities of the same domains. A text is easier than
another, and a calibration may be better everywhere: what is compared are residuals, of which the mean of every text
("text"), or the additive effects of texts and calibrations ("both"), have been taken. Cells in which calibration and
text are of one domain are left out: that a model pruned on a text keeps that text says nothing about similarity.

Cells are not independent: every domain has a row and a column of them. So the p-value is of a permutation of the
domains, as Mantel's, and the interval of a jackknife over the domains.

Sources: Mantel (1967), "The detection of disease clustering and a generalized regression approach", Cancer Research
27, 209-220; Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 11, for the jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from actsim.errors import DataError, UsageError
from actsim.stats.mantel import ROUNDING, cell_ranks, drawn_orders, rank_correlation

TEXT, BOTH = "text", "both"
REMOVED = (TEXT, BOTH)
"""Whose effects are taken out of the cells."""
FEWEST_DOMAINS = 5
"""Of fewer domains no p-value could be small: with both effects taken out, many orders of four give the same ρ."""
FEWEST_FREE = 3
"""Cells less effects that are taken out; below, ρ is ±1 or nearly so whatever the cells are."""


class Transfer(NamedTuple):
    """Spearman's ρ of quality and similarity, its interval and test; NaN where one is undefined."""

    rho: float
    ci_low: float
    ci_high: float
    p: float
    """One-sided: the share of orders of the domains, the one that is among them, whose ρ is at least as high."""
    domains: int
    cells: int
    permutations: int
    exact: bool
    """Whether those are all there are."""


def transfer(
    quality: Float[np.ndarray, "calibrations texts"],
    similarity: Float[np.ndarray, "domains domains"],
    calibrations: Sequence[int],
    texts: Sequence[int],
    *,
    removed: str,
    rng: np.random.Generator,
    permutations: int = 4999,
    level: float = 0.95,
) -> Transfer:
    """Spearman's ρ between residual quality and residual similarity over all cells of two different domains.

    NaN where fewer than FEWEST_FREE cells more than effects are left, or their residuals are all the same.

    The interval is tanh(z ± t s), with z = artanh ρ, s² = (n - 1)/n Σ (z_(i) - mean z_(i))², z_(i) without the cells
    of the i-th of the n domains, and t the quantile of Student's distribution with n - 1 degrees of freedom. It speaks
    of other domains.

    Args:
        quality: the higher, the better.
        similarity: symmetric; its diagonal is not read.
        calibrations: the domain of every row of ``quality``, as a row of ``similarity``.
        texts: the domain of every column.
        removed: out of REMOVED.
        rng: draws the orders.
        permutations: how many are drawn, where there are more.
        level: coverage.

    Raises:
        DataError: ``similarity`` is not a symmetric matrix that has these domains.
        UsageError: ``removed`` is unknown, or ``permutations`` is less than 1.
    """
    _check(quality, similarity, calibrations, texts, removed, permutations)
    domains, places = np.unique(np.concatenate([calibrations, texts]), return_inverse=True)
    rows, columns = places[: len(calibrations)], places[len(calibrations) :]
    cells, n = _Cells(rows, columns, removed), len(domains)
    own = similarity[np.ix_(domains, domains)]
    orders, exact = drawn_orders(n, permutations, rng)
    found = cells.correlations(quality, own, orders)
    without = [_Cells(rows, columns, removed, one).correlations(quality, own, orders[:1])[0] for one in range(n)]
    low, high = _jackknife(found[0], np.array(without), level)
    p = math.nan if np.isnan(found[0]) else float(np.mean(found >= found[0] - ROUNDING))
    return Transfer(float(found[0]), low, high, p, n, int(cells.kept.sum()), len(orders), exact)


def additive_effects(shape: tuple[int, int], removed: str) -> Float[np.ndarray, "cells effects"]:
    """The indicators of what is taken out of every cell [calibrations, texts], row after row: its text, with BOTH its
    calibration too."""
    row, column = (own.ravel() for own in np.indices(shape))
    effects = [column[:, None] == np.arange(shape[1])]
    if removed == BOTH:
        effects.append(row[:, None] == np.arange(shape[0]))
    return np.concatenate(effects, axis=1).astype(np.float64)


def _check(
    quality: np.ndarray,
    similarity: np.ndarray,
    calibrations: Sequence[int],
    texts: Sequence[int],
    removed: str,
    permutations: int,
) -> None:
    if removed not in REMOVED:
        raise UsageError(f"removed must be one of {', '.join(REMOVED)}, got {removed!r}.")
    if permutations < 1:
        raise UsageError(f"permutations must be at least 1, got {permutations}; 4999 is usual.")
    if quality.shape != (len(calibrations), len(texts)):
        raise DataError(f"quality must be {len(calibrations)} calibrations by {len(texts)} texts, got {quality.shape}.")
    if len(set(similarity.shape)) > 1 or not np.allclose(similarity, similarity.T, equal_nan=True):
        raise DataError("a matrix of similarities must be square and symmetric.")
    if not all(0 <= place < len(similarity) for place in (*calibrations, *texts)):
        raise DataError(f"a domain is none of the {len(similarity)} of the matrix of similarities.")


class _Cells:
    """The cells that are compared.

    Args:
        rows, columns: the domains of calibrations and texts.
        removed: whose effects are taken out.
        left_out: a domain whose cells are left out.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, removed: str, left_out: int | None = None) -> None:
        self.kept: Bool[np.ndarray, "calibrations texts"] = rows[:, None] != columns
        if left_out is not None:
            self.kept &= (rows[:, None] != left_out) & (columns != left_out)
        row, column = np.nonzero(self.kept)
        self._domains = rows[row], columns[column]
        design = additive_effects(self.kept.shape, removed)[self.kept.ravel()]
        self._taken = int(np.linalg.matrix_rank(design)) if design.size else 0
        self._residual = np.eye(len(design)) - design @ np.linalg.pinv(design)

    def correlations(
        self,
        quality: Float[np.ndarray, "calibrations texts"],
        similarity: Float[np.ndarray, "domains domains"],
        orders: Int[np.ndarray, "orders domains"],
    ) -> Float[np.ndarray, " orders"]:
        """ρ for every order of the domains of ``similarity``; NaN where hardly anything is left of the cells."""
        if len(self._residual) - self._taken < FEWEST_FREE:
            return np.full(len(orders), np.nan)
        a, b = self._domains
        similar = similarity[orders[:, a], orders[:, b]]
        return rank_correlation(self._ranks(similar), self._ranks(quality[self.kept]))

    def _ranks(self, cells: Float[np.ndarray, "*stack cells"]) -> Float[np.ndarray, "*stack cells"]:
        """Centred ranks of the residuals; what differs by rounding alone is equal."""
        scale = np.abs(cells).max(axis=-1, keepdims=True)
        unit = np.where(scale > 0, scale, 1.0)
        return cell_ranks(np.round(cells / unit @ self._residual, 12))


def _jackknife(whole: float, without: Float[np.ndarray, " domains"], level: float) -> tuple[float, float]:
    """The interval of a correlation from the same without each domain, on the scale of artanh."""
    n, most = len(without), 1 - 1e-9
    if n < FEWEST_DOMAINS or np.isnan([whole, *without]).any():
        return math.nan, math.nan
    z = np.arctanh(np.clip(without, -most, most))
    error = math.sqrt((n - 1) / n * ((z - z.mean()) ** 2).sum())
    reach = scipy.stats.t.ppf((1 + level) / 2, n - 1) * error
    middle = math.atanh(min(max(whole, -most), most))
    return math.tanh(middle - reach), math.tanh(middle + reach)
