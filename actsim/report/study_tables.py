"""The tables of a pruning study: what the terminal shows last, and its csv files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import MISSING, Row, one_line, percent

FIGURES_CSV, DIFFERENCES_CSV, PLANS_CSV = "figures.csv", "differences.csv", "plans.csv"
AXES = ("score", "sparsity", "calibration")


def study_table(summary: Row) -> Page:
    """What ``actsim study`` prints last: the dense model, then every grid, then how allocations differ."""
    return Page(lambda ink: _blocks(ink, summary))


def study_files(summary: Row) -> dict[str, bytes]:
    """Further files of a study: figures, differences and plans."""
    return {
        FIGURES_CSV: _csv(summary["figures"]),
        DIFFERENCES_CSV: _csv(summary["differences"]),
        PLANS_CSV: _csv(list(_plan_rows(summary["plans"]))),
    }


def _csv(rows: Sequence[Row]) -> bytes:
    header = list(rows[0]) if rows else []
    return csv_text(header, [[row[name] for name in header] for row in rows]).encode()


def _plan_rows(plans: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for plan in plans:
        for block, (planned, achieved) in enumerate(zip(plan["planned"], plan["achieved"], strict=True)):
            yield {
                **{name: plan[name] for name in ("score", "allocation", "sparsity", "calibration")},
                "layer": block + 1,
                "planned": planned,
                "achieved": achieved,
                "profile": None if plan["profile"] is None else plan["profile"][block],
            }


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    axes = [name for name in AXES if len({row[name] for row in summary["plans"]} - {None}) > 1]
    fixed = [f"{name} {_axis(summary['plans'][-1], name)}" for name in AXES if name not in axes]
    yield ink.text(f"study: {one_line(summary['model']['name'])}", "bold")
    if fixed:
        yield ink.text(", ".join(fixed), "dim")
    yield Text()
    for dense in summary["dense"]:
        yield from _measure_blocks(ink, summary, dense, axes)
    yield ink.text(
        f"{percent(summary['level'])} intervals: over the seeds of the calibration draw (t) where there are several, "
        f"else over the items (bootstrap). better or worse: the interval lies on one side of 0, before any correction; "
        "differences.csv has both intervals and Holm's p-values.",
        "dim",
    )


def _measure_blocks(ink: Ink, summary: Row, dense: Row, axes: Sequence[str]) -> Iterator[RenderableType]:
    measure = dense["measure"]
    yield ink.text(f"{measure}: {dense['figure']}, dense {dense['value']:.2f} ({dense['items']} items)", "bold")
    rows = [
        [*(_axis(row, name) for name in axes), row["allocation"], str(row["seeds"]), f"{row['value']:.2f}", _ends(row)]
        for row in summary["figures"]
        if row["measure"] == measure
    ]
    labels = [*axes, "allocation"]
    yield ink.table([*labels, "seeds", "mean", percent(summary["level"])], rows, labels=labels)
    yield Text()
    differences = [
        [
            *(_axis(row, name) for name in axes),
            row["allocation"],
            row["against"],
            f"{row['difference']:+.2f}",
            _difference_ends(row),
            row["verdict"],
        ]
        for row in summary["differences"]
        if row["measure"] == measure
    ]
    if differences:
        unit = "% of the perplexity" if dense["figure"] == "perplexity" else "points"
        yield ink.text(f"paired differences, in {unit}", "bold")
        labels = [*labels, "against"]
        headings = [*labels, "difference", percent(summary["level"]), "verdict"]
        yield ink.table(headings, differences, labels=[*labels, "verdict"])
        yield Text()


def _ends(row: Row) -> str:
    return MISSING if row["ci_low"] is None else f"[{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


def _difference_ends(row: Row) -> str:
    low, high = (row["items_low"], row["items_high"]) if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
    return f"[{low:+.2f}, {high:+.2f}]"


def _axis(row: Row, name: str) -> str:
    value = row[name]
    return f"{value:g}" if isinstance(value, float) else one_line(value or MISSING)
