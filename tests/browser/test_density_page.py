"""The page of a density run in a real browser: it works from disk, and follows what is chosen."""

from __future__ import annotations

import made_up_densities
import pytest
from browser import chromium

from actsim.report.density_html import density_html
from actsim.report.page import missing_packages

EXECUTABLE = chromium.find_browser()
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=f"needs a browser on the PATH: {', '.join(chromium.NAMES)}"),
    pytest.mark.skipif(bool(missing_packages()), reason="needs plotly and jinja2: pip install 'actsim[report]'"),
]

NAME = "<img src=x onerror='window.injected = 1'>"
SHARES = {NAME: [0.4, 0.4, 0.2, 0.25], "code": [0.5, 0.35, 0.2, 0.3]}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    summary = made_up_densities.summary(made_up_densities.densities(SHARES), running_text=("code",), name=NAME)
    path = tmp_path_factory.mktemp("run") / "report.html"
    path.write_text(density_html(summary, made_up_densities.manifest(summary)), encoding="utf-8")
    with chromium.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser
        assert (browser.problems, browser.requests) == ([], [])


def test_the_curves_follow_the_measure_and_the_legend(page):
    figure = "document.querySelector('[data-figure=curves]')"
    for label, axis in (
        ("participation", "participation ratio of Ā"),
        ("share > 2e-05", "parameters with Ā > 2e-05, %"),
    ):
        page.choose("measure", label)
        assert page.evaluate(f"{figure}.layout.yaxis.title.text") == axis
    lines = page.evaluate(f"{figure}.data.length")
    page.evaluate("document.querySelector('[data-line=code]').click()")
    assert page.evaluate(f"{figure}.data.length") == lines - 2  # the line and its interval
    page.evaluate("document.querySelector('[data-line=code]').click()")


def test_kinds_and_thresholds_follow_the_domain(page):
    seen = []
    for domain in ("mean of the domains", "code"):
        page.choose("domain", domain)
        seen.append(page.evaluate("document.querySelector('[data-figure=kinds]').data[0].z[0][0]"))
        seen.append(page.evaluate("document.querySelector('[data-figure=thresholds]').data[0].y[2]"))
    assert seen == pytest.approx([45, 45, 50, 50])


def test_no_name_is_run_and_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("typeof window.injected") == "undefined"
    assert NAME in page.evaluate("document.querySelector('.legend').textContent")
    for width in (400, 1200):
        page.resize(width, 800)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
