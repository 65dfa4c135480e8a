"""From the scores of the pairs to the summary of a run: correlations, intervals, baselines, confounds.

Nothing is read or written here and no model is needed. Every interval of one summary comes from the same resamples
of the pairs, determined by the seed and the number of pairs alone: all differences are paired, and a column more or
less does not move the interval of another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from actsim.errors import DataError, NumericError
from actsim.stats.bands import Band
from actsim.stats.bootstrap import (
    Interval,
    bootstrap_partial_spearman,
    bootstrap_partial_spearman_columns,
    bootstrap_spearman,
    paired_difference,
    percentile_interval,
)
from actsim.stats.correlation import complete_rows, kendall, partial_spearman, pearson, spearman

Column = Float[np.ndarray, " pairs"]
LayerScores = Mapping[str, Float[np.ndarray, "pairs layers"]]
KindScores = Mapping[str, tuple[Sequence[tuple[int, str]], Float[np.ndarray, "pairs kinds"]]]
Baselines = Sequence[tuple[str, int | None, Column]]
Covariates = Mapping[str, Shaped[np.ndarray, " pairs"]]

PARTS = ("bands", "layers", "kinds", "baselines", "layer_differences", "controls")
"""Parts of a summary whose rows share one bootstrap."""
NAMED_IN_NOTE = 5
"""A note names this many columns and counts the others."""


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


@dataclass(frozen=True, eq=False)
class ControlScores:
    """The scores of the same pairs under a control: the headline measure's, of every layer."""

    name: str
    seed: int
    layer_scores: Float[np.ndarray, "pairs layers"]


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
    controls: Sequence[ControlScores] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The summary of a run, JSON-ready: an undefined number is None.

    Args:
        identity: taken over as it is: ``dataset``, ``model``, ``objective``, ``pattern``.
        gold: human scores.
        layer_scores: measure -> scores of every layer; the first measure is the headline.
        kind_scores: measure -> ((layer, kind) of every column, scores); NaN where a score is null.
        baselines: (name, layer or None, scores), each set against headline and layers on their common rows.
        covariates: confounds to hold constant, each alone and all together; all together for every layer too.
        band: the layers whose mean is the headline score.
        selection: given when the band was chosen on another split.
        controls: each set against the headline band and layer by layer.
        notes: sentences for the reader, kept in front of those added here.

    Raises:
        DataError: no measure, fewer than 3 pairs, columns of unequal length, or a gold score that is not finite.
        NumericError: an infinite score.
        UsageError: an impossible number of resamples or level.
    """
    _check_shapes(gold, layer_scores, kind_scores, controls)
    resampling = _Resampling(resamples, level, seed)
    measure, scores = next(iter(layer_scores.items()))
    headline = band.average(scores)
    beside = (*_baseline_rows(headline, measure, scores, baselines), *_control_rows(band, measure, scores, controls))
    parts = _correlate(gold, (*_rows(band, layer_scores, kind_scores), *beside), resampling)
    parts["partial"] = [_partial(gold, headline, given, resampling) for given in _given(covariates)]
    parts["partial_layers"] = _partial_layers(gold, scores, covariates, resampling) if covariates else []
    entries = {part: [result.entry for result in results] for part, results in parts.items()}
    return {
        **identity,
        "measures": list(layer_scores),
        "n_layers": scores.shape[1],
        "band": {"name": band.name, "layers": list(band.layers)},
        "n_pairs": len(gold),
        "resamples": resamples,
        "seed": seed,
        "level": level,
        "headline": dict(entries["bands"][0]),
        **entries,
        "controls": list(_nested(entries["controls"], controls)),
        "selection": None if selection is None else selection.figures(band, entries["bands"][0]),
        "notes": [*notes, *_notes(parts, len(gold)), *_constant(covariates)],
    }


def _check_shapes(
    gold: Column, layer_scores: LayerScores, kind_scores: KindScores, controls: Sequence[ControlScores]
) -> None:
    """What ``summarise`` promises about measures and groups; the columns are checked one by one in ``_Columns``."""
    if not layer_scores:
        raise DataError("there is nothing to correlate: no measure has scores; score the pairs first.")
    if len(gold) < 3:
        raise DataError(f"a correlation needs at least 3 pairs, got {len(gold)}; take more pairs.")
    shapes = {scores.shape for scores in (*layer_scores.values(), *(control.layer_scores for control in controls))}
    if len(shapes) > 1:
        raise DataError(f"measures or controls with scores of shapes {sorted(shapes)}; score the same pairs.")
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
    """A row of the summary before anything is computed.

    ``minuend``: what the row's values are subtracted from, correlation from correlation, for its ``difference``.
    """

    part: str
    labels: dict[str, Any]
    values: Column
    minuend: Column | None = None

    def title(self) -> str:
        """For notes: ``cosine, layer 3, q``."""
        named = [str(self.labels[key]) for key in ("measure", "name") if key in self.labels]
        layer = self.labels.get("layer")
        whole = ["band"] if self.part in ("bands", "controls") else []
        kind = [self.labels["kind"]] if "kind" in self.labels else []
        return ", ".join([*named, *(whole if layer is None else [f"layer {layer}"]), *kind])


def _rows(band: Band, layer_scores: LayerScores, kind_scores: KindScores) -> Iterator[_Row]:
    """The rows of the patterns, in the order of the summary."""
    for measure, scores in layer_scores.items():
        yield _Row("bands", {"measure": measure}, band.average(scores))
    for measure, scores in layer_scores.items():
        for layer, values in enumerate(scores.T, start=1):
            yield _Row("layers", {"layer": layer, "measure": measure}, values)
    for measure, (groups, scores) in kind_scores.items():
        for (layer, kind), values in zip(groups, scores.T, strict=True):
            yield _Row("kinds", {"layer": layer, "kind": kind, "measure": measure}, values)


def _baseline_rows(
    headline: Column, measure: str, scores: Float[np.ndarray, "pairs layers"], baselines: Baselines
) -> Iterator[_Row]:
    """The baselines beside the headline, and then beside the layers: those of a layer beside that layer."""
    for name, place, values in baselines:
        yield _Row("baselines", {"name": name, "layer": place}, values, headline)
    for name, place, values in baselines:
        for layer, own in enumerate(scores.T, start=1):
            if place in (None, layer):
                labels = {"layer": layer, "measure": measure, "name": name}
                yield _Row("layer_differences", labels, values, own)


def _control_rows(
    band: Band, measure: str, scores: Float[np.ndarray, "pairs layers"], controls: Sequence[ControlScores]
) -> Iterator[_Row]:
    """Every control's band beside the headline, and its layers beside the same layers."""
    for control in controls:
        labels = {"name": control.name, "measure": measure}
        yield _Row("controls", labels, band.average(control.layer_scores), band.average(scores))
        for layer, (values, own) in enumerate(zip(control.layer_scores.T, scores.T, strict=True), start=1):
            yield _Row("controls", {**labels, "layer": layer}, values, own)


def _nested(entries: Sequence[dict[str, Any]], controls: Sequence[ControlScores]) -> Iterator[dict[str, Any]]:
    """The entries of the control rows gathered by control: name, seed, headline, layers, difference."""
    for control in controls:
        own = [dict(entry) for entry in entries if entry["name"] == control.name]
        for entry in own:
            del entry["name"]
        headline, *layers = own
        difference = headline.pop("difference")
        identity = {"name": control.name, "seed": control.seed}
        yield {**identity, "headline": headline, "layers": layers, "difference": difference}


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


def _correlate(gold: Column, rows: Iterable[_Row], resampling: _Resampling) -> dict[str, list[_Result]]:
    """The results of all rows by part of the summary, with the paired differences of those that have a minuend."""
    columns = _Columns(len(gold))
    planned = [
        (
            row,
            columns.add(row.title(), row.values),
            None if row.minuend is None else columns.add_common(row.title(), row.minuend, row.values),
        )
        for row in rows
    ]
    scores = np.stack(columns.values, axis=1)
    replicates = bootstrap_spearman(scores, gold, resamples=resampling.resamples, rng=resampling.rng())
    results: dict[str, list[_Result]] = {part: [] for part in PARTS}
    for row, number, contrast in planned:
        interval = percentile_interval(replicates[:, number], resampling.level)
        entry = dict(row.labels)
        if row.part != "layer_differences":
            entry |= _figures(gold, row.values, interval)
        if contrast is not None:
            ours, theirs = contrast
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


def _partial_layers(
    gold: Column, scores: Float[np.ndarray, "pairs layers"], given: Covariates, resampling: _Resampling
) -> list[_Result]:
    """The same for every layer of the headline measure, all covariates held constant."""
    covariates = np.stack([_checked(f"covariate {name}", given[name], len(gold)) for name in given], axis=1)
    replicates = bootstrap_partial_spearman_columns(
        scores, gold, covariates, resamples=resampling.resamples, rng=resampling.rng()
    )
    results = []
    for layer, values in enumerate(scores.T, start=1):
        interval = percentile_interval(replicates[:, layer - 1], resampling.level)
        entry = {
            "layer": layer,
            "given": list(given),
            "spearman": _number(partial_spearman(values, gold, covariates)),
            **_bounds(interval),
            "n": int(complete_rows(values, *covariates.T).sum()),
        }
        results.append(_Result(f"layer {layer}, partial", entry, interval))
    return results


def _notes(parts: Mapping[str, Sequence[_Result]], n_pairs: int) -> Iterator[str]:
    """Sentences on missing scores, undefined correlations and resamples that had to be left out."""
    results = [result for part, found in parts.items() if part != "layer_differences" for result in found]
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
