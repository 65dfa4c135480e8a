"""The tables of a pruning study: what the terminal shows last, and its csv files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from actsim.report.compare_tables import p_text
from actsim.report.study_series import (
    CalibrationGrid,
    axis_text,
    calibration_grids,
    difference_ends,
    fixed_text,
    grid_label,
    own_domain_text,
    unit,
    varied,
)
from actsim.report.study_wording import REMOVED, figure_unit, transfer_cells
from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import MISSING, Row, number, one_line, percent

FIGURES_CSV, DIFFERENCES_CSV, PLANS_CSV, TRANSFER_CSV = "figures.csv", "differences.csv", "plans.csv", "transfer.csv"
TRANSFER_HEADINGS = ("similarity of", "taken out", "ρ", "{level}, domains", "seeds", "p")
"""Of the cells of ``transfer_cells``."""


def study_table(summary: Row) -> Page:
    """What ``actsim study`` prints last: the dense model, every grid, how allocations differ, calibrations by texts."""
    return Page(lambda ink: _blocks(ink, summary))


def study_csvs(summary: Row) -> dict[str, bytes]:
    """File name -> content: figures, differences, plans, and how calibrations serve texts where that was asked."""
    found = {
        FIGURES_CSV: _csv(summary["figures"]),
        DIFFERENCES_CSV: _csv(summary["differences"]),
        PLANS_CSV: _csv(list(_plan_rows(summary["plans"]))),
    }
    return found | ({TRANSFER_CSV: _csv(summary["transfer"])} if summary["transfer"] else {})


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
    axes, fixed = varied(summary), fixed_text(summary)
    yield ink.text(f"study: {one_line(summary['model']['name'])}", "bold")
    if fixed:
        yield ink.text(fixed, "dim")
    yield Text()
    for dense in summary["dense"]:
        yield from _measure_blocks(ink, summary, dense, axes)
    grids = calibration_grids(summary)
    for grid in grids:
        yield from _grid_blocks(ink, summary, grid, grid_label(grid, grids))
    yield ink.text(
        f"{percent(summary['level'])} intervals: of means over the seeds of the calibration draw (t); of differences "
        "too, or over the items (bootstrap) where there is one seed. better or worse: the interval lies on one side of "
        "0, before any correction; differences.csv has both intervals and Holm's p-values.",
        "dim",
    )
    if summary["notes"]:
        yield Text()
        yield from (ink.text(f"- {one_line(note)}") for note in summary["notes"])


def _measure_blocks(ink: Ink, summary: Row, dense: Row, axes: Sequence[str]) -> Iterator[RenderableType]:
    measure = dense["measure"]
    yield ink.text(f"{measure}: {dense['figure']}, dense {dense['value']:.2f} ({dense['items']} items)", "bold")
    rows = [
        [
            *(axis_text(row, name) for name in axes),
            row["allocation"],
            str(row["seeds"]),
            f"{row['value']:.2f}",
            _ends(row),
        ]
        for row in summary["figures"]
        if row["measure"] == measure
    ]
    labels = [*axes, "allocation"]
    yield ink.table([*labels, "seeds", "mean", percent(summary["level"])], rows, labels=labels)
    yield Text()
    differences = [
        [
            *(axis_text(row, name) for name in axes),
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
        yield ink.text(f"paired differences, in {unit(dense['figure'])}", "bold")
        labels = [*labels, "against"]
        headings = [*labels, "difference", percent(summary["level"]), "verdict"]
        yield ink.table(headings, differences, labels=[*labels, "verdict"])
        yield Text()


def _grid_blocks(ink: Ink, summary: Row, grid: CalibrationGrid, label: str) -> Iterator[RenderableType]:
    """The matrix of calibrations and texts, and what it is set against."""
    where = "" if label == "all" else f" ({label})"
    yield ink.text(f"calibrations by texts{where}: {figure_unit(grid.figure)} against the mean of each text", "bold")
    numbers = [f"{place} {one_line(name)}" for place, name in enumerate(grid.texts, start=1)]
    rows = [
        [one_line(name), *(number(value, 1, signed=True) for value in line)]
        for name, line in zip(grid.calibrations, grid.against_text(), strict=True)
    ]
    yield ink.table(["calibration", *map(str, range(1, len(numbers) + 1))], rows, labels=["calibration"])
    yield ink.text(", ".join(numbers), "dim")
    yield from (
        ink.text(
            f"own domain, {REMOVED[row['removed']]}: {own_domain_text(row)}, p {p_text(row['p'])}, {row['texts']} texts"
        )
        for row in summary["own_domain"]
        if grid.holds(row)
    )
    yield Text()
    rows = [transfer_cells(row) for row in summary["transfer"] if grid.holds(row)]
    if rows:
        headings = [heading.format(level=percent(summary["level"])) for heading in TRANSFER_HEADINGS]
        yield ink.text("gain with a calibration, and its similarity to the text", "bold")
        yield ink.table(headings, rows, labels=headings[:2])
        yield Text()


def _ends(row: Row) -> str:
    return MISSING if row["ci_low"] is None else f"[{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


def _difference_ends(row: Row) -> str:
    low, high = difference_ends(row)
    return f"[{low:+.2f}, {high:+.2f}]"
