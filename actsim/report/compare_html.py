"""``compare.html``: the comparison of several runs as one page that opens from disk."""

from __future__ import annotations

import shlex
from typing import Any

from actsim.report.compare_figures import intervals_sentence
from actsim.report.compare_interactive import curves, layers_against_layers, runs_choice
from actsim.report.compare_markdown import method_sentences
from actsim.report.compare_tables import (
    best_layer_text,
    often_best_text,
    p_text,
    row_interval,
    verdict_sentence,
)
from actsim.report.page import render_page
from actsim.report.palette import run_style
from actsim.report.plotly_parts import DARK, legend_mark
from actsim.report.wording import (
    MISSING,
    Row,
    band_label,
    data_label,
    difference_text,
    number,
    one_line,
    percent,
)

TEMPLATE = "compare.html.j2"
SCRIPTS = ("figures.js",)


def compare_html(summary: Row) -> str:
    """The whole page.

    Args:
        summary: the summary of a comparison.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    data = {
        "choice": {"runs": runs_choice(summary["agreements"][0])},
        "figures": {"curves": curves(summary), "layers": layers_against_layers(summary)},
        "dark": DARK,
    }
    return render_page(TEMPLATE, data, SCRIPTS, _content(summary))


def _content(summary: Row) -> dict[str, Any]:
    """Everything that the page says, as plain text."""
    data = data_label(summary)
    title = f"Comparison of {len(summary['runs'])} runs: {data}"
    return {
        "title": title,
        "over": "Activation similarity and human judgement",
        "heading": title,
        "under": f"{summary['n_pairs']} pairs; {summary['measure']}",
        "data_set": data,
        "summary": summary,
        "level": percent(summary["level"]),
        "verdicts": [verdict_sentence(summary, row) for row in summary["differences"]],
        "notes": [one_line(note) for note in summary["notes"]],
        "caption": intervals_sentence(summary["level"]),
        "runs": [_run(summary, run, index) for index, run in enumerate(summary["runs"])],
        "differences": [
            _difference(row, found) for row, found in zip(summary["differences"], summary["agreements"], strict=True)
        ],
        "choices": [(runs_choice(found), f"{found['a']} and {found['b']}") for found in summary["agreements"]],
        "methods": method_sentences(summary),
        "agreements": [_agreement(found) for found in summary["agreements"]],
        "command": shlex.join(summary["command"]) if summary["command"] else None,
    }


def _run(summary: Row, run: Row, index: int) -> dict[str, Any]:
    headline, best = run["headline"], run["best_layer"] or {}
    return {
        "key": run["key"],
        "label": one_line(run["label"]),
        "mark": legend_mark(run_style(index), f"{run['key']}: {one_line(run['label'])}"),
        "band": band_label(run["band"]),
        "headline": number(headline["spearman"]),
        "headline_interval": row_interval(headline),
        "best_layer": best_layer_text(run),
        "best": number(best.get("spearman")),
        "best_interval": row_interval(best),
        "sure": often_best_text(best, summary["level"]) if best else MISSING,
        "model": one_line(run["model"]["name"]),
        "revision": one_line(run["model"]["revision"] or MISSING),
        "scoring": "; ".join(f"{key.replace('_', ' ')}: {_value(value)}" for key, value in run["scoring"].items()),
        "directory": run["directory"],
        "digest": run["digest"],
        "n_rows": run["n_rows"],
    }


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else MISSING if value is None else one_line(value)


def _difference(row: Row, found: Row) -> dict[str, str]:
    return {
        "name": f"{row['a']} − {row['b']}",
        "value": difference_text(row),
        "p": p_text(row["p"]),
        "p_holm": p_text(row["p_holm"]),
        "verdict": f"{row['a']} {row['verdict']} {row['b']}",
        "steiger_z": number(row["steiger"]["z"], 2, signed=True),
        "steiger_p": p_text(row["steiger"]["p"]),
        "agreement": f"{number(found['spearman'])} {row_interval(found)}",
    }


def _agreement(found: Row) -> dict[str, Any]:
    rows = [
        {
            "row": row["row"],
            "texts": [row[name] for name in ("sentence_a", "sentence_b") if name in row],
            "gold": f"{row['gold']:g}",
            "ranks": [number(row[name], 2) for name in ("gold_rank", "rank_a", "rank_b")],
            "gain": number(row["gain"], 2, signed=True),
            "nearer": found["a"] if row["gain"] > 0 else found["b"],
        }
        for row in found["disagreements"]
    ]
    return {
        "a": found["a"],
        "b": found["b"],
        "rows": rows,
        "with_text": any(row["texts"] for row in rows),
        "matrix": [[number(value, 2) for value in line] for line in found["layers"]],
    }
