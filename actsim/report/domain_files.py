"""Every file of the report of a run over domains."""

from __future__ import annotations

from collections.abc import Sequence

from actsim.report.domain_figures import boxes_figure, layers_figure, matrix_figure
from actsim.report.domain_html import domain_html
from actsim.report.domain_markdown import BOXES, LAYERS, MATRIX, domain_markdown
from actsim.report.domain_tables import domain_csvs
from actsim.report.figures import drawn
from actsim.report.files import MARKDOWN, PAGE
from actsim.report.wording import Row, one_line


def domain_files(summary: Row, manifest: Row, *, page: bool = True, beside: Sequence[str] = ()) -> dict[str, bytes]:
    """File name -> content of the whole report; equal runs give equal files.

    Args:
        summary, manifest: of the run.
        page: whether to write ``report.html``, which needs plotly and jinja2.
        beside: further files that will lie beside these; the Markdown report links to them.

    Raises:
        MissingExtraError: the page is asked for, and plotly or jinja2 is not installed.
    """
    files = domain_csvs(summary)
    if page:
        files[PAGE] = domain_html(summary, manifest).encode()
    model = one_line(summary["model"]["name"])
    files |= drawn(MATRIX, f"Mean cosines within and between domains: {model}", matrix_figure(summary))
    files |= drawn(LAYERS, f"Similarity within and between domains by layer: {model}", layers_figure(summary))
    files |= drawn(BOXES, f"Distribution of the cosines by layer: {model}", boxes_figure(summary))
    linked = {name: f"{name}.svg" for name in (MATRIX, LAYERS, BOXES)}
    linked |= {name: name for name in sorted({*files, *beside} - set(linked.values()))}
    return files | {MARKDOWN: domain_markdown(summary, manifest, linked).encode()}
