"""The figures of a comparison: curves, best layers, differences with their tests, agreement, layer against layer.

Nothing is read or written here. Every interval and p-value of one comparison comes from the same resamples of the
common pairs, determined by the seed and the number of pairs alone, so all differences are paired.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

from actsim.errors import UsageError
from actsim.pipelines.correlation import Band
from actsim.stats.bootstrap import (
    Interval,
    bootstrap_spearman,
    check_level,
    paired_difference,
    percentile_interval,
)
from actsim.stats.correlation import spearman
from actsim.stats.dependent import bootstrap_p, smallest_p, steiger
from actsim.stats.multiple import holm

ABOVE, BELOW, UNDECIDED = "above", "below", "not distinguishable from"
DISAGREEMENTS = 10
"""So many pairs are listed for either direction of every two runs."""

Column = Float[np.ndarray, " pairs"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """The scores of one run on the common pairs.

    Attributes:
        key: its short name, ``A``.
        band: the layers whose mean is its headline score.
        layer_scores: one column per layer.
    """

    key: str
    band: Band
    layer_scores: Float[np.ndarray, "pairs layers"]

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.layer_scores.shape[1]

    def headline(self) -> Column:
        """The score of every pair."""
        return self.band.average(self.layer_scores)


@dataclass(frozen=True)
class Resampling:
    """The bootstrap: number of resamples, coverage of intervals, seed."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def rng(self) -> np.random.Generator:
        """A generator at the start of the stream."""
        return np.random.default_rng(self.seed)

    def __post_init__(self) -> None:
        """Refuse what no interval can be made of."""
        smallest_p(self.resamples)
        check_level(self.level)
        if self.seed < 0:
            raise UsageError(f"the seed must be at least 0, got {self.seed}.")

    def check(self, runs: int) -> None:
        """Raise UsageError where no difference between so many runs could come out as one."""
        smallest = smallest_p(self.resamples)
        tests = runs * (runs - 1) // 2
        if tests * smallest >= 1 - self.level:
            needed = math.ceil(2 * tests / (1 - self.level))
            raise UsageError(
                f"with {self.resamples} resamples p cannot be below {smallest:.2g}, so none of {tests} differences can "
                f"pass Holm's correction at {1 - self.level:.2g}; give --resamples {needed} or more, or fewer runs."
            )


def compare_scores(gold: Column, contenders: Sequence[Contender], resampling: Resampling) -> dict[str, Any]:
    """``runs``, ``differences`` and ``agreements``, JSON-ready: an undefined number is None."""
    curves, headlines = _resampled(gold, contenders, resampling)
    scores = [contender.headline() for contender in contenders]
    pairs = list(itertools.combinations(range(len(contenders)), 2))
    differences = [_difference(gold, contenders, scores, headlines, pair, resampling) for pair in pairs]
    adjusted = holm(np.array([math.nan if row["p"] is None else row["p"] for row in differences]))
    for row, p in zip(differences, adjusted, strict=True):
        row["p_holm"] = number(p)
        decided = p < 1 - resampling.level and row["value"] != 0
        row["verdict"] = UNDECIDED if not decided else ABOVE if row["value"] > 0 else BELOW
    return {
        "runs": [
            _run(gold, contender, curve, headline, resampling)
            for contender, curve, headline in zip(contenders, curves, headlines, strict=True)
        ],
        "differences": differences,
        "agreements": [_agreement(gold, contenders, scores, pair, resampling) for pair in pairs],
    }


def number(value: float) -> float | None:
    """The value, None where it is not finite: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _bounds(interval: Interval) -> Row:
    return {"ci_low": number(interval.low), "ci_high": number(interval.high)}


def _resampled(
    gold: Column, contenders: Sequence[Contender], resampling: Resampling
) -> tuple[list[Float[np.ndarray, "resamples layers"]], list[Float[np.ndarray, " resamples"]]]:
    """Replicates of every run's layers, and of its headline, from one pass over the resamples."""
    columns = [np.column_stack([contender.layer_scores, contender.headline()]) for contender in contenders]
    replicates = bootstrap_spearman(
        np.concatenate(columns, axis=1), gold, resamples=resampling.resamples, rng=resampling.rng()
    )
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    split = np.split(replicates, ends, axis=1)
    return [part[:, :-1] for part in split], [part[:, -1] for part in split]


def _run(
    gold: Column,
    contender: Contender,
    curve: Float[np.ndarray, "resamples layers"],
    headline: Float[np.ndarray, " resamples"],
    resampling: Resampling,
) -> Row:
    """The curve over relative depth, the headline and the best layer of a run."""
    layers = [
        {
            "layer": layer,
            "depth": layer / contender.n_layers,
            "spearman": number(spearman(scores, gold)),
            **_bounds(percentile_interval(replicates, resampling.level)),
        }
        for layer, (scores, replicates) in enumerate(zip(contender.layer_scores.T, curve.T, strict=True), start=1)
    ]
    return {
        "key": contender.key,
        "n_layers": contender.n_layers,
        "band": {"name": contender.band.name, "layers": list(contender.band.layers)},
        "headline": {
            "spearman": number(spearman(contender.headline(), gold)),
            **_bounds(percentile_interval(headline, resampling.level)),
        },
        "layers": layers,
        "best_layer": _best_layer(layers, curve, resampling.level),
    }


def _best_layer(layers: Sequence[Row], curve: Float[np.ndarray, "resamples layers"], level: float) -> Row | None:
    """The layer of the highest correlation; how often it is best in a resample, and which layers are as often.

    ``layer_low`` and ``layer_high`` are the (1 − level) / 2 and (1 + level) / 2 quantiles of the best layer's number.
    """
    known = [row for row in layers if row["spearman"] is not None]
    if not known:
        return None
    best = max(known, key=lambda row: row["spearman"])
    defined = curve[~np.isnan(curve).any(axis=1)]
    if not len(defined):
        return {**best, "share": None, "layer_low": None, "layer_high": None}
    winners = defined.argmax(axis=1) + 1
    low, high = np.quantile(winners, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    share = float((winners == best["layer"]).mean())
    return {**best, "share": share, "layer_low": int(low), "layer_high": int(high)}


def _difference(
    gold: Column,
    contenders: Sequence[Contender],
    scores: Sequence[Column],
    headlines: Sequence[Float[np.ndarray, " resamples"]],
    pair: tuple[int, int],
    resampling: Resampling,
) -> Row:
    """ρ of the first headline minus ρ of the second: interval and p of the paired bootstrap, and Steiger's test."""
    a, b = pair
    rho_a, rho_b = spearman(scores[a], gold), spearman(scores[b], gold)
    test = steiger(rho_a, rho_b, spearman(scores[a], scores[b]), len(gold))
    return {
        "a": contenders[a].key,
        "b": contenders[b].key,
        "value": number(rho_a - rho_b),
        **_bounds(paired_difference(headlines[a], headlines[b], resampling.level)),
        "p": number(bootstrap_p(headlines[a] - headlines[b])),
        "steiger": {"z": number(test.z), "p": number(test.p)},
    }


def _agreement(
    gold: Column,
    contenders: Sequence[Contender],
    scores: Sequence[Column],
    pair: tuple[int, int],
    resampling: Resampling,
) -> Row:
    """How two runs rank the pairs: as wholes, layer against layer, and where they part."""
    a, b = pair
    replicates = bootstrap_spearman(
        scores[a][:, None], scores[b], resamples=resampling.resamples, rng=resampling.rng()
    )[:, 0]
    matrix = layer_by_layer(contenders[a].layer_scores, contenders[b].layer_scores)
    return {
        "a": contenders[a].key,
        "b": contenders[b].key,
        "spearman": number(spearman(scores[a], scores[b])),
        **_bounds(percentile_interval(replicates, resampling.level)),
        "layers": [[number(value) for value in line] for line in matrix],
        "disagreements": list(_disagreements(gold, scores[a], scores[b])),
    }


def layer_by_layer(
    scores_a: Float[np.ndarray, "pairs layers_a"], scores_b: Float[np.ndarray, "pairs layers_b"]
) -> Float[np.ndarray, "layers_a layers_b"]:
    """Spearman's ρ between the pair scores of layer i of one model and those of layer j of another.

    [i, j] is the scalar product of the centred mid-ranks of both columns, each divided by its length; NaN where a
    column is constant. How alike the two layers order the same sentence pairs, whatever the gold says.
    """
    units = [_unit_ranks(scores) for scores in (scores_a, scores_b)]
    return np.clip(units[0].T @ units[1], -1, 1)


def _unit_ranks(scores: Float[np.ndarray, "pairs layers"]) -> Float[np.ndarray, "pairs layers"]:
    """Centred mid-ranks of every column, of length 1; NaN for a constant column."""
    ranks = scipy.stats.rankdata(scores, axis=0) - (len(scores) + 1) / 2
    length = np.linalg.norm(ranks, axis=0)
    return ranks / np.where(length > 0, length, np.nan)


def relative_ranks(values: Column) -> Column:
    """Mid-ranks on a scale from 0 to 1: (rank − ½) / n."""
    return (scipy.stats.rankdata(values) - 0.5) / len(values)


def _disagreements(gold: Column, scores_a: Column, scores_b: Column) -> Iterator[Row]:
    """The pairs on which one run ranks much nearer to the gold than the other, first those for the first run.

    With relative ranks r and g of score and gold, the gain of a is |r_b − g| − |r_a − g|: positive where a is nearer.
    """
    g, r_a, r_b = relative_ranks(gold), relative_ranks(scores_a), relative_ranks(scores_b)
    gain = np.abs(r_b - g) - np.abs(r_a - g)
    for sign in (1, -1):
        order = np.argsort(-sign * gain, kind="stable")[:DISAGREEMENTS]
        for pair in order[sign * gain[order] > 0]:
            yield {
                "pair": int(pair),
                "gold": float(gold[pair]),
                "gold_rank": float(g[pair]),
                "rank_a": float(r_a[pair]),
                "rank_b": float(r_b[pair]),
                "gain": float(gain[pair]),
            }
