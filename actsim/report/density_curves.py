"""What can be drawn of a density run over its layers: shares over every γ, and measures without a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actsim.report.wording import MISSING, Row, defined, interval, number
from actsim.store.parts import WHOLE_LAYER

MEAN = "mean of the domains"
"""What stands for all domains together where a domain is chosen."""

PER_CENT, MILLIONTHS = 100.0, 1e6


@dataclass(frozen=True)
class Measure:
    """A figure that every layer has.

    Attributes:
        name: ``share``, ``participation``, ``gini`` or ``mean``, as in the summary.
        gamma: the threshold of a share.
        label: how it is called.
        axis: what stands at its axis, with the unit.
        factor: from the summary's figure to that unit.
        digits: after the point.
        fine_digits: after the point of a difference.
    """

    name: str
    gamma: float | None
    label: str
    axis: str
    factor: float
    digits: int
    fine_digits: int

    def text(self, value: float | None) -> str:
        """The figure in its unit."""
        known = defined(value)
        return MISSING if known is None else number(self.factor * known, self.digits)

    def interval_text(self, low: float | None, high: float | None) -> str:
        """The ends of an interval in its unit."""
        low, high = _scaled([low, high], self.factor)
        return interval(low, high, self.digits)

    def difference_text(self, row: Row) -> str:
        """The difference of a contrast with its interval: ``+3.00 [+2.85, +3.14]``."""
        value, low, high = _scaled([row[name] for name in ("difference", "ci_low", "ci_high")], self.factor)
        ends = interval(low, high, self.fine_digits, signed=True)
        return f"{number(value, self.fine_digits, signed=True)} {ends}"

    def of(self, row: Row) -> bool:
        """Whether a contrast of the summary is one of this measure."""
        return (row["measure"], row["gamma"]) == (self.name, self.gamma)


def share_over(gamma: float) -> Measure:
    """The share of the parameters with Ā > γ."""
    label = f"share > {gamma:g}"
    return Measure("share", gamma, label, f"parameters with Ā > {gamma:g}, %", PER_CENT, 1, 2)


WITHOUT_THRESHOLD = (
    Measure("participation", None, "participation", "participation ratio of Ā", 1.0, 3, 3),
    Measure("gini", None, "Gini", "Gini coefficient of Ā", 1.0, 3, 3),
)
SCALE = Measure("mean", None, "mean", "mean of Ā, millionths", MILLIONTHS, 1, 1)
"""No density: how large the activations are, which decides what a threshold counts."""


def shown_first(summary: Row) -> list[Measure]:
    """The shares over the headline's γ, then what needs none."""
    return [*map(share_over, summary["headline"]), *WITHOUT_THRESHOLD]


def all_measures(summary: Row) -> list[Measure]:
    """Those shown first, the scale, then the shares over all other γ."""
    others = [gamma for gamma in summary["gammas"] if gamma not in summary["headline"]]
    return [*shown_first(summary), SCALE, *map(share_over, others)]


def domain_names(summary: Row) -> list[str]:
    """The domains in their order."""
    return [row["name"] for row in summary["domains"]]


def values_by_layer(
    summary: Row, measure: Measure, domain: str | None, kind: str = WHOLE_LAYER
) -> dict[int, float | None]:
    """Layer -> figure of a kind of maps in one domain; None for the mean over the domains."""
    found: dict[int, list[float | None]] = {}
    for row in summary["rows"]:
        if row["kind"] == kind and domain in (row["domain"], None):
            found.setdefault(row["layer"], []).append(_value(summary, row, measure))
    return {layer: _mean(values) for layer, values in sorted(found.items())}


def curve(summary: Row, measure: Measure, domain: str) -> dict[int, dict[str, Any]]:
    """Layer -> ``value``, ``ci_low``, ``ci_high`` of the whole layer, in the measure's unit."""
    values = values_by_layer(summary, measure, domain)
    ends = {
        row["layer"]: row["share"][summary["gammas"].index(measure.gamma)]
        if measure.gamma is not None
        else row[measure.name]
        for row in summary["intervals"]
        if row["domain"] == domain
    }
    return {
        layer: dict(zip(("value", "ci_low", "ci_high"), _scaled([value, *ends[layer]], measure.factor), strict=True))
        for layer, value in values.items()
    }


def contrasts(rows: Sequence[Row], measure: Measure) -> list[Row]:
    """The contrasts of a measure: of every domain, then of their mean, or the single one that there is."""
    return [row for row in rows if measure.of(row)]


def _value(summary: Row, row: Row, measure: Measure) -> float | None:
    if measure.gamma is None:
        return row[measure.name]
    return row["counts"][summary["gammas"].index(measure.gamma)] / row["parameters"]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _scaled(values: Sequence[float | None], factor: float) -> list[float | None]:
    return [None if value is None else factor * value for value in values]
