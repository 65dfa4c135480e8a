"""``report.html`` of a run over domains: one page that opens from disk."""

from __future__ import annotations

from actsim import __version__
from actsim.report.domain_interactive import boxes, choices, lines, matrices
from actsim.report.domain_markdown import domain_markdown
from actsim.report.page import render_page
from actsim.report.plotly_parts import DARK
from actsim.report.prose import sections, to_html
from actsim.report.wording import Row, band_label, counted, one_line, percent

TEMPLATE = "domains.html.j2"
SCRIPTS = ("figures.js",)
UNDER_FIGURES = ("Matrix", "Layers")
"""Sections of the Markdown report that stand folded below the figure that shows the same."""


def domain_html(summary: Row, manifest: Row) -> str:
    """The whole page.

    Args:
        summary: the summary of a run.
        manifest: its manifest, see ``domain_markdown``.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    from markupsafe import Markup

    found = {name: Markup(to_html(body)) for name, body in sections(domain_markdown(summary, manifest, {})).items()}
    offered = choices(summary)
    data = {
        "choice": {name: options[0][0] for name, options in offered.items()},
        "figures": {"matrix": matrices(summary), "lines": lines(summary), "boxes": boxes(summary)},
        "dark": DARK,
    }
    groups = counted(summary["n_groups"], "group")
    context = {
        "title": f"Similarity of domains: {one_line(summary['model']['name'])}",
        "over": "Similarity of domains",
        "heading": one_line(summary["model"]["name"]),
        "under": f"{counted(len(summary['domains']), 'domain')}, {groups} of samples; "
        f"{summary['objective']}, {summary['pattern']}",
        "lead": found.pop(""),
        "tables": {name: found.pop(name) for name in UNDER_FIGURES},
        "sections": list(found.items()),
        "choices": offered,
        "band": band_label(summary["band"]),
        "level": percent(summary["level"]),
        "version": __version__,
    }
    return render_page(TEMPLATE, data, SCRIPTS, context)
