"""What figures and tables of a pruning study show, out of its summary: ways of pruning, calibration grids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actsim.report.wording import MISSING, Row, interval, number, one_line, percent

AXES = ("score", "sparsity", "calibration")
PERPLEXITY = "perplexity"


class Way(NamedTuple):
    """How models were pruned that differ in their allocation alone.

    Attributes:
        score, sparsity: of theirs.
        calibration: None where no model of them needs one.
    """

    score: str
    sparsity: float
    calibration: str | None

    def holds(self, row: Row) -> bool:
        """Whether a row is of this way; what no calibration touches is of every calibration."""
        same = (row["score"], row["sparsity"]) == (self.score, self.sparsity)
        return same and row["calibration"] in (self.calibration, None)


def ways(summary: Row) -> list[Way]:
    """Every way, in the order of the study."""
    found: dict[tuple[str, float], dict[str | None, None]] = {}
    for row in summary["plans"]:
        found.setdefault((row["score"], row["sparsity"]), {})[row["calibration"]] = None
    return [
        Way(score, sparsity, calibration)
        for (score, sparsity), own in found.items()
        for calibration in (tuple(name for name in own if name is not None) or (None,))
    ]


def varied(summary: Row) -> list[str]:
    """Those of AXES that the study varies."""
    return [name for name in AXES if len({row[name] for row in summary["plans"]} - {None}) > 1]


def axis_text(row: Row, name: str) -> str:
    """The value of one of AXES in a row."""
    value = row[name]
    return f"{value:g}" if isinstance(value, float) else one_line(value or MISSING)


def way_label(summary: Row, way: Way) -> str:
    """``wanda, 50 %, c4``, without what the study does not vary; "all" where it varies nothing."""
    texts = {"score": way.score, "sparsity": percent(way.sparsity), "calibration": way.calibration or MISSING}
    return ", ".join(one_line(texts[name]) for name in varied(summary)) or "all"


def fixed_text(summary: Row) -> str:
    """What every model shares: ``score wanda, sparsity 0.5, calibration c4``."""
    fixed = [name for name in AXES if name not in varied(summary)]
    return ", ".join(f"{name} {axis_text(summary['plans'][-1], name)}" for name in fixed)


def allocations(summary: Row) -> list[str]:
    """Their labels, in the order of the study."""
    return list(dict.fromkeys(row["allocation"] for row in summary["plans"]))


def of(rows: Iterable[Row], way: Way, **wanted: object) -> list[Row]:
    """The rows of a way whose further keys are as given."""
    return [row for row in rows if way.holds(row) and all(row[key] == value for key, value in wanted.items())]


def places(summary: Row, names: Sequence[str], rows: Iterable[Row], way: Way) -> list[float]:
    """Where points stand on an axis of allocations 0, 1, …: those of one allocation beside each other, way by way."""
    known = ways(summary)
    aside = 0.7 * (known.index(way) + 0.5) / len(known) - 0.35
    return [names.index(row["allocation"]) + aside for row in rows]


def figure_name(row: Row) -> str:
    """What a measure's figure is called: ``perplexity``, ``accuracy, %``, ``100 × Spearman's ρ``."""
    return {PERPLEXITY: "perplexity", "accuracy": "accuracy, %"}.get(row["figure"], "100 × Spearman’s ρ")


def unit(figure: str) -> str:
    """The unit of differences of a figure."""
    return "% of the perplexity" if figure == PERPLEXITY else "points"


def measure_label(name: str) -> str:
    """``wikitext2`` of ``nll:wikitext2``; ``boolq (acc_norm)`` of ``acc_norm:boolq``."""
    metric, _, data = name.partition(":")
    return one_line(data if metric in ("nll", "cosine") else f"{data} ({metric})")


def value_text(row: Row) -> str:
    """``82.41 [82.00, 82.82]``, the interval left out where there is none."""
    ends = interval(row["ci_low"], row["ci_high"], 2)
    return number(row["value"], 2) + ("" if ends == MISSING else f" {ends}")


def difference_ends(row: Row) -> tuple[float, float]:
    """The interval that the verdict goes by: over the seeds, or where there are none over the items."""
    if row["ci_low"] is None:
        return row["items_low"], row["items_high"]
    return row["ci_low"], row["ci_high"]


def difference_text(row: Row) -> str:
    """``-0.10 [-0.45, +0.26]``."""
    return f"{number(row['difference'], 2, signed=True)} {interval(*difference_ends(row), 2, signed=True)}"


def turned(row: Row, figure: str) -> Row:
    """A difference the other way round."""

    def turn(value: float | None) -> float | None:
        if value is None or figure != PERPLEXITY:
            return None if value is None else -value
        return 100 * math.expm1(-math.log1p(value / 100))

    ends = {low: turn(row[high]) for low, high in _BOTH_ENDS} | {high: turn(row[low]) for low, high in _BOTH_ENDS}
    verdict = {"better": "worse", "worse": "better"}.get(row["verdict"], row["verdict"])
    names = {"allocation": row["against"], "against": row["allocation"]}
    return {**row, **names, **ends, "difference": turn(row["difference"]), "verdict": verdict}


_BOTH_ENDS = (("ci_low", "ci_high"), ("items_low", "items_high"))


# calibrations against texts


class CalibrationGrid(NamedTuple):
    """What pruning with every calibration costs on every text, or task.

    Attributes:
        score, allocation, sparsity: how models were pruned.
        figure: perplexity, accuracy or spearman.
        calibrations, texts: the names of rows and columns.
        values: [calibrations, texts], the figures.
        against_dense: the same against the dense model, in ``unit(figure)``.
    """

    score: str
    allocation: str
    sparsity: float
    figure: str
    calibrations: tuple[str, ...]
    texts: tuple[str, ...]
    values: np.ndarray
    against_dense: np.ndarray

    def against_text(self) -> np.ndarray:
        """The same against the mean of every text over the calibrations, where differences are additive."""
        levels = np.log1p(self.against_dense / 100) if self.figure == PERPLEXITY else self.against_dense
        centred = levels - levels.mean(axis=0)
        return 100 * np.expm1(centred) if self.figure == PERPLEXITY else centred

    def holds(self, row: Row) -> bool:
        """Whether a row of ``own_domain`` or ``transfer`` is of this grid."""
        return all(row[name] == getattr(self, name) for name in ("score", "allocation", "sparsity", "figure"))


def calibration_grids(summary: Row) -> list[CalibrationGrid]:
    """One for every way of pruning that several calibrations were used for, and figure that several texts have."""
    return list(_grids(summary))


def _grids(summary: Row) -> Iterator[CalibrationGrid]:
    figures = {row["measure"]: row["figure"] for row in summary["dense"]}
    by_way: dict[tuple[str, str, float, str], list[Row]] = {}
    for row in summary["figures"]:
        if row["calibration"] is not None:
            key = row["score"], row["allocation"], row["sparsity"], figures[row["measure"]]
            by_way.setdefault(key, []).append(row)
    for key, rows in by_way.items():
        calibrations = tuple(dict.fromkeys(row["calibration"] for row in rows))
        measures = tuple({_data(row["measure"]): row["measure"] for row in rows}.values())
        if min(len(calibrations), len(measures)) > 1:
            found = {(row["calibration"], row["measure"]): row for row in rows}
            values, against = (
                np.array([[found[name, measure][which] for measure in measures] for name in calibrations])
                for which in ("value", "against_dense")
            )
            yield CalibrationGrid(*key, calibrations, tuple(map(_data, measures)), values, against)


def _data(measure: str) -> str:
    return measure.partition(":")[2]


def grid_label(grid: CalibrationGrid, grids: Sequence[CalibrationGrid]) -> str:
    """``wanda, uniform, 50 %, perplexity``, without what all grids share."""
    texts = {
        "score": grid.score,
        "allocation": grid.allocation,
        "sparsity": percent(grid.sparsity),
        "figure": grid.figure,
    }
    differ = [name for name in texts if len({getattr(own, name) for own in grids}) > 1]
    return ", ".join(one_line(texts[name]) for name in differ) or "all"


def own_domain_text(row: Row) -> str:
    """How a text fares with a calibration of its own domain: ``-1.20 [-2.00, -0.40] % of the perplexity``."""
    if row["figure"] != PERPLEXITY:
        value, low, high = (row[name] for name in ("difference", "ci_low", "ci_high"))
    else:  # quality falls where ln of the perplexity rises
        value, low, high = (_percent_of_perplexity(row[name]) for name in ("difference", "ci_high", "ci_low"))
    return f"{number(value, 2, signed=True)} {interval(low, high, 2, signed=True)} {unit(row['figure'])}"


def _percent_of_perplexity(quality: float | None) -> float | None:
    return None if quality is None else 100 * math.expm1(-quality)
