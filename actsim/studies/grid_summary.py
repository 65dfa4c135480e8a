"""From the values of a pruning study's cells to its figures: means over seeds, intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from actsim.stats.bootstrap import bootstrap_spearman, percentile_interval
from actsim.stats.correlation import spearman
from actsim.stats.multiple import holm
from actsim.store.cells import ACHIEVED, DENSE, PLANNED, PROFILE, STUDY, CellValues, Floats
from actsim.studies.evaluations import ACCURACY, PERPLEXITY
from actsim.studies.intervals import Intervals, t_interval
from actsim.studies.transfer import DomainMatrices, Grid, corpus_of, own_domain, transfer_rows

BETTER, WORSE, OPEN = "better", "worse", "open"


@dataclass(frozen=True, eq=False)
class Measure:
    """What the items of a measure are summed up to.

    Differences are taken on a scale on which they are additive, the *level*: ln of a perplexity, and 100 times an
    accuracy or Spearman's ρ. A difference d of levels is shown as 100 (e^d - 1) percent of the perplexity, or points.

    Attributes:
        name: of the measure.
        figure: perplexity, accuracy or spearman.
        data: the text, task or benchmark.
        gold: for spearman the gold scores.
    """

    name: str
    figure: str
    data: str
    gold: Floats | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether a negative difference is a gain."""
        return self.figure == PERPLEXITY

    def level(self, items: Floats) -> float:
        """The level of a model out of its items."""
        if self.figure == PERPLEXITY:
            return float(items.mean())
        if self.figure == ACCURACY:
            return float(100 * items.mean())
        assert self.gold is not None
        return float(100 * spearman(items, self.gold))

    def replicates(self, columns: Floats, intervals: Intervals) -> Floats:
        """[resamples, columns]: the level of every column [items, columns] in resamples of the items that all share."""
        rng = np.random.default_rng(intervals.seed)
        if self.gold is not None:
            return 100 * bootstrap_spearman(columns, self.gold, resamples=intervals.resamples, rng=rng)
        n = len(columns)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=intervals.resamples)
        return counts @ columns / n * (1 if self.figure == PERPLEXITY else 100)

    def shown(self, level: float) -> float:
        """A level as the figure that is read."""
        return math.exp(level) if self.figure == PERPLEXITY else level

    def shown_difference(self, difference: float) -> float:
        """A difference of levels in percent of the perplexity, or in points."""
        return 100 * math.expm1(difference) if self.figure == PERPLEXITY else difference


def summarise(
    config: Mapping[str, Any], values: CellValues, intervals: Intervals, similar: DomainMatrices | None = None
) -> dict[str, Any]:
    """The summary of a study out of the values of its cells, ready for JSON.

    Args:
        config: of the study.
        values: of all its cells.
        intervals: how they are made.
        similar: what calibrations and texts are set against; None for nothing.
    """
    groups = _groups(config)
    measures = [
        Measure(name, figure, own["data"], np.array(own["gold"]) if "gold" in own else None)
        for own in config["evaluations"]
        for name, figure in own["figures"].items()
    ]
    same_rows = _same_rows(config)
    grids = list(_grids(measures, groups, values, same_rows))
    return {
        "study": STUDY,
        "model": config["model"],
        "dtype": config["dtype"],
        "n_layers": config["n_layers"],
        "calibrations": [own["name"] for own in config["calibrations"].values()],
        "samples": config["samples"],
        "seq_len": config["seq_len"],
        "level": intervals.level,
        "resamples": intervals.resamples,
        "permutations": intervals.permutations,
        "seed": intervals.seed,
        "evaluations": [_described(own) for own in config["evaluations"]],
        "dense": [_dense_row(measure, values) for measure in measures],
        "figures": [_figure_row(measure, group, values, intervals) for measure in measures for group in groups],
        "differences": [row for measure in measures for row in _difference_rows(measure, groups, values, intervals)],
        "plans": [_plan_row(group, values) for group in groups],
        "own_domain": [way | row for way, grid in grids for row in own_domain(grid, intervals.level)],
        "similarity": None if similar is None else similar.source,
        "transfer": [
            way | row for way, grid in grids if similar is not None for row in transfer_rows(grid, similar, intervals)
        ],
        "notes": [
            f"{text}: the calibration {calibration} is out of the same rows; the cell says nothing of other texts."
            for calibration, text in sorted(same_rows)
        ],
    }


@dataclass(frozen=True)
class _Group:
    """Cells that differ in their seed alone."""

    score: str
    allocation: str
    sparsity: float
    calibration: str | None
    cells: dict[int | None, int]
    """Seed -> number of the cell."""

    def row(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "allocation": self.allocation,
            "sparsity": self.sparsity,
            "calibration": self.calibration,
        }


def _groups(config: Mapping[str, Any]) -> list[_Group]:
    """Cells by all but their seed; calibrations by the names of their domains."""
    names = {spec: own["name"] for spec, own in config["calibrations"].items()}
    found: dict[tuple[Any, ...], dict[int | None, int]] = {}
    for number, cell in enumerate(config["cells"], start=1):
        key = cell["score"], cell["allocation"], cell["sparsity"], names.get(cell["calibration"])
        found.setdefault(key, {})[cell["seed"]] = number
    return [
        _Group(score, allocation, sparsity, calibration, seeds)
        for (score, allocation, sparsity, calibration), seeds in found.items()
    ]


def _described(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in evaluation.items() if key != "gold"}


def _dense_row(measure: Measure, values: CellValues) -> dict[str, Any]:
    items = values.of(DENSE, measure.name)
    value = measure.shown(measure.level(items))
    return {"measure": measure.name, "figure": measure.figure, "items": len(items), "value": value}


def _figure_row(measure: Measure, group: _Group, values: CellValues, intervals: Intervals) -> dict[str, Any]:
    """The figure of the mean level over the seeds, with its t interval where there are several.

    Of perplexities that is the geometric mean, and no end of the interval is below zero.
    """
    levels = np.array([measure.level(values.of(cell, measure.name)) for cell in group.cells.values()])
    low, high = t_interval(levels, intervals.level)
    shown = measure.shown
    return {
        **group.row(),
        "measure": measure.name,
        "seeds": len(levels),
        "value": shown(float(levels.mean())),
        "ci_low": None if low is None else shown(low),
        "ci_high": None if high is None else shown(high),
        "lowest": shown(float(levels.min())),
        "highest": shown(float(levels.max())),
        "against_dense": measure.shown_difference(float(levels.mean()) - measure.level(values.of(DENSE, measure.name))),
    }


def _difference_rows(
    measure: Measure, groups: Sequence[_Group], values: CellValues, intervals: Intervals
) -> list[dict[str, Any]]:
    """Every allocation against every one before it, where score, sparsity and calibration are the same."""
    order = list(dict.fromkeys(group.allocation for group in groups))
    rows = [
        _difference_row(measure, group, other, values, intervals)
        for group in groups
        for other in groups
        if order.index(other.allocation) < order.index(group.allocation) and _comparable(group, other)
    ]
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm(np.array([row["p"] for row in tested])) if tested else [], strict=True):
        row["p_holm"] = float(p)
    return rows


def _comparable(group: _Group, other: _Group) -> bool:
    same = (group.score, group.sparsity) == (other.score, other.sparsity)
    return same and (group.calibration == other.calibration or None in (group.calibration, other.calibration))


def _difference_row(
    measure: Measure, group: _Group, other: _Group, values: CellValues, intervals: Intervals
) -> dict[str, Any]:
    """The allocation of ``group`` minus that of ``other``, seed by seed, on the same items."""
    numbers = [(own, theirs) for own, theirs in _paired(group, other)]
    columns = [np.stack([values.of(pair[side], measure.name) for pair in numbers], axis=1) for side in (0, 1)]
    levels = [np.array([measure.level(column) for column in side.T]) for side in columns]
    found = levels[0] - levels[1]
    low, high = t_interval(found, intervals.level)
    drawn = measure.replicates(np.concatenate(columns, axis=1), intervals)
    spread = drawn[:, : len(found)].mean(axis=1) - drawn[:, len(found) :].mean(axis=1)
    items = percentile_interval(spread, intervals.level)
    ends = (items.low, items.high) if low is None or high is None else (low, high)
    p = None
    if len(found) > 1 and found.std() > 0:
        p = float(scipy.stats.ttest_1samp(found, 0.0).pvalue)
    shown = measure.shown_difference
    return {
        **group.row(),
        "calibration": group.calibration or other.calibration,
        "against": other.allocation,
        "measure": measure.name,
        "seeds": len(found) if p is not None else None,
        "difference": shown(float(found.mean())),
        "ci_low": None if low is None else shown(low),
        "ci_high": None if high is None else shown(high),
        "items_low": shown(items.low),
        "items_high": shown(items.high),
        "p": p,
        "p_holm": None,
        "verdict": _verdict(ends, measure.lower_is_better),
    }


def _paired(group: _Group, other: _Group) -> list[tuple[int, int]]:
    """The cells of both with one seed; one that has no seed stands beside every seed of the other."""
    seeds = list(dict.fromkeys([*group.cells, *other.cells]))
    shared = [seed for seed in seeds if seed is not None] or seeds
    return [
        (group.cells.get(seed, group.cells.get(None, -1)), other.cells.get(seed, other.cells.get(None, -1)))
        for seed in shared
    ]


def _verdict(ends: tuple[float, float], lower_is_better: bool) -> str:
    low, high = ends
    if low <= 0 <= high:
        return OPEN
    return BETTER if (high < 0) == lower_is_better else WORSE


def _plan_row(group: _Group, values: CellValues) -> dict[str, Any]:
    """Planned and achieved sparsity of every block, means over the seeds."""
    cells = list(group.cells.values())
    profile = np.stack([values.of(cell, PROFILE) for cell in cells]).mean(axis=0)
    return {
        **group.row(),
        "planned": np.mean([values.of(cell, PLANNED) for cell in cells], axis=0).tolist(),
        "achieved": np.mean([values.of(cell, ACHIEVED) for cell in cells], axis=0).tolist(),
        "profile": None if np.isnan(profile).any() else profile.tolist(),
    }


def _same_rows(config: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Calibrations and what is measured that are one split of one corpus."""
    return frozenset(
        (calibration["name"], own["data"])
        for calibration in config["calibrations"].values()
        for own in config["evaluations"]
        if corpus_of(calibration["name"]) == corpus_of(own["data"]) and calibration["split"] == _split(own)
    )


def _split(evaluation: Mapping[str, Any]) -> str | None:
    """The split that is measured, of a text, questions or pairs."""
    described = next(evaluation[kind] for kind in ("text", "questions", "pairs") if kind in evaluation)
    return described["split"]


def _grids(
    measures: Sequence[Measure],
    groups: Sequence[_Group],
    values: CellValues,
    same_rows: frozenset[tuple[str, str]],
) -> Iterator[tuple[dict[str, Any], Grid]]:
    """Calibrations by texts, or by tasks, for every way of pruning; where there are several of both.

    A task counts once, by the metric that is reported of it last: acc_norm where the length of the choices matters.
    """
    ways: dict[tuple[str, str, float], list[_Group]] = {}
    for group in groups:
        if group.calibration is not None:
            ways.setdefault((group.score, group.allocation, group.sparsity), []).append(group)
    by_figure: dict[str, dict[str, Measure]] = {}
    for measure in measures:
        by_figure.setdefault(measure.figure, {})[measure.data] = measure
    for figure, by_data in by_figure.items():
        own = list(by_data.values())
        for (score, allocation, sparsity), found in ways.items():
            if min(len(found), len(own)) > 1:
                way = {"score": score, "allocation": allocation, "sparsity": sparsity, "figure": figure}
                yield way, _grid(own, found, values, same_rows)


def _grid(
    measures: Sequence[Measure],
    groups: Sequence[_Group],
    values: CellValues,
    same_rows: frozenset[tuple[str, str]],
) -> Grid:
    quality = [
        [
            [
                measure.level(values.of(group.cells[seed], measure.name)) * (-1 if measure.lower_is_better else 1)
                for measure in measures
            ]
            for group in groups
        ]
        for seed in groups[0].cells
    ]
    calibrations = tuple(str(group.calibration) for group in groups)
    return Grid(calibrations, tuple(measure.data for measure in measures), np.array(quality), same_rows)
