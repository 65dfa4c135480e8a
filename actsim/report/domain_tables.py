"""The tables of a run over domains: what the terminal shows last, and its csv files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from actsim.report.compare_tables import p_text
from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import Row, band_label, counted, interval, number, one_line, percent

ACTIVATION, PUBLISHED = "activation", "published"
SERIES = {
    ACTIVATION: "activation patterns",
    "hidden_mean": "mean hidden states",
    "tfidf": "TF-IDF of the words",
    "same_token": "same next token",
    PUBLISHED: "published matrix",
}
"""What similarities are of, by the names in the summary."""

FIGURES = ("within", "cross", "gap", "separation")
NUMBERS = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
ENDS = ("value", "ci_low", "ci_high")


def domain_names(summary: Row) -> list[str]:
    """The domains in the order of the run."""
    return [row["name"] for row in summary["domains"]]


def cells(summary: Row, name: str = ACTIVATION) -> dict[tuple[str, str], Row]:
    """The cells of a matrix by their domains, both ways round."""
    rows = summary["matrices"][name]
    return {pair: row for row in rows for pair in ((row["a"], row["b"]), (row["b"], row["a"]))}


def estimate_text(row: Row, digits: int = 3, *, signed: bool = False) -> str:
    """``0.412 [0.398, 0.425]``."""
    ends = interval(row["ci_low"], row["ci_high"], digits, signed=signed)
    return f"{number(row['value'], digits, signed=signed)} {ends}"


def correlation_name(row: Row) -> str:
    """What a correlation of matrices is of."""
    held = f", {SERIES[row['held']]} held constant" if row["held"] else ""
    diagonal = ", with the diagonal" if row["diagonal"] else ""
    return f"{SERIES[row['a']]} and {SERIES[row['b']]}{held}{diagonal}"


def correlation_text(row: Row) -> str:
    """ρ, with its interval where it has one."""
    return number(row["value"]) if row["ci_low"] is None else estimate_text(row)


# terminal


def domains_table(summary: Row) -> Page:
    """What ``actsim domains`` prints last: the matrix over the band, layers, and what the matrix is set against."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    level = percent(summary["level"])
    yield ink.text(f"domains: {one_line(summary['model']['name'])}", "bold")
    groups = counted(summary["n_groups"], "group")
    yield ink.text(f"{summary['objective']}, {summary['pattern']}; {groups} of two samples a domain", "dim")
    yield Text()
    yield ink.text(f"mean cosine within and between domains, {band_label(summary['band'])}", "bold")
    names, found = domain_names(summary), cells(summary)
    rows = [
        [f"{place} {one_line(a)}", *(number(found[a, b]["value"], 2) for b in names)]
        for place, a in enumerate(names, start=1)
    ]
    yield ink.table(["domain", *map(str, range(1, len(names) + 1))], rows, labels=["domain"])
    yield Text()
    yield ink.text("layer by layer", "bold")
    rows = [
        [row["layer"], *(number(row[name]["value"]) for name in FIGURES), p_text(row["gap"]["p_holm"])]
        for row in summary["layers"]
    ]
    yield ink.table(["layer", *FIGURES, "p (Holm)"], rows)
    yield ink.text("separation: how often a sample is closer to one of its own domain; 0.5 is chance", "dim")
    yield from _depth(ink, summary, level)
    yield Text()
    yield ink.text(f"beside the activation patterns, {band_label(summary['band'])}", "bold")
    yield ink.table(
        ["similarity of", "separation", f"{level} interval", "p (gap)"], _beside(summary), labels=["similarity of"]
    )
    if summary["correlations"]:
        yield Text()
        yield ink.text("correlation of the matrices (Spearman, Mantel's test)", "bold")
        rows = [
            [correlation_name(row), number(row["value"]), interval(row["ci_low"], row["ci_high"]), p_text(row["p"])]
            for row in summary["correlations"]
        ]
        yield ink.table(["matrices", "rho", f"{level} interval", "p"], rows, labels=["matrices"])
    if summary["notes"]:
        yield Text()
        yield from (ink.text(f"- {one_line(note)}") for note in summary["notes"])


def _depth(ink: Ink, summary: Row, level: str) -> Iterator[RenderableType]:
    if not summary["depth"]:
        return
    yield Text()
    yield ink.text("deep half of the layers minus shallow half", "bold")
    rows = [
        [
            row["figure"],
            number(row["value"], signed=True),
            interval(row["ci_low"], row["ci_high"], signed=True),
            row["deep_half_is"],
        ]
        for row in summary["depth"]
    ]
    headings = ["similarity", "difference", f"{level} interval", "the deep half is"]
    yield ink.table(headings, rows, labels=["similarity", "the deep half is"])


def _beside(summary: Row) -> Iterable[Sequence[object]]:
    for row in summary["bands"]:
        apart = row["separation"]
        ends = interval(apart["ci_low"], apart["ci_high"])
        yield [SERIES[row["name"]], number(apart["value"]), ends, p_text(row["gap"]["p"])]


# csv


def domain_csvs(summary: Row) -> dict[str, bytes]:
    """File name -> content; floats in full, what is undefined an empty field."""
    found = {
        "matrix.csv": _matrix_csv(summary),
        "layers.csv": _layers_csv(summary),
        "kinds.csv": _kinds_csv(summary),
        "pairs.csv": _pairs_csv(summary),
        "correlations.csv": _correlations_csv(summary),
    }
    return {name: text.encode() for name, text in found.items()}


def _matrix_csv(summary: Row) -> str:
    """One row per pair of domains and kind of similarity: the mean over the band, its interval, and the cosines."""
    rows = [
        [name, row["a"], row["b"], row.get("n"), *(row.get(end) for end in ENDS)]
        for name, own in summary["matrices"].items()
        for row in own
    ]
    return csv_text(["similarity", "domain_a", "domain_b", "n", "mean", *ENDS[1:]], rows)


def _layers_csv(summary: Row) -> str:
    """One row per layer and kind of similarity: within, between, gap, separation with intervals, p-values, ρ."""
    agreement = {(row["layer"], row["with"]): row for row in summary["agreement"]}
    others = list(dict.fromkeys(row["with"] for row in summary["agreement"]))
    header = ["similarity", "layer"]
    header += [f"{name}{end}" for name in FIGURES for end in ("", "_ci_low", "_ci_high")] + ["gap_p", "gap_p_holm"]
    header += [f"rho_{name}{end}" for name in others for end in ("", "_ci_low", "_ci_high")]
    rows = []
    for name, own in ((ACTIVATION, summary["layers"]), ("hidden_mean", summary["hidden_layers"])):
        for row in own:
            line = [name, row["layer"], *(row[figure][end] for figure in FIGURES for end in ENDS)]
            line += [row["gap"]["p"], row["gap"].get("p_holm")]
            known = [agreement[row["layer"], other] if name == ACTIVATION else {} for other in others]
            rows.append([*line, *(found.get(end) for found in known for end in ENDS)])
    return csv_text(header, rows)


def _kinds_csv(summary: Row) -> str:
    names = ("layer", "kind", "n_groups", "within", "cross", "separation")
    return csv_text(names, [[row[name] for name in names] for row in summary["kinds"]])


def _pairs_csv(summary: Row) -> str:
    """The distribution of the cosines of every pair of domains, over the band and at every layer."""
    names = ("layer", "a", "b", "n", "mean", *NUMBERS)
    header = ["layer", "domain_a", "domain_b", *names[3:]]
    return csv_text(header, [[row[name] for name in names] for row in summary["pairs"]])


def _correlations_csv(summary: Row) -> str:
    names = ("a", "b", "held", "diagonal", "domains", *ENDS, "p", "permutations", "exact")
    header = [name if name != "value" else "rho" for name in names]
    return csv_text(header, [[row[name] for name in names] for row in summary["correlations"]])
