"""``report.html`` of a density run: one page that opens from disk."""

from __future__ import annotations

from actsim import __version__
from actsim.report.density_interactive import (
    choices,
    curves,
    kinds,
    legend_lines,
    sensitivity,
    thresholds,
)
from actsim.report.density_markdown import density_markdown
from actsim.report.page import render_page
from actsim.report.plotly_parts import DARK, legend_mark
from actsim.report.prose import sections, to_html
from actsim.report.wording import Row, counted, one_line, percent

TEMPLATE = "density.html.j2"
SCRIPTS = ("figures.js",)
UNDER_FIGURES = ("Layers", "Thresholds", "Module kinds")
"""Sections of the Markdown report that stand folded below the figure that shows the same."""


def density_html(summary: Row, manifest: Row) -> str:
    """The whole page.

    Args:
        summary: the summary of a run.
        manifest: its manifest, see ``density_markdown``.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    from markupsafe import Markup

    found = {name: Markup(to_html(body)) for name, body in sections(density_markdown(summary, manifest, {})).items()}
    offered = choices(summary)
    figures = {"curves": curves(summary), "thresholds": thresholds(summary), "kinds": kinds(summary)}
    if summary["depth"]:
        figures["sensitivity"] = sensitivity(summary)
    data = {
        "choice": {name: options[0][0] for name, options in offered.items()},
        "figures": figures,
        "dark": DARK,
    }
    context = {
        "title": f"Density of activation: {one_line(summary['model']['name'])}",
        "over": "Density of activation",
        "heading": one_line(summary["model"]["name"]),
        "under": f"{counted(len(summary['domains']), 'domain')}; {summary['objective']}, {summary['pattern']}",
        "lead": found.pop(""),
        "tables": {name: found.pop(name) for name in UNDER_FIGURES},
        "sections": list(found.items()),
        "choices": offered,
        "legend": [{**legend_mark(style, one_line(name)), "key": name} for name, style in legend_lines(summary)],
        "level": percent(summary["level"]),
        "has_depth": bool(summary["depth"]),
        "version": __version__,
    }
    return render_page(TEMPLATE, data, SCRIPTS, context)
