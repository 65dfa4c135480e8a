"""The comparison of several runs as one HTML file that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import importlib.util
import json
import shlex
from typing import Any

from actsim.errors import MissingExtraError
from actsim.report.compare_figures import HEAT_MAP, intervals_sentence, run_colour
from actsim.report.compare_markdown import method_sentences
from actsim.report.compare_tables import (
    best_layer_text,
    often_best_text,
    p_text,
    row_interval,
    verdict_sentence,
)
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
PACKAGES = ("jinja2", "plotly")


def require_report_packages() -> None:
    """Raise MissingExtraError unless what the HTML needs is installed: to be known before hours of scoring."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "report", "the HTML of a comparison")


def compare_html(summary: Row, curves_svg: str) -> str:
    """The whole page.

    Args:
        summary: the summary of a comparison.
        curves_svg: the figure of the curves, put into the page.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    require_report_packages()
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("actsim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        **_content(summary),
        curves_svg=Markup(curves_svg[curves_svg.index("<svg") :]),
        heat_maps_json=Markup(_script_json(_heat_maps(summary))),
        plotly_js=Markup(get_plotlyjs()),
    )


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _content(summary: Row) -> dict[str, Any]:
    """Everything that the page says, as plain text."""
    data = data_label(summary)
    return {
        "title": f"Comparison of {len(summary['runs'])} runs: {data}",
        "data": data,
        "summary": summary,
        "level": percent(summary["level"]),
        "verdicts": [verdict_sentence(summary, row) for row in summary["differences"]],
        "notes": [one_line(note) for note in summary["notes"]],
        "caption": intervals_sentence(summary["level"]),
        "runs": [_run(summary, run, index) for index, run in enumerate(summary["runs"])],
        "differences": [
            _difference(row, found) for row, found in zip(summary["differences"], summary["agreements"], strict=True)
        ],
        "methods": method_sentences(summary),
        "agreements": [_agreement(found) for found in summary["agreements"]],
        "command": shlex.join(summary["command"]) if summary["command"] else None,
    }


def _run(summary: Row, run: Row, index: int) -> dict[str, Any]:
    headline, best = run["headline"], run["best_layer"] or {}
    return {
        "key": run["key"],
        "colour": run_colour(index),
        "label": one_line(run["label"]),
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


def _heat_maps(summary: Row) -> list[dict[str, Any]]:
    """What the script draws: one heat map for every two runs."""
    labels = {run["key"]: f"{run['key']}: {one_line(run['label'])}" for run in summary["runs"]}
    return [
        {
            "key_a": found["a"],
            "key_b": found["b"],
            "label_a": labels[found["a"]],
            "label_b": labels[found["b"]],
            "z": found["layers"],
            "scale": HEAT_MAP.capitalize(),
        }
        for found in summary["agreements"]
    ]
