"""The tables of a density run: what the terminal shows last, and ``density.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import MISSING, Row, counted, defined, interval, number, one_line, percent

MEASURES = ("mean", "participation", "gini", "gini_error")
MEASURE_NAMES = {"participation": "participation ratio", "gini": "Gini coefficient", "mean": "mean"}
WHOLE = "all"
LAYER_COLUMN, CELL_GAP = 5, 3


def gamma_text(gamma: float) -> str:
    """``2e-05``, ``0.5``."""
    return f"{gamma:g}"


def shares(summary: Row, domain: str, gamma: float, kind: str = WHOLE) -> dict[int, float]:
    """The share of the parameters of a kind with Ā > γ, by layer."""
    index = summary["gammas"].index(gamma)
    return {
        row["layer"]: row["counts"][index] / row["parameters"]
        for row in summary["rows"]
        if (row["domain"], row["kind"]) == (domain, kind)
    }


def share_intervals(summary: Row, domain: str, gamma: float) -> dict[int, tuple[float | None, float | None]]:
    """The intervals of the shares of whole layers, by layer."""
    index = summary["gammas"].index(gamma)
    return {row["layer"]: tuple(row["share"][index]) for row in summary["intervals"] if row["domain"] == domain}


def share_text(share: float | None) -> str:
    """A share in per cent: ``80.3``."""
    known = defined(share)
    return MISSING if known is None else number(100 * known, 1)


def figure_name(row: Row) -> str:
    """What a contrast is of: ``share over γ = 2e-05``, ``participation ratio``."""
    return f"share > {gamma_text(row['gamma'])}" if row["gamma"] is not None else MEASURE_NAMES[row["measure"]]


def contrast_rows(summary: Row, rows: Sequence[Row]) -> list[Row]:
    """The contrasts that are shown first: the shares over the headline's γ, and what needs none."""
    return [row for row in rows if row["gamma"] is None or row["gamma"] in summary["headline"]]


def contrast_cells(row: Row, ends: tuple[str, str]) -> list[str]:
    """Both figures, their difference with its interval, and the verdict; shares in per cent."""
    if row["measure"] == "mean":
        figures = [f"{row[end]:.3g}" for end in ends]
        low, high = (MISSING if row[end] is None else f"{row[end]:+.2g}" for end in ("ci_low", "ci_high"))
        text = MISSING if MISSING in (low, high) else f"[{low}, {high}]"
        return [*figures, f"{row['difference']:+.2g}", text, row["verdict"] or MISSING]
    factor, digits = (100, 1) if row["measure"] == "share" else (1, 3)
    known = {
        name: None if row[name] is None else factor * row[name] for name in (*ends, "difference", "ci_low", "ci_high")
    }
    return [
        *(number(known[end], digits) for end in ends),
        number(known["difference"], digits, signed=True),
        interval(known["ci_low"], known["ci_high"], digits, signed=True),
        row["verdict"] or MISSING,
    ]


def verdict_counts(summary: Row, measure: str, gamma: float | None) -> str:
    """``holds in 5, opposite in 1 of 9 domains``: what becomes of the depth contrast in single domains."""
    rows = [row for row in summary["depth"] if row["domain"] and (row["measure"], row["gamma"]) == (measure, gamma)]
    verdicts = [row["verdict"] for row in rows]
    return f"holds in {verdicts.count('holds')}, opposite in {verdicts.count('opposite')} of {len(rows)}"


def density_table(summary: Row) -> Page:
    """What ``actsim density`` prints last: shares by layer and domain, then what becomes of the finding."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    gamma = summary["headline"][0]
    yield ink.text(f"density: {one_line(summary['model']['name'])}", "bold")
    yield ink.text(f"{summary['objective']}, {summary['pattern']}", "dim")
    yield Text()
    yield ink.text(f"parameters with a mean activation > {gamma_text(gamma)}, %", "bold")
    for domains in _blocks_of_domains(ink, [one_line(row["name"]) for row in summary["domains"]]):
        found = {domain: shares(summary, domain, gamma) for domain in domains}
        rows = [[layer, *(share_text(found[domain].get(layer)) for domain in domains)] for layer in summary["layers"]]
        yield ink.table(["layer", *domains], rows)
    if summary["depth"]:
        yield Text()
        yield from _contrasts(
            ink,
            summary,
            "shallow layers denser than deep ones? (mean of the domains)",
            [row for row in summary["depth"] if row["domain"] is None],
            ("shallow", "deep"),
        )
    if summary["running_text"]:
        yield Text()
        question = "running text denser than tasks in the deep half?"
        yield from _contrasts(ink, summary, question, summary["running_text"], ("running", "tasks"))
    if summary["notes"]:
        yield Text()
        yield from (ink.text(f"- {one_line(note)}") for note in summary["notes"])


def _blocks_of_domains(ink: Ink, domains: Sequence[str]) -> Iterator[list[str]]:
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


def _contrasts(
    ink: Ink, summary: Row, question: str, rows: Sequence[Row], ends: tuple[str, str]
) -> Iterator[RenderableType]:
    yield ink.text(question, "bold")
    headings = ["measure", *ends, "difference", f"{percent(summary['level'])} interval", "verdict"]
    single = ends == ("shallow", "deep") and len(summary["domains"]) > 1
    cells = []
    for row in contrast_rows(summary, rows):
        own = [figure_name(row), *contrast_cells(row, ends)]
        cells.append([*own, verdict_counts(summary, row["measure"], row["gamma"])] if single else own)
    headings += ["single domains"] if single else []
    yield ink.table(headings, cells, labels=["measure", "verdict", "single domains"])
    folds = summary["folds"]
    ground = f"over {counted(folds, 'fold')} of the samples" if folds else "none: --folds 1"
    yield ink.text(f"intervals {ground}; a smaller Gini coefficient is denser", "dim")


def density_csv(summary: Row) -> str:
    """One row per domain, layer, module kind and γ: count and share of the parameters with Ā > γ, and what has no γ.

    Intervals are of whole layers; those of the shares only. Floats are written with ``repr``; what is undefined is an
    empty field.
    """
    header = ["domain", "layer", "kind", "gamma", "count", "share", "ci_low", "ci_high", "parameters", "zeros"]
    ends = {
        (row["domain"], row["layer"], WHOLE, gamma): end
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
