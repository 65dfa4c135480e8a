"""How the scores of pairs are spread over the gold scores: counts in bins, quartiles, thirds.

What a figure shows of many pairs is computed here, so that no figure holds a point per pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

GOLD_BINS = 10
SCORE_BINS = (10, 40)
"""Fewest and most score bins; in between two for every three in the root of the number of scores."""
FEW_VALUES = 12
"""Gold scores with at most this many values get a bin for each of them."""


@dataclass(frozen=True)
class ScoreDensity:
    """Scores against gold scores.

    Attributes:
        gold_edges: [G + 1], ascending.
        score_edges: [S + 1], ascending.
        counts: [G, S] pairs in each bin.
        quartiles: [G, 3] of the scores of each gold bin; NaN where it is empty.
    """

    gold_edges: Floats
    score_edges: Floats
    counts: Counts
    quartiles: Floats

    @property
    def gold_centres(self) -> Floats:
        """[G] the middle of each gold bin."""
        return (self.gold_edges[1:] + self.gold_edges[:-1]) / 2

    @property
    def score_centres(self) -> Floats:
        """[S] the middle of each score bin."""
        return (self.score_edges[1:] + self.score_edges[:-1]) / 2

    def shares(self) -> Floats:
        """[G, S] share of the gold bin's pairs in each score bin; NaN in a gold bin without pairs."""
        totals = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, totals, out=np.full(self.counts.shape, np.nan), where=totals > 0)


def gold_edges(gold: Floats) -> Floats:
    """Edges of the gold bins: around each value where there are few, else ten bins of equal width."""
    values = np.unique(gold)
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    if len(values) > FEW_VALUES:
        return np.linspace(values[0], values[-1], GOLD_BINS + 1)
    inner = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - inner[0]], inner, [2 * values[-1] - inner[-1]]])


def score_edges(scores: Floats) -> Floats:
    """Edges of the score bins, of equal width over the scores that are defined."""
    known = scores[np.isfinite(scores)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    fewest, most = SCORE_BINS
    bins = int(np.clip(round(2 / 3 * len(known) ** 0.5), fewest, most))
    return np.linspace(low, high, bins + 1)


def score_density(gold: Floats, scores: Floats) -> ScoreDensity:
    """The density of the scores per gold bin; pairs without a score are left out."""
    rows, columns = gold_edges(gold), score_edges(scores)
    known = np.isfinite(scores)
    counts, _, _ = np.histogram2d(gold[known], scores[known], bins=(rows, columns))
    places = np.clip(np.searchsorted(rows, gold, side="right") - 1, 0, len(rows) - 2)
    quartiles = np.full((len(rows) - 1, 3), np.nan)
    for place in np.unique(places[known]):
        quartiles[place] = np.percentile(scores[known & (places == place)], (25, 50, 75))
    return ScoreDensity(rows, columns, counts.astype(np.int64), quartiles)


@dataclass(frozen=True)
class GoldThird:
    """Scores of the pairs in one third of the gold scores.

    Attributes:
        low, high: its smallest and largest gold score.
        counts: [S] pairs in each score bin.
    """

    low: float
    high: float
    counts: Counts

    @property
    def n(self) -> int:
        """Pairs with a score."""
        return int(self.counts.sum())


def gold_thirds(gold: Floats, scores: Floats, edges: Floats) -> list[GoldThird]:
    """The scores of the pairs of low, middle and high gold; a third that ties leave empty is absent."""
    first, second = np.quantile(gold, (1 / 3, 2 / 3))
    masks: Sequence[npt.NDArray[np.bool_]] = (gold <= first, (gold > first) & (gold <= second), gold > second)
    found = []
    for mask in masks:
        known = mask & np.isfinite(scores)
        if known.any():
            counts, _ = np.histogram(scores[known], bins=edges)
            found.append(GoldThird(float(gold[mask].min()), float(gold[mask].max()), counts.astype(np.int64)))
    return found
