"""``report.html`` of a pruning study: one page that opens from disk."""

from __future__ import annotations

from actsim import __version__
from actsim.report.page import render_page
from actsim.report.plotly_parts import DARK
from actsim.report.prose import sections, to_html
from actsim.report.study_interactive import choices, differences, matrices, plans, results
from actsim.report.study_markdown import study_markdown
from actsim.report.study_series import measure_label
from actsim.report.wording import Row, one_line, percent

TEMPLATE = "study.html.j2"
SCRIPTS = ("figures.js",)
UNDER_FIGURES = ("Results", "Differences", "Calibrations and texts", "Plans")
"""Sections of the Markdown report that stand folded below the figure that shows the same."""


def study_html(summary: Row, manifest: Row) -> str:
    """The whole page.

    Args:
        summary: the summary of a study.
        manifest: its manifest, see ``study_markdown``.

    Raises:
        MissingExtraError: plotly or jinja2 is not installed.
    """
    from markupsafe import Markup

    found = {name: Markup(to_html(body)) for name, body in sections(study_markdown(summary, manifest, {})).items()}
    offered = choices(summary)
    figures = {"results": results(summary), "differences": differences(summary), "plans": plans(summary)}
    figures["matrix"] = matrices(summary)
    data = {
        "choice": {name: options[0][0] for name, options in offered.items() if options},
        "figures": {name: own for name, own in figures.items() if own},
        "dark": DARK,
    }
    context = {
        "title": f"Pruning study: {one_line(summary['model']['name'])}",
        "over": "Pruning study",
        "heading": one_line(summary["model"]["name"]),
        "under": f"measured on {', '.join(dict.fromkeys(measure_label(row['measure']) for row in summary['dense']))}",
        "lead": found.pop(""),
        "tables": {name: found.pop(name) for name in UNDER_FIGURES if name in found},
        "sections": list(found.items()),
        "choices": offered,
        "level": percent(summary["level"]),
        "version": __version__,
    }
    return render_page(TEMPLATE, data, SCRIPTS, context)
