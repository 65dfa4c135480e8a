"""The page of a pruning study in a real browser: it follows every choice and is never wider than the screen."""

from __future__ import annotations

import made_up_study
import pytest
from browser import chromium

from actsim.report.page import missing_packages
from actsim.report.study_html import study_html

EXECUTABLE = chromium.find_browser()
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=f"needs a browser on the PATH: {', '.join(chromium.NAMES)}"),
    pytest.mark.skipif(bool(missing_packages()), reason="needs plotly and jinja2: pip install 'actsim[report]'"),
]

NAME = "<img src=x onerror='window.injected = 1'>"
CALIBRATIONS = (NAME, "c4", "boolq:train", "siqa:train", "gsm8k")
RESULTS, DIFFERENCES, MATRIX, PLANS = (
    f"document.querySelector('[data-figure={name}]')" for name in ("results", "differences", "matrix", "plans")
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page, opened once; whatever happens to it, nothing may go wrong in the browser."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    summary = made_up_study.summary(calibrations=CALIBRATIONS)
    manifest = made_up_study.manifest(made_up_study.config(calibrations=CALIBRATIONS))
    path.write_text(study_html(summary, manifest), encoding="utf-8")
    with chromium.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser
        assert (browser.problems, browser.requests) == ([], [])


def test_the_figures_follow_the_choices(page):
    first = page.evaluate(f"{RESULTS}.data[0].y[0]")
    page.choose("measure", "nll:siqa")
    assert page.evaluate(f"{RESULTS}.data[0].y[0]") != first
    page.choose("against", "activation (beta 0.1)")
    assert page.evaluate(f"{DIFFERENCES}.layout.xaxis.ticktext") == ["uniform", "owl"]
    page.choose("grid", "1")
    page.choose("set", "dense")
    assert page.evaluate(f"Math.min(...{MATRIX}.data[0].z.flat().filter(v => v !== null))") > 0
    page.choose("way", "6")
    assert page.evaluate(f"{PLANS}.data.length") == 3


def test_both_selects_of_a_measure_show_the_same(page):
    page.choose("measure", "nll:boolq")
    chosen = "[...document.querySelectorAll('[data-choice=measure]')].map(select => select.value)"
    assert page.evaluate(chosen) == ["nll:boolq", "nll:boolq"]


def test_a_name_is_shown_as_it_is(page):
    labels = page.evaluate(f"[...{MATRIX}.querySelectorAll('.ytick text')].map(label => label.textContent)")
    assert NAME in labels
    assert page.evaluate("typeof window.injected") == "undefined"


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_never_wider_than_the_screen(page, width):
    page.resize(width, 800)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
