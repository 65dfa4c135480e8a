"""Every file of a report: the page, the Markdown, the tables, and the figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from actsim.report.figures import drawn, layer_curve
from actsim.report.html import report_html
from actsim.report.markdown import FIGURE, report_markdown
from actsim.report.score_figures import kinds_heat_map, scores_figure
from actsim.report.tables import kinds_csv, layers_csv
from actsim.report.wording import Row, data_label
from actsim.store import PairScores

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PAGE = "report.html"
MARKDOWN = "report.md"
CURVE = "layers.svg"
"""The figure that the Markdown report shows."""


def table_files(summary: Row) -> dict[str, bytes]:
    """The figures of layers and module kinds as csv files."""
    return {"layers.csv": layers_csv(summary).encode(), "kinds.csv": kinds_csv(summary).encode()}


def report_files(
    scores: PairScores,
    pairs: pd.DataFrame,
    summary: Row,
    manifest: Row,
    *,
    keep_text: bool = True,
    page: bool = True,
    beside: Sequence[str] = (),
) -> dict[str, bytes]:
    """File name -> content of the whole report; equal runs give equal files.

    Args:
        scores, pairs, summary, manifest: of the run, see ``report_html``.
        keep_text: False leaves out every sentence.
        page: whether to write ``report.html``, which needs plotly and jinja2.
        beside: further files that will lie beside these; the Markdown report links to them.

    Raises:
        MissingExtraError: the page is asked for, and plotly or jinja2 is not installed.
    """
    files: dict[str, bytes] = {}
    if page:
        files[PAGE] = report_html(scores, pairs, summary, manifest, keep_text=keep_text).encode()
    files |= table_files(summary)
    for name, title, figure in _figures(scores, pairs, summary):
        files |= drawn(name, title, figure)
    linked = {FIGURE: CURVE} | {name: name for name in sorted({*files, *beside} - {CURVE})}
    return files | {MARKDOWN: report_markdown(summary, manifest, linked).encode()}


def _figures(scores: PairScores, pairs: pd.DataFrame, summary: Row) -> Iterator[tuple[str, str, Figure]]:
    """Name, title and figure."""
    data = f"{data_label(summary)}, n = {summary['n_pairs']}"
    yield "layers", f"Spearman correlation with human judgement by layer: {data}", layer_curve(summary)
    if summary["kinds"]:
        yield "kinds", f"Spearman correlation by layer and module kind: {data}", kinds_heat_map(summary)
    gold = pairs["gold"].to_numpy(dtype=np.float64)
    yield "scores", f"Similarity against human scores: {data}", scores_figure(scores, gold, summary)
