"""The tables of a density run: what the terminal shows last, and ``density.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from actsim.report.density_curves import (
    Measure,
    contrasts,
    domain_names,
    share_over,
    shown_first,
    values_by_layer,
)
from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import MISSING, Row, counted, one_line, percent
from actsim.store.parts import WHOLE_LAYER

MEASURES = ("mean", "participation", "gini", "gini_error")
LAYER_COLUMN, CELL_GAP = 5, 3
HALVES = ("shallow", "deep")
KINDS_OF_TEXT = ("running", "tasks")

QUESTIONS = {
    HALVES: "shallow layers denser than deep ones?",
    KINDS_OF_TEXT: "running text denser than tasks in the deep half?",
}


def contrast_cells(measure: Measure, row: Row, ends: tuple[str, str]) -> list[str]:
    """Both figures, their difference with its interval, and the verdict."""
    return [
        *(measure.text(row[end]) for end in ends),
        measure.difference_text(row),
        row["verdict"] or MISSING,
    ]


def holds_in(summary: Row, measure: Measure) -> str:
    """``5 of 9``: in how many single domains shallow layers are denser."""
    verdicts = [row["verdict"] for row in contrasts(summary["depth"], measure) if row["domain"] is not None]
    return f"{verdicts.count('holds')} of {len(verdicts)}"


def mean_contrast(rows: Sequence[Row], measure: Measure) -> Row:
    """The contrast of a measure for all domains together."""
    return contrasts(rows, measure)[-1]


def intervals_sentence(summary: Row) -> str:
    """What the intervals are over, and what the verdicts mean."""
    if not summary["folds"]:
        return "No intervals: the samples were not taken apart (--folds 1)."
    return (
        f"{percent(summary['level'])} intervals over {counted(summary['folds'], 'fold')} of the samples: they speak of "
        "other samples of the same domains. holds or opposite: the interval lies on one side of 0; open: it does not. "
        "A smaller Gini coefficient is denser."
    )


def density_table(summary: Row) -> Page:
    """What ``actsim density`` prints last: shares by layer and domain, then what becomes of the finding."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    measure = share_over(summary["headline"][0])
    yield ink.text(f"density: {one_line(summary['model']['name'])}", "bold")
    yield ink.text(f"{summary['objective']}, {summary['pattern']}", "dim")
    yield Text()
    yield ink.text(measure.axis, "bold")
    for domains in _side_by_side(ink, domain_names(summary)):
        found = {domain: values_by_layer(summary, measure, domain) for domain in domains}
        rows = [[layer, *(measure.text(found[own].get(layer)) for own in domains)] for layer in summary["layers"]]
        yield ink.table(["layer", *map(one_line, domains)], rows)
        yield Text()
    for ends, rows in ((HALVES, summary["depth"]), (KINDS_OF_TEXT, summary["running_text"])):
        if rows:
            yield from _contrasts(ink, summary, ends, rows)
            yield Text()
    yield ink.text(intervals_sentence(summary), "dim")
    if summary["notes"]:
        yield Text()
        yield from (ink.text(f"- {one_line(note)}") for note in summary["notes"])


def _side_by_side(ink: Ink, domains: Sequence[str]) -> Iterator[list[str]]:
    """The domains in as many tables as the screen's width asks for."""
    block: list[str] = []
    room = ink.width - LAYER_COLUMN
    for domain in domains:
        needed = max(len(domain), LAYER_COLUMN) + CELL_GAP
        if block and needed > room:
            yield block
            block, room = [], ink.width - LAYER_COLUMN
        block.append(domain)
        room -= needed
    yield block


def _contrasts(ink: Ink, summary: Row, ends: tuple[str, str], rows: Sequence[Row]) -> Iterator[RenderableType]:
    yield ink.text(QUESTIONS[ends], "bold")
    headings = ["measure", *ends, "difference", "verdict"]
    singly = ends == HALVES and len(summary["domains"]) > 1
    cells = []
    for measure in shown_first(summary):
        own = [measure.label, *contrast_cells(measure, mean_contrast(rows, measure), ends)]
        cells.append([*own, holds_in(summary, measure)] if singly else own)
    yield ink.table([*headings, *(["domains"] if singly else [])], cells, labels=["measure", "verdict"])
    if singly:
        yield ink.text("the mean of the domains; domains: in how many of them alone it holds", "dim")


def density_csv(summary: Row) -> str:
    """One row per domain, layer, module kind and γ: count and share of the parameters with Ā > γ, and what has no γ.

    Intervals are of whole layers; those of the shares only. Floats are written with ``repr``; what is undefined is an
    empty field.
    """
    header = ["domain", "layer", "kind", "gamma", "count", "share", "ci_low", "ci_high", "parameters", "zeros"]
    ends = {
        (row["domain"], row["layer"], WHOLE_LAYER, gamma): end
        for row in summary["intervals"]
        for gamma, end in zip(summary["gammas"], row["share"], strict=True)
    }
    rows = []
    for row in summary["rows"]:
        for gamma, count in zip(summary["gammas"], row["counts"], strict=True):
            place = (row["domain"], row["layer"], row["kind"], gamma)
            low, high = ends.get(place, (None, None))
            shares = [count, count / row["parameters"], low, high]
            rows.append([*place, *shares, row["parameters"], row["zeros"], *(row[name] for name in MEASURES)])
    return csv_text([*header, *MEASURES], rows)
