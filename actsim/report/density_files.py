"""Every file of the report of a density run."""

from __future__ import annotations

from collections.abc import Sequence

from actsim.report.density_curves import share_over
from actsim.report.density_figures import gamma_figure, layers_figure
from actsim.report.density_html import density_html
from actsim.report.density_markdown import GAMMA_FIGURE, LAYERS_FIGURE, density_markdown
from actsim.report.density_tables import density_csv
from actsim.report.figures import drawn
from actsim.report.files import MARKDOWN, PAGE
from actsim.report.wording import Row, one_line

TABLE = "density.csv"


def density_tables(summary: Row) -> dict[str, bytes]:
    """The figures of all domains, layers and kinds as a csv file."""
    return {TABLE: density_csv(summary).encode()}


def density_files(summary: Row, manifest: Row, *, page: bool = True, beside: Sequence[str] = ()) -> dict[str, bytes]:
    """File name -> content of the whole report; equal runs give equal files.

    Args:
        summary, manifest: of the run.
        page: whether to write ``report.html``, which needs plotly and jinja2.
        beside: further files that will lie beside these; the Markdown report links to them.

    Raises:
        MissingExtraError: the page is asked for, and plotly or jinja2 is not installed.
    """
    files = density_tables(summary)
    if page:
        files[PAGE] = density_html(summary, manifest).encode()
    model = one_line(summary["model"]["name"])
    measure = share_over(summary["headline"][0])
    files |= drawn("layers", f"{measure.axis}, by layer and domain: {model}", layers_figure(summary))
    files |= drawn("gamma", f"Share of activated parameters over the threshold: {model}", gamma_figure(summary))
    linked = {LAYERS_FIGURE: "layers.svg", GAMMA_FIGURE: "gamma.svg"}
    linked |= {name: name for name in sorted({*files, *beside} - set(linked.values()))}
    return files | {MARKDOWN: density_markdown(summary, manifest, linked).encode()}
