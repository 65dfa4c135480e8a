"""Every file of the report of a pruning study."""

from __future__ import annotations

from collections.abc import Sequence

from actsim.report.figures import drawn
from actsim.report.files import MARKDOWN, PAGE
from actsim.report.study_figures import matrix_figure, plans_figure, results_figure
from actsim.report.study_html import study_html
from actsim.report.study_markdown import MATRIX, PLANS, RESULTS, study_markdown
from actsim.report.study_series import calibration_grids
from actsim.report.study_tables import study_csvs
from actsim.report.wording import Row, one_line


def study_files(summary: Row, manifest: Row, *, page: bool = True, beside: Sequence[str] = ()) -> dict[str, bytes]:
    """File name -> content of the whole report; equal studies give equal files.

    Args:
        summary, manifest: of the study.
        page: whether to write ``report.html``, which needs plotly and jinja2.
        beside: further files that will lie beside these; the Markdown report links to them.

    Raises:
        MissingExtraError: the page is asked for, and plotly or jinja2 is not installed.
    """
    files = study_csvs(summary)
    if page:
        files[PAGE] = study_html(summary, manifest).encode()
    model = one_line(summary["model"]["name"])
    figures = {RESULTS: results_figure(summary), PLANS: plans_figure(summary)}
    if calibration_grids(summary):
        figures[MATRIX] = matrix_figure(summary)
    titles = {
        RESULTS: f"What every allocation comes to: {model}",
        PLANS: f"Sparsity of every block by allocation: {model}",
        MATRIX: f"Calibrations by texts: {model}",
    }
    for name, figure in figures.items():
        files |= drawn(name, titles[name], figure)
    linked = {name: f"{name}.svg" for name in figures}
    linked |= {name: name for name in sorted({*files, *beside} - set(linked.values()))}
    return files | {MARKDOWN: study_markdown(summary, manifest, linked).encode()}
