"""The lines of the layer curve beside that of the measure: baselines, controls and partial correlations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actsim.report.palette import PARTIAL_STYLE, LineStyle, baseline_style, control_style
from actsim.report.tables import layer_baselines
from actsim.report.wording import Row, baseline_label, defined, given_label, number


@dataclass(frozen=True)
class Line:
    """One line of the layer curve.

    Attributes:
        key: unlike that of any other line of the curve.
        label: its name for readers.
        style: how it is drawn.
        rows: layer -> its statistics; empty for a line at one height.
        level: the statistics of a line at one height, else None.
        shown: whether it is drawn before a reader asks for it.
        intervals: whether its intervals are drawn too: a control's reach is what it is there for.
    """

    key: str
    label: str
    style: LineStyle
    rows: dict[int, Row]
    level: Row | None = None
    shown: bool = True
    intervals: bool = False


def lines_beside(summary: Row, measure: str) -> list[Line]:
    """Every line to set a measure against: baselines of each layer, of the whole model, controls, partial correlations.

    ``controls`` and ``partial_layers`` may be absent from the summary; partial correlations are those of the headline
    measure, and only the one with most covariates is shown unasked.
    """
    return [*_baselines(summary), *_controls(summary, measure), *_partial(summary, measure)]


def _baselines(summary: Row) -> Iterator[Line]:
    for name, rows in layer_baselines(summary).items():
        yield Line(name, baseline_label(name), baseline_style(name), rows)
    for row in summary["baselines"]:
        value = defined(row["spearman"])
        if row["layer"] is None and value is not None:
            name = row["name"]
            yield Line(name, f"{baseline_label(name)} ({number(value)})", baseline_style(name), {}, row)


def _controls(summary: Row, measure: str) -> Iterator[Line]:
    for index, control in enumerate(summary.get("controls") or ()):
        rows = {row["layer"]: row for row in control["layers"] if row["measure"] == measure}
        if rows:
            label = "control: " + str(control["name"]).replace("-", " ")
            yield Line(f"control-{control['name']}", label, control_style(index), rows, intervals=True)


def _partial(summary: Row, measure: str) -> Iterator[Line]:
    if measure != summary["headline"]["measure"]:
        return
    found: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in summary.get("partial_layers") or ():
        found.setdefault(tuple(row["given"]), {})[row["layer"]] = row
    most = max(map(len, found), default=0)
    for given, rows in found.items():
        label = f"given {given_label(given)}"
        yield Line(f"partial-{'-'.join(given)}", label, PARTIAL_STYLE, rows, shown=len(given) == most, intervals=True)
