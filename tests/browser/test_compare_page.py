"""The page of a comparison in a real browser: it works from disk, follows the choice of runs, and runs no sentence."""

from __future__ import annotations

import numpy as np
import pytest
from browser import chromium
from fabricated_runs import config, fabricated_run

from actsim.report.page import missing_packages
from actsim.studies.compare import compare

EXECUTABLE = chromium.find_browser()
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=f"needs a browser on the PATH: {', '.join(chromium.NAMES)}"),
    pytest.mark.skipif(bool(missing_packages()), reason="needs plotly and jinja2: pip install 'actsim[report]'"),
]

ATTACK = "<script>window.injected = 1</script><img src=x onerror='window.injected = 1'>"
NAME = "<img src=x onerror='window.injected = 1'>"
HEAT_MAP = "document.querySelector('[data-figure=layers]')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Three runs; a model's name and every sentence try to break out of the page."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    gold = np.round(rng.uniform(0, 5, 40), 1)
    runs = []
    for number, (noise, layers) in enumerate(((0.5, 4), (3.0, 6), (9.0, 5))):
        scores = gold[:, None] + noise * rng.standard_normal((40, layers))
        name = ("long/" + "name-" * 30, NAME, "third")[number]
        runs.append(fabricated_run(folder / str(number), scores, gold, settings=config(model={"name": name})))
    for run in runs:
        run.pairs["sentence_a"] = [f"{ATTACK} {row}" for row in range(40)]
    with pytest.MonkeyPatch.context() as patch:  # the drawings beside the page take most of the time
        patch.setattr("actsim.studies.compare.svg", lambda figure, title: "<svg></svg>")
        patch.setattr("actsim.studies.compare.png", lambda figure, title: b"")
        return compare(runs, resamples=200, out=folder / "out")


@pytest.fixture
def page(browser, comparison):
    """The page, opened anew; whatever happens to it, nothing may go wrong in the browser."""
    browser.resize(1200, 900)
    browser.prefer("light")
    browser.problems.clear()
    browser.requests.clear()
    browser.open(comparison.directory / "compare.html")
    yield browser
    assert (browser.problems, browser.requests) == ([], [])


def test_the_heat_map_follows_the_choice(page, comparison):
    for found in comparison.summary["agreements"]:
        page.evaluate(
            f"(s => {{ s.value = '{found['a']} {found['b']}'; s.dispatchEvent(new Event('change')); }})"
            "(document.querySelector('[data-choice=runs]'))"
        )
        shown, *_ = page.evaluate(f"{HEAT_MAP}.data.map(t => Array.from(t.z, line => Array.from(line)))")
        np.testing.assert_allclose(shown, found["layers"], atol=1e-5)
        titles = page.evaluate(f"['yaxis', 'xaxis'].map(a => {HEAT_MAP}.layout[a].title.text)")
        assert titles == [f"layer of {found['a']}", f"layer of {found['b']}"]
    assert page.evaluate("document.querySelectorAll('[data-figure] svg').length") >= 2


def test_no_sentence_is_run_and_each_is_shown_as_it_is(page):
    shown = page.evaluate("[...document.querySelectorAll('.sentence')].map(s => s.textContent)")
    assert any(text.startswith(ATTACK) for text in shown)
    assert NAME in page.evaluate("document.querySelector('.legend').textContent")
    assert page.evaluate("typeof window.injected") == "undefined"


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_never_wider_than_the_screen(page, width):
    page.resize(width, 800)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_theme_follows_the_button_in_the_figures_too(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('[data-figure=curves]').layout.font.color"
    light = (page.evaluate(ground), page.evaluate(ink))
    page.evaluate("document.querySelector('#theme').click()")
    dark = (page.evaluate(ground), page.evaluate(ink))
    assert dark[0] != light[0] and dark[1] != light[1]
