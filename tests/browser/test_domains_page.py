"""The page of a run over domains in a real browser: it follows every choice, and cells can be read in both themes."""

from __future__ import annotations

import made_up_domains
import pytest
from browser import chromium

from actsim.report.domain_html import domain_html
from actsim.report.page import missing_packages
from actsim.report.plotly_parts import DARK_ON_CELL, LIGHT_ON_CELL

EXECUTABLE = chromium.find_browser()
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=f"needs a browser on the PATH: {', '.join(chromium.NAMES)}"),
    pytest.mark.skipif(bool(missing_packages()), reason="needs plotly and jinja2: pip install 'actsim[report]'"),
]

NAME = "<img src=x onerror='window.injected = 1'>"
MATRIX, LINES, BOXES = (f"document.querySelector('[data-figure={name}]')" for name in ("matrix", "lines", "boxes"))


@pytest.fixture(scope="module")
def summary():
    return made_up_domains.summary((NAME, "c4", "gsm8k", "humaneval", "mmlu"))


@pytest.fixture(scope="module")
def page(summary, tmp_path_factory):
    """The page, opened once; whatever happens to it, nothing may go wrong in the browser."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(domain_html(summary, made_up_domains.manifest()), encoding="utf-8")
    with chromium.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser
        assert (browser.problems, browser.requests) == ([], [])


def test_the_figures_follow_the_choices(page):
    page.choose("similarity", "tfidf")
    assert page.evaluate(f"{MATRIX}.data.every(trace => trace.meta !== undefined && trace.zmax < 0.6)")
    page.choose("lines", "separation")
    assert page.evaluate(f"{LINES}.layout.yaxis.title.text").startswith("separation")
    page.choose("pair", "c4 mmlu")
    assert page.evaluate(f"{BOXES}.data.map(trace => trace.name)") == ["within c4", "within mmlu", "between them"]


def test_a_name_is_shown_as_it_is(page):
    page.choose("similarity", "activation")
    labels = page.evaluate(f"[...{MATRIX}.querySelectorAll('.ytick text')].map(label => label.textContent)")
    assert NAME in labels
    assert page.evaluate("typeof window.injected") == "undefined"


def test_every_cell_has_one_number_in_an_ink_that_the_theme_leaves_alone(page):
    page.choose("similarity", "activation")
    numbers = f"[...{MATRIX}.querySelectorAll('.heatmap-label text')].filter(text => text.textContent)"
    inks = f"[...new Set({numbers}.map(text => getComputedStyle(text).fill))].sort()"
    want = sorted(
        f"rgb({', '.join(str(int(ink[place : place + 2], 16)) for place in (1, 3, 5))})"
        for ink in (DARK_ON_CELL, LIGHT_ON_CELL)
    )
    for _ in ("light", "dark"):
        assert page.evaluate(f"{numbers}.length") == 25
        assert page.evaluate(inks) == want
        page.evaluate("document.querySelector('#theme').click()")


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_never_wider_than_the_screen(page, width):
    page.resize(width, 800)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
