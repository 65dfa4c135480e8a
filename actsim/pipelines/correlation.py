"""From the scores of the pairs to the summary of a run: correlations, intervals, baselines, confounds.

Nothing is read or written here and no model is needed. Every interval of one summary comes from the same resamples
of the pairs, determined by the seed and the number of pairs alone: all differences are paired, and a column more or
less does not move the interval of another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from actsim.errors import DataError, NumericError, UsageError
from actsim.stats.bootstrap import (
    Interval,
    bootstrap_partial_spearman,
    bootstrap_spearman,
    paired_difference,
    percentile_interval,
)
from actsim.stats.correlation import complete_rows, kendall, partial_spearman, pearson, spearman

Column = Float[np.ndarray, " pairs"]
LayerScores = Mapping[str, Float[np.ndarray, "pairs layers"]]
KindScores = Mapping[str, tuple[Sequence[tuple[int, str]], Float[np.ndarray, "pairs kinds"]]]
Baselines = Iterable[tuple[str, int | None, Column]]
Covariates = Mapping[str, Shaped[np.ndarray, " pairs"]]

BAND_FORMS = "all, deep, last, last:4, 21-30, 3,5,6 or a mixture such as 1-3,6"
NAMED_IN_NOTE = 5
"""A note names this many columns and counts the others."""


@dataclass(frozen=True)
class Band:
    """A set of layers whose scores are averaged.

    Attributes:
        name: how the band was asked for, e.g. ``"deep"`` or ``"21-30"``.
        layers: ascending, counted from 1.
    """

    name: str
    layers: tuple[int, ...]

    @classmethod
    def parse(cls, spec: str, n_layers: int) -> Band:
        """Read a band: ``all``, ``deep`` (⌊L/2⌋ + 1 … L), ``last``, ``last:K``, or layers and ranges with commas.

        Ranges are inclusive; a layer that is named twice counts once.

        Raises:
            UsageError: another form, a reversed range, or a layer outside 1 … L.
        """
        name = re.sub(r"\s*([,:-])\s*", r"\1", spec.strip())
        if name == "all":
            return cls(name, tuple(range(1, n_layers + 1)))
        if name == "deep":
            return cls(name, tuple(range(n_layers // 2 + 1, n_layers + 1)))
        if match := re.fullmatch(r"last(?::([0-9]+))?", name):
            count = int(match[1] or 1)
            if not 1 <= count <= n_layers:
                raise _band_error(spec, f"{count} is not a possible number of layers", n_layers)
            return cls(name, tuple(range(n_layers - count + 1, n_layers + 1)))
        layers = {layer for term in name.split(",") for layer in _parse_range(term, spec, n_layers)}
        return cls(name, tuple(sorted(layers)))

    def average(self, layer_scores: Float[np.ndarray, "pairs layers"]) -> Column:
        """Mean of the band's layer scores, one value per pair; NaN where one of them is."""
        return layer_scores[:, np.array(self.layers) - 1].mean(axis=1)


def _parse_range(term: str, spec: str, n_layers: int) -> range:
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", term)
    if match is None:
        raise _band_error(spec, f"{term!r} is neither a layer nor a range", n_layers)
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise _band_error(spec, f"{term} is reversed", n_layers)
    if first < 1 or last > n_layers:
        raise _band_error(spec, f"layer {first if first < 1 else last} does not exist", n_layers)
    return range(first, last + 1)


def _band_error(spec: str, reason: str, n_layers: int) -> UsageError:
    return UsageError(
        f"cannot read --layers {spec!r}: {reason}; the model has layers 1 to {n_layers}; allowed: {BAND_FORMS}."
    )


def choose_band(gold: Column, layer_scores: Float[np.ndarray, "pairs layers"]) -> tuple[Band, float]:
    """The contiguous band with the highest Spearman correlation, and that correlation.

    All L (L + 1) / 2 windows of layers are candidates; of equal ones the wider wins, then the deeper. Meant for a
    split other than the one reported: the correlation is the best of many, hence too high for that split.

    Raises:
        DataError: no candidate has a defined correlation (constant gold or scores).
    """
    n_layers = layer_scores.shape[1]
    best: tuple[float, int, int] | None = None
    for first in range(1, n_layers + 1):
        for last in range(first, n_layers + 1):
            rho = spearman(_window(first, last).average(layer_scores), gold)
            candidate = (rho, last - first + 1, last)
            if not math.isnan(rho) and (best is None or candidate > best):
                best = candidate
    if best is None:
        raise DataError(
            f"no band can be chosen on these {len(gold)} pairs: the gold or every layer's score is constant; "
            "select on a split with varied gold scores."
        )
    rho, width, last = best
    return _window(last - width + 1, last), rho


def _window(first: int, last: int) -> Band:
    return Band(str(first) if first == last else f"{first}-{last}", tuple(range(first, last + 1)))


@dataclass(frozen=True)
class Selection:
    """Where the headline band was chosen: the split, its number of pairs, and the correlation it had there."""

    split: str
    n_pairs: int
    spearman: float

    def figures(self, band: Band, headline: Mapping[str, Any]) -> dict[str, Any]:
        """Both figures of the chosen band: where it was chosen, and on the pairs of the headline."""
        return {
            "split": self.split,
            "n_pairs": self.n_pairs,
            "measure": headline["measure"],
            "band": band.name,
            "layers": list(band.layers),
            "spearman_selection": _number(self.spearman),
            "spearman_here": headline["spearman"],
        }


@dataclass(frozen=True)
class _Resampling:
    """The one stream of resamples behind every interval of a summary."""

    resamples: int
    level: float
    seed: int

    def rng(self) -> np.random.Generator:
        """A generator at the start of the stream."""
        return np.random.default_rng(self.seed)


class _Result(NamedTuple):
    """A row of the summary, its name in notes, and the interval in it."""

    title: str
    entry: dict[str, Any]
    interval: Interval


def summarise(
    *,
    identity: Mapping[str, Any],
    gold: Column,
    layer_scores: LayerScores,
    kind_scores: KindScores,
    baselines: Baselines,
    covariates: Covariates,
    band: Band,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    selection: Selection | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The summary of a run, JSON-ready: an undefined number is None.

    Args:
        identity: taken over as it is: ``dataset``, ``model``, ``objective``, ``pattern``.
        gold: human scores.
        layer_scores: measure -> scores of every layer; the first measure is the headline.
        kind_scores: measure -> ((layer, kind) of every column, scores); NaN where a score is null.
        baselines: (name, layer or None, scores), each set against the headline band on their common rows.
        covariates: confounds to hold constant, each alone and all together.
        band: the layers whose mean is the headline score.
        selection: given when the band was chosen on another split.
        notes: sentences for the reader, kept in front of those added here.

    Raises:
        DataError: no measure, fewer than 3 pairs, columns of unequal length, or a gold score that is not finite.
        NumericError: an infinite score.
        UsageError: an impossible number of resamples or level.
    """
    _check_shapes(gold, layer_scores, kind_scores)
    resampling = _Resampling(resamples, level, seed)
    headline = band.average(next(iter(layer_scores.values())))
    parts = _correlate(gold, headline, _rows(band, layer_scores, kind_scores, baselines), resampling)
    parts["partial"] = [_partial(gold, headline, given, resampling) for given in _given(covariates)]
    first = parts["bands"][0].entry
    return {
        **identity,
        "measures": list(layer_scores),
        "n_layers": next(iter(layer_scores.values())).shape[1],
        "band": {"name": band.name, "layers": list(band.layers)},
        "n_pairs": len(gold),
        "resamples": resamples,
        "seed": seed,
        "level": level,
        "headline": dict(first),
        **{part: [result.entry for result in results] for part, results in parts.items()},
        "selection": None if selection is None else selection.figures(band, first),
        "notes": [*notes, *_notes(parts, len(gold)), *_constant(covariates)],
    }


def _check_shapes(gold: Column, layer_scores: LayerScores, kind_scores: KindScores) -> None:
    """What ``summarise`` promises about measures and groups; the columns are checked one by one in ``_Columns``."""
    if not layer_scores:
        raise DataError("there is nothing to correlate: no measure has scores; score the pairs first.")
    if len(gold) < 3:
        raise DataError(f"a correlation needs at least 3 pairs, got {len(gold)}; take more pairs.")
    shapes = {scores.shape for scores in layer_scores.values()}
    if len(shapes) > 1:
        raise DataError(f"the measures have scores of unequal shapes {sorted(shapes)}; score all of them in one run.")
    for measure, (groups, scores) in kind_scores.items():
        if len(groups) != scores.shape[1]:
            raise DataError(f"{measure}: {len(groups)} kinds but {scores.shape[1]} columns; pass one column per kind.")


def _checked(title: str, values: Shaped[np.ndarray, " pairs"], n_pairs: int) -> Column:
    """The column as float64 with one NaN bit pattern; raises what ``summarise`` promises about columns."""
    if len(values) != n_pairs:
        raise DataError(f"{title}: {len(values)} scores for {n_pairs} pairs; pass one score per pair.")
    column = values.astype(np.float64)
    if np.isinf(column).any():
        row = int(np.flatnonzero(np.isinf(column))[0])
        raise NumericError(f"{title}: the score of pair {row} is infinite; score the pairs in a wider type.")
    return np.where(np.isnan(column), np.nan, column)


class _Row(NamedTuple):
    """A row of the summary before anything is computed."""

    part: str
    labels: dict[str, Any]
    values: Column

    def title(self) -> str:
        """For notes: ``cosine, layer 3, q``."""
        named = [str(self.labels[key]) for key in ("measure", "name") if key in self.labels]
        layer = self.labels.get("layer")
        place = ["band"] if self.part == "bands" else [] if layer is None else [f"layer {layer}"]
        kind = [self.labels["kind"]] if "kind" in self.labels else []
        return ", ".join([*named, *place, *kind])


def _rows(band: Band, layer_scores: LayerScores, kind_scores: KindScores, baselines: Baselines) -> Iterator[_Row]:
    """Every row with a correlation of its own, in the order of the summary."""
    for measure, scores in layer_scores.items():
        yield _Row("bands", {"measure": measure}, band.average(scores))
    for measure, scores in layer_scores.items():
        for layer, values in enumerate(scores.T, start=1):
            yield _Row("layers", {"layer": layer, "measure": measure}, values)
    for measure, (groups, scores) in kind_scores.items():
        for (layer, kind), values in zip(groups, scores.T, strict=True):
            yield _Row("kinds", {"layer": layer, "kind": kind, "measure": measure}, values)
    for name, place, values in baselines:
        yield _Row("baselines", {"name": name, "layer": place}, values)


class _Columns:
    """The distinct columns of a summary, gathered first so that one bootstrap serves all of them."""

    def __init__(self, n_pairs: int) -> None:
        self._n_pairs = n_pairs
        self._numbers: dict[bytes, int] = {}
        self.values: list[Column] = []

    def add(self, title: str, values: Column) -> int:
        """The number of the column in ``values`` and in the bootstrap's result; equal columns share one."""
        column = _checked(title, values, self._n_pairs)
        number = self._numbers.setdefault(column.tobytes(), len(self.values))
        if number == len(self.values):
            self.values.append(column)
        return number

    def add_common(self, title: str, ours: Column, theirs: Column) -> tuple[int, int]:
        """The numbers of two columns, both reduced to the rows in which they are both defined."""
        common = complete_rows(ours, theirs)
        return self.add(title, np.where(common, ours, np.nan)), self.add(title, np.where(common, theirs, np.nan))


def _correlate(
    gold: Column, headline: Column, rows: Iterable[_Row], resampling: _Resampling
) -> dict[str, list[_Result]]:
    """The results of all rows by part of the summary; baselines get their paired difference to the headline."""
    columns = _Columns(len(gold))
    planned = [(row, columns.add(row.title(), row.values)) for row in rows]
    contrasts = {
        number: columns.add_common(row.title(), headline, row.values)
        for row, number in planned
        if row.part == "baselines"
    }
    scores = np.stack(columns.values, axis=1)
    replicates = bootstrap_spearman(scores, gold, resamples=resampling.resamples, rng=resampling.rng())
    results: dict[str, list[_Result]] = {"bands": [], "layers": [], "kinds": [], "baselines": []}
    for row, number in planned:
        interval = percentile_interval(replicates[:, number], resampling.level)
        entry = {**row.labels, **_figures(gold, row.values, interval)}
        if row.part == "baselines":
            ours, theirs = contrasts[number]
            difference = spearman(columns.values[ours], gold) - spearman(columns.values[theirs], gold)
            bounds = paired_difference(replicates[:, ours], replicates[:, theirs], resampling.level)
            entry["difference"] = {"value": _number(difference), **_bounds(bounds)}
        results[row.part].append(_Result(row.title(), entry, interval))
    return results


def _figures(gold: Column, values: Column, interval: Interval) -> dict[str, Any]:
    return {
        "n": int(complete_rows(values).sum()),
        "spearman": _number(spearman(values, gold)),
        **_bounds(interval),
        "pearson": _number(pearson(values, gold)),
        "kendall": _number(kendall(values, gold)),
    }


def _given(covariates: Covariates) -> list[Covariates]:
    """Each covariate alone, then, where there are several, all of them."""
    alone: list[Covariates] = [{name: values} for name, values in covariates.items()]
    return [*alone, covariates] if len(alone) > 1 else alone


def _partial(gold: Column, headline: Column, given: Covariates, resampling: _Resampling) -> _Result:
    """Correlation of the headline band with the gold when the given covariates are held constant."""
    covariates = np.stack([_checked(f"covariate {name}", given[name], len(gold)) for name in given], axis=1)
    replicates = bootstrap_partial_spearman(
        headline, gold, covariates, resamples=resampling.resamples, rng=resampling.rng()
    )
    interval = percentile_interval(replicates, resampling.level)
    entry = {
        "given": list(given),
        "spearman": _number(partial_spearman(headline, gold, covariates)),
        **_bounds(interval),
        "n": int(complete_rows(headline, *covariates.T).sum()),
    }
    return _Result(f"partial given {' and '.join(given)}", entry, interval)


def _notes(parts: Mapping[str, Sequence[_Result]], n_pairs: int) -> Iterator[str]:
    """Sentences on missing scores, undefined correlations and resamples that had to be left out."""
    results = [result for part in parts.values() for result in part]
    missing = [f"{r.title} ({n_pairs - r.entry['n']} of {n_pairs})" for r in results if r.entry["n"] < n_pairs]
    undefined = [r.title for r in results if r.entry["spearman"] is None]
    thinned = [
        f"{r.title} ({r.interval.resamples - r.interval.defined} of {r.interval.resamples}"
        f"{', too many for an interval' if math.isnan(r.interval.low) else ''})"
        for r in results
        if r.entry["spearman"] is not None and r.interval.defined < r.interval.resamples
    ]
    if missing:
        yield f"Pairs without a score are left out where it is missing: {_some(missing)}."
    if undefined:
        yield f"No correlation is defined, a column is constant: {_some(undefined)}."
    if thinned:
        yield f"Bootstrap resamples in which a column is constant are left out of the interval: {_some(thinned)}."


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED_IN_NOTE
    return "; ".join(names[:NAMED_IN_NOTE]) + (f"; and {rest} more" if rest > 0 else "")


def _constant(covariates: Covariates) -> Iterator[str]:
    for name, values in covariates.items():
        if (values == values[0]).all():
            yield f"The covariate {name} is the same for all pairs: holding it constant changes nothing."


def _bounds(interval: Interval) -> dict[str, float | None]:
    return {"ci_low": _number(interval.low), "ci_high": _number(interval.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
