"""``report.html``: the report of a run as one page that opens from disk, with figures to look into and every pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from actsim import __version__
from actsim.report.interactive import HEADLINE, choices, kinds_heat_map, layer_curve, score_figures
from actsim.report.markdown import report_markdown
from actsim.report.page import render_page
from actsim.report.pair_table import PairTable, pair_table
from actsim.report.palette import BAND_COLOUR, INTERVAL_OPACITY, LineStyle, measure_style
from actsim.report.plotly_parts import DARK, legend_mark
from actsim.report.prose import sections, to_html
from actsim.report.wording import Row, band_label, data_label, one_line, percent
from actsim.store import PairScores
from actsim.store.parts import WHOLE_LAYER

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = "report.html.j2"
SCRIPTS = ("figures.js", "pairs.js")
TABLES = ("Layers", "Module kinds")
"""Sections of the Markdown report that stand folded below the figure that shows the same."""
LAST = ("How this was made", "Notes", "Reference")
"""Sections that come after the pairs; all others come before the heat map."""


def report_html(scores: PairScores, pairs: pd.DataFrame, summary: Row, manifest: Row, *, keep_text: bool = True) -> str:
    """The whole page.

    Args:
        scores: the scores of the run.
        pairs: its pairs, as ``Run.pairs``.
        summary: its summary.
        manifest: its manifest, see ``report_markdown``.
        keep_text: False leaves out every sentence.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    from markupsafe import Markup

    found = sections(report_markdown(summary, manifest, {}))
    table = pair_table(scores, pairs, summary, keep_text=keep_text)
    gold = pairs["gold"].to_numpy(dtype=np.float64)
    against, spread = score_figures(scores, gold, summary)
    figures = {"curve": layer_curve(summary), "against": against, "spread": spread}
    if summary["kinds"]:
        figures["kinds"] = kinds_heat_map(summary)
    first_measure = summary["measures"][0]
    data = {
        "choice": {"measure": first_measure, "kind": WHOLE_LAYER, "scores": HEADLINE},
        "figures": figures,
        "dark": DARK,
        "pairs": table.columns(),
    }
    rendered = {name: Markup(to_html(body)) for name, body in found.items()}
    context = {
        "title": f"Activation similarity: {data_label(summary)}, {one_line(summary['model']['name'])}",
        "over": "Activation similarity and human judgement",
        "heading": f"{data_label(summary)}: {one_line(summary['model']['name'])}",
        "under": f"{summary['n_pairs']} pairs; {summary['objective']}, {summary['pattern']}",
        "lead": Markup(to_html(found[""])),
        "tables": {name: rendered[name] for name in TABLES if name in rendered},
        "before": [(name, body) for name, body in rendered.items() if name and name not in (*TABLES, *LAST)],
        "after": [(name, rendered[name]) for name in LAST if name in rendered],
        "choices": choices(summary),
        "legend": _legend(summary),
        "has_kinds": bool(summary["kinds"]),
        "level": percent(summary["level"]),
        "headline_label": f"{summary['headline']['measure']}, {band_label(summary['band'])}",
        "n_ranked": int(np.isfinite(table.scores).sum()),
        "hidden": _hidden(table),
        "version": __version__,
    }
    return render_page(TEMPLATE, data, SCRIPTS, context)


def _hidden(table: PairTable) -> str:
    return "" if table.sentences is not None else "The sentences are left out of this report."


def _legend(summary: Row) -> dict[str, list[dict[str, Any]]]:
    """Marks that are always shown, and lines that can be switched on and off."""
    lines = [
        {**legend_mark(line.style, line.label), "key": line.key, "shown": line.shown}
        for line in choices(summary)["lines"]
    ]
    return {"fixed": list(_fixed_marks(summary)), "lines": lines}


def _fixed_marks(summary: Row) -> Iterator[dict[str, Any]]:
    for index, measure in enumerate(summary["measures"]):
        label = f"{measure} with its {percent(summary['level'])} interval"
        yield {**legend_mark(measure_style(index), label), "measure": measure, "area": INTERVAL_OPACITY + 0.1}
    band = LineStyle(BAND_COLOUR, (), None)
    label = f"headline: {band_label(summary['band'])}"
    yield {**legend_mark(band, label), "area": 1, "dashes": None}
