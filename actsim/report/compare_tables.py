"""The tables of a comparison: what the terminal shows, and the csv files.

Every function takes the ``summary`` of a comparison. A figure that is undefined is ``None`` there, "–" on the screen
and an empty field in the csv files.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import (
    MISSING,
    Row,
    band_label,
    data_label,
    defined,
    difference_text,
    interval,
    layers_label,
    number,
    one_line,
    percent,
)

ENDS = ("ci_low", "ci_high")


def row_interval(row: Row) -> str:
    """``[0.602, 0.699]`` of a row that may have no interval."""
    return interval(row.get("ci_low"), row.get("ci_high"))


def p_text(value: float | None) -> str:
    """``0.034``, ``<0.001``, or "–" where there is none."""
    value = defined(value)
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else number(value)


def best_layer_text(run: Row) -> str:
    """``5 of 6``, or "–"."""
    best = run["best_layer"]
    return MISSING if best is None else f"{best['layer']} of {run['n_layers']}"


def often_best_text(best: Row, level: float) -> str:
    """``best in 64 % of resamples; in 95 % of them the best is one of layers 4-6``."""
    if best["share"] is None:
        return "no resample has a best layer"
    among = layers_label(range(best["layer_low"], best["layer_high"] + 1))
    text = f"best in {round(100 * best['share'])} % of the resamples"
    return f"{text}; the middle {percent(level)} of them have their best in {among}"


def verdict_sentence(summary: Row, difference: Row) -> str:
    """``A (tiny, nll) is above B (tiny, next-token): difference +0.529 [+0.470, +0.588], Holm's p = 0.003.``"""
    labels = {run["key"]: f"{run['key']} ({one_line(run['label'])})" for run in summary["runs"]}
    return (
        f"{labels[difference['a']]} is {difference['verdict']} {labels[difference['b']]}: difference "
        f"{difference_text(difference)}, Holm's p {_equals(difference['p_holm'])}."
    )


def _equals(value: float | None) -> str:
    text = p_text(value)
    return text.replace("<", "< ") if text[0] in f"<{MISSING}" else f"= {text}"


# terminal


def compare_table(summary: Row) -> Page:
    """The last thing a comparison prints: the runs, then the differences between their headlines."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    level = percent(summary["level"])
    yield ink.text(f"{data_label(summary)}: {summary['n_pairs']} pairs, {summary['measure']}", "bold")
    yield ink.text("")
    for run in summary["runs"]:
        yield ink.text(f"{run['key']}  {one_line(run['label'])}, {band_label(run['band'])}")
    yield ink.text("")
    columns = ["run", "headline", f"{level} interval", "best layer", "Spearman", f"{level} interval "]
    rows = []
    for run in summary["runs"]:
        headline, best = run["headline"], run["best_layer"] or {}
        rows.append(
            [
                run["key"],
                number(headline["spearman"]),
                row_interval(headline),
                best_layer_text(run),
                number(best.get("spearman")),
                row_interval(best),
            ]
        )
    yield ink.table(columns, rows, labels=columns[:1])
    yield ink.text("The headline is the band; the best layer was picked on these pairs.", "dim")
    yield ink.text("")
    columns = ["runs", "difference", "p", "p Holm", "p Steiger", "agreement"]
    rows = [
        [
            f"{row['a']} - {row['b']}",
            difference_text(row),
            p_text(row["p"]),
            p_text(row["p_holm"]),
            p_text(row["steiger"]["p"]),
            number(agreement["spearman"]),
        ]
        for row, agreement in zip(summary["differences"], summary["agreements"], strict=True)
    ]
    yield ink.table(columns, rows, labels=columns[:1])
    yield ink.text(
        f"p of the paired bootstrap; corrected by Holm's method it decides, at {1 - summary['level']:.2g}. Steiger's "
        "test is an approximation on ranks, not corrected. Agreement: Spearman between the scores of both runs.",
        "dim",
    )
    yield ink.text("")
    for row in summary["differences"]:
        yield ink.text(f"{row['a']} is {row['verdict']} {row['b']}", "bold")
    for note in summary["notes"]:
        yield ink.text(f"- {one_line(note)}")


# csv


def compare_csvs(summary: Row) -> dict[str, str]:
    """File name -> content: runs, layers, differences, layer against layer, disagreements.

    Floats are written with ``repr`` and parse back to the same bits.
    """
    return {
        "runs.csv": _runs_csv(summary),
        "layers.csv": _layers_csv(summary),
        "differences.csv": _differences_csv(summary),
        "layer_by_layer.csv": _layer_by_layer_csv(summary),
        "disagreements.csv": _disagreements_csv(summary),
    }


def _runs_csv(summary: Row) -> str:
    header = ["run", "label", "model", "objective", "pattern", "directory", "digest", "n_rows", "n_layers", "band"]
    header += ["spearman", *ENDS]
    best_keys = ("layer", "spearman", *ENDS, "share", "layer_low", "layer_high")
    header += [f"best_{key}" for key in best_keys]
    rows = []
    for run in summary["runs"]:
        scoring, best = run["scoring"], run["best_layer"] or {}
        named = [run["key"], run["label"], run["model"]["name"], scoring["objective"], scoring["pattern"]]
        place = [run["directory"], run["digest"], run["n_rows"], run["n_layers"]]
        figures = [run["headline"][name] for name in ("spearman", *ENDS)]
        layers = " ".join(str(layer) for layer in run["band"]["layers"])
        rows.append([*named, *place, layers, *figures, *(best.get(key) for key in best_keys)])
    return csv_text(header, rows)


def _layers_csv(summary: Row) -> str:
    names = ["layer", "depth", "spearman", *ENDS]
    rows = [[run["key"], *(row[name] for name in names)] for run in summary["runs"] for row in run["layers"]]
    return csv_text(["run", *names], rows)


def _differences_csv(summary: Row) -> str:
    names = ["a", "b", "value", *ENDS, "p", "p_holm", "verdict"]
    agreed = ["spearman", *ENDS]
    rows = [
        [*(row[name] for name in names), row["steiger"]["z"], row["steiger"]["p"], *(found[name] for name in agreed)]
        for row, found in zip(summary["differences"], summary["agreements"], strict=True)
    ]
    return csv_text([*names, "steiger_z", "steiger_p", *(f"agreement_{name}" for name in agreed)], rows)


def _layer_by_layer_csv(summary: Row) -> str:
    rows = [
        [found["a"], found["b"], layer_a, layer_b, value]
        for found in summary["agreements"]
        for layer_a, line in enumerate(found["layers"], start=1)
        for layer_b, value in enumerate(line, start=1)
    ]
    return csv_text(["a", "b", "layer_a", "layer_b", "spearman"], rows)


def _disagreements_csv(summary: Row) -> str:
    names = ["row", "id", "gold", "gold_rank", "rank_a", "rank_b", "gain"]
    listed = [(found, pair) for found in summary["agreements"] for pair in found["disagreements"]]
    texts = [name for name in ("sentence_a", "sentence_b") if any(name in pair for _, pair in listed)]
    rows = [
        [found["a"], found["b"], *(pair[name] for name in names), *(pair.get(name) for name in texts)]
        for found, pair in listed
    ]
    return csv_text(["a", "b", *names, *texts], rows)
