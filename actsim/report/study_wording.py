"""What a pruning study comes to, in sentences, for every form of its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actsim.report.compare_tables import p_text
from actsim.report.domain_tables import SERIES
from actsim.report.domain_wording import equals_text
from actsim.report.study_series import (
    PERPLEXITY,
    allocations,
    calibration_grids,
    difference_text,
    fixed_text,
    grid_label,
    own_domain_text,
    turned,
    unit,
)
from actsim.report.wording import MISSING, Row, counted, interval, number, one_line, percent

ACTIVATION = "activation"
REMOVED = {"text": "within each text", "both": "beyond what is better everywhere"}
"""What a correlation of calibration grids has had taken out, in words."""
VERDICTS = ("better", "worse", "open")


def findings(summary: Row) -> list[str]:
    """One sentence for each question that the study answers."""
    return [*_allocations(summary), *_own_domain(summary), *_transfer(summary)]


def _allocations(summary: Row) -> Iterator[str]:
    """Every allocation against the first, then those by activation against all others."""
    order = allocations(summary)
    pairs = [(own, order[0]) for own in order[1:]]
    pairs += [
        (own, other) for own in order if own.partition(" ")[0] == ACTIVATION for other in order[1:] if other != own
    ]
    for own, other in pairs:
        for figure in dict.fromkeys(row["figure"] for row in summary["dense"]):
            rows = _compared(summary, own, other, figure)
            if rows:
                yield f"{one_line(own)} against {one_line(other)}: {_outcome(rows, figure)}."


def _compared(summary: Row, own: str, other: str, figure: str) -> list[Row]:
    """The differences own minus other; those that are stored the other way round are turned."""
    measures = {row["measure"] for row in summary["dense"] if row["figure"] == figure}
    found = []
    for row in summary["differences"]:
        if row["measure"] in measures:
            if (row["allocation"], row["against"]) == (own, other):
                found.append(row)
            elif (row["against"], row["allocation"]) == (own, other):
                found.append(turned(row, figure))
    return found


def _outcome(rows: Sequence[Row], figure: str) -> str:
    if len(rows) == 1:
        return f"{rows[0]['verdict']}, {difference_text(rows[0])} {unit(figure)}"
    counts = ", ".join(f"{verdict} in {n}" for verdict in VERDICTS if (n := _count(rows, verdict)))
    ends = [pick(rows, key=lambda row: row["difference"]) for pick in (min, max)]
    spread = " to ".join(map(difference_text, ends))
    return f"{counts} of {counted(len(rows), 'comparison')}, from {spread} {unit(figure)}"


def _count(rows: Sequence[Row], verdict: str) -> int:
    return sum(row["verdict"] == verdict for row in rows)


def _own_domain(summary: Row) -> Iterator[str]:
    grids = calibration_grids(summary)
    for grid in grids:
        rows = [row for row in summary["own_domain"] if grid.holds(row)]
        if rows:
            found = [f"{REMOVED[row['removed']]} {own_domain_text(row)}, p {equals_text(row['p'])}" for row in rows]
            yield (
                f"Does calibration on a text's own domain serve it?{_where(grid_label(grid, grids))} "
                f"{'; '.join(found)} ({rows[0]['texts']} texts)."
            )


def _transfer(summary: Row) -> Iterator[str]:
    grids = calibration_grids(summary)
    for grid in grids:
        rows = [row for row in summary["transfer"] if grid.holds(row) and row["similarity"] == ACTIVATION]
        if rows:
            found = [f"{REMOVED[row['removed']]} {correlation_text(row)}, p {equals_text(row['p'])}" for row in rows]
            cells = f"{rows[0]['cells']} cells of {rows[0]['domains']} domains"
            yield (
                "Do domains with similar activation patterns serve each other as calibration?"
                f"{_where(grid_label(grid, grids))} Spearman's ρ of gain and similarity: {'; '.join(found)} ({cells})."
            )


def _where(label: str) -> str:
    return "" if label == "all" else f" {label}:"


def correlation_text(row: Row) -> str:
    """``0.412 [0.100, 0.700]``, the interval over the domains; in words where there is too little for either."""
    if row["rho"] is None:
        return "too few cells"
    ends = interval(row["ci_low"], row["ci_high"])
    return f"{number(row['rho'])} {'(too few domains for an interval)' if ends == MISSING else ends}"


def transfer_cells(row: Row) -> list[str]:
    """A correlation as cells: of what, what is taken out, ρ, both intervals, p."""
    return [
        SERIES[row["similarity"]],
        {"text": "text", "both": "text, calibration"}[row["removed"]],
        number(row["rho"], 2),
        interval(row["ci_low"], row["ci_high"], 2),
        interval(row["seeds_low"], row["seeds_high"], 2),
        p_text(row["p"]),
    ]


def under(summary: Row) -> str:
    """What is under the title: models, and what they share."""
    cells = sum(row["seeds"] for row in summary["figures"] if row["measure"] == summary["dense"][0]["measure"])
    shared = fixed_text(summary)
    return f"{counted(cells, 'pruned model')} and the dense one" + (f"; {shared}" if shared else "")


def method_sentences(summary: Row) -> list[str]:
    """How figures, intervals and p-values come about, in plain text."""
    level = percent(summary["level"])
    seed = summary["seed"]
    sentences = [
        "Every cell prunes the dense model anew. A figure is the mean over the seeds of the calibration draw (of "
        f"perplexities the geometric one), its {level} interval Student's t over them (over the logarithms); what no "
        "calibration touches is one model and has none.",
        "Allocations are compared seed by seed with the same score, sparsity and calibration; perplexities by their "
        "logarithm, shown as 100 (exp d - 1) per cent. The interval over the seeds speaks of other calibration draws, "
        f"the one over the items (bootstrap, {summary['resamples']} resamples, seed {seed}) of other test texts. p: "
        "paired t test over the seeds, corrected over all differences of a measure by Holm's method.",
        "better, worse or open goes by the interval over the seeds, where there are none by that over the items, "
        "without correction.",
    ]
    if calibration_grids(summary):
        sentences.append(
            "Own domain: quality with the calibration of a text's own domain minus what the cells of two different "
            "domains let one expect: the level of the text, or the sum of a level of the text and one of the "
            "calibration; mean over the texts, Student's t over them. A calibration out of the rows that are measured "
            "does not count."
        )
    if summary["transfer"]:
        band = summary["similarity"]["band"]
        layers = f"{one_line(band['name'])} band"
        sentences.append(
            "Gain and similarity: all cells whose calibration and text are of different domains, after the mean of "
            "every text (or the additive effects of texts and calibrations) has been taken from both; Spearman's ρ of "
            f"the rest. Similarities are those of the domains run, {layers}. p: the domains of the similarities are "
            f"permuted (one-sided, {summary['permutations']} orders or all, seed {seed}). The interval is a jackknife "
            "over the domains on the scale of artanh, which is wider than need be; the one over the seeds speaks of "
            "other calibration draws of these domains."
        )
    return sentences


def figure_unit(figure: str) -> str:
    """``change of the perplexity, %`` or ``change, points``."""
    return "change of the perplexity, %" if figure == PERPLEXITY else "change, points"
