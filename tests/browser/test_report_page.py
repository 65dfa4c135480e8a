"""The page of a report in a real browser: it works from disk, by mouse and keyboard, and runs no sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from made_up_run import HOSTILE, made_up_run

from actsim.report.page import missing_packages
from actsim.studies.report import write_report

EXECUTABLE = chromium.find_browser()
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=f"needs a browser on the PATH: {', '.join(chromium.NAMES)}"),
    pytest.mark.skipif(bool(missing_packages()), reason="needs plotly and jinja2: pip install 'actsim[report]'"),
]

MANY, LAYERS = 10_000, 6
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(EXECUTABLE, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = made_up_run(tmp_path_factory.mktemp("runs") / "run", 120, hostile=True)
    write_report(made.directory)
    return made


@pytest.fixture
def page(browser, run):
    """The report, opened anew; whatever happens to it, nothing may go wrong in the browser."""
    browser.resize(1200, 900)
    browser.prefer("light")
    browser.problems.clear()
    browser.requests.clear()
    browser.open(run.directory / "report.html")
    yield browser
    assert (browser.problems, browser.requests) == ([], [])


def column(page, number):
    """The numbers shown in a column of the table of pairs."""
    cells = page.evaluate(f"[...document.querySelectorAll('#pairs tbody tr')].map(r => r.cells[{number}].textContent)")
    return [float(cell.replace("−", "-")) for cell in cells]


def click(page, selector):
    page.evaluate(f"document.querySelector({selector!r}).click()")


def choose(page, selector, value):
    page.evaluate(
        f"(s => {{ s.value = {value!r}; s.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
        f"(document.querySelector({selector!r}))"
    )


def drawn(page, figure):
    """The y values, or those of the cells, of the traces that a figure shows."""
    return page.evaluate(f"document.querySelector('[data-figure={figure}]').data.map(t => Array.from(t.z ?? t.y))")


def test_the_worst_disagreements_come_first_and_headers_sort(page):
    sizes = [abs(value) for value in column(page, 3)]
    assert len(sizes) == 50
    assert sizes == sorted(sizes, reverse=True)
    assert {value > 0 for value in column(page, 3)} == {True, False}
    for number, key in ((1, "gold"), (2, "score")):
        head = f"#pairs th[data-key={key}]"
        for order, reverse in (("descending", True), ("ascending", False)):
            click(page, f"{head} button")
            assert column(page, number) == sorted(column(page, number), reverse=reverse)
            assert page.evaluate(f"document.querySelector('{head}').ariaSort") == order
    assert page.evaluate("document.querySelectorAll('#pairs th[aria-sort]').length") == 1


def test_one_direction_can_be_shown_alone_and_pages_turn(page, run):
    for value, sign in (("over", 1), ("under", -1)):
        choose(page, "#direction", value)
        assert all(sign * difference > 0 for difference in column(page, 3))
    choose(page, "#direction", "both")
    first = column(page, 3)
    click(page, "[data-go=last]")
    assert len(column(page, 3)) == len(run.pairs) % 50
    assert page.evaluate("document.querySelector('[data-go=next]').disabled")
    click(page, "[data-go=first]")
    assert column(page, 3) == first


def test_the_search_finds_every_pair_with_all_the_words(page, run):
    page.evaluate("document.querySelector('#search').focus()")
    page.type("dog RIVER")
    texts = (run.pairs["sentence_a"] + "\n" + run.pairs["sentence_b"]).str.lower()
    expected = int((texts.str.contains("dog") & texts.str.contains("river")).sum())
    assert 0 < expected < 50
    assert page.evaluate("document.querySelectorAll('#pairs tbody tr').length") == expected
    assert page.evaluate("document.querySelector('#found').textContent") == f"{expected} of {len(run.pairs)} pairs"
    page.type(" no such word")
    assert page.evaluate("document.querySelector('#pairs tbody').textContent") == "No pair matches."


def test_measure_kind_layer_and_lines_can_be_switched(page, run):
    before = {name: drawn(page, name) for name in ("curve", "kinds", "against", "spread")}
    choose(page, "[data-choice=measure]", "ruzicka")
    assert all(drawn(page, name) != before[name] for name in before)
    assert page.evaluate("[...document.querySelectorAll('[data-choice=measure]')].every(s => s.value === 'ruzicka')")
    choose(page, "[data-choice=kind]", "up")
    shown = [row["spearman"] for row in run.summary["kinds"] if (row["kind"], row["measure"]) == ("up", "ruzicka")]
    assert drawn(page, "curve")[-1] == pytest.approx(shown, abs=1e-5)
    scores = drawn(page, "against")
    choose(page, "[data-choice=scores]", "1")
    assert drawn(page, "against") != scores
    lines = len(drawn(page, "curve"))
    click(page, "[data-line=hidden_mean]")
    assert len(drawn(page, "curve")) == lines - 1


def test_no_sentence_is_run_and_each_is_shown_as_it_is(page, run):
    page.evaluate("document.querySelector('#search').focus()")
    page.type("p0")
    shown = page.evaluate("[...document.querySelectorAll('#pairs tbody .sentence')].map(s => s.textContent)")
    assert shown[:2] == run.pairs.loc[0, ["sentence_a", "sentence_b"]].tolist() == [HOSTILE[0], HOSTILE[-1]]
    assert HOSTILE[0] in page.evaluate("document.querySelector('h1').textContent")
    everything = page.evaluate("JSON.parse(document.querySelector('#data').textContent).pairs.a")
    assert everything == run.pairs["sentence_a"].tolist()
    assert page.evaluate("typeof window.injected") == "undefined"


def test_an_injected_script_would_be_stopped_by_the_policy(page):
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.added = 1'}))")
    assert page.evaluate("typeof window.added") == "undefined"
    assert "Content Security Policy" in page.problems.pop()


def test_the_theme_follows_the_reader_and_the_button(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    click(page, "#theme")
    dark = page.evaluate(ground)
    assert dark != light
    colour = "document.querySelector('[data-figure=curve]').layout.font.color"
    ink = page.evaluate(colour)
    click(page, "#theme")
    assert (page.evaluate(ground), page.evaluate(colour) != ink) == (light, True)
    page.prefer("dark")
    page.open(Path(page.evaluate("decodeURIComponent(location.pathname)")))
    assert page.evaluate(ground) == dark


def test_the_table_is_sorted_from_the_keyboard_with_a_focus_that_is_seen(page):
    page.evaluate("document.querySelector('#direction').focus()")
    reached = []
    for _ in range(4):
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('th')?.dataset.key ?? ''"))
    assert reached[-3:] == ["position", "gold", "score"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter", "\r")
    assert column(page, 2) == sorted(column(page, 2), reverse=True)


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_is_never_wider_than_the_screen(page, width):
    page.resize(width, 800)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    widest = page.evaluate("Math.max(...[...document.querySelectorAll('.plot svg')].map(s => s.clientWidth))")
    assert 0.7 * min(width, 900) < widest <= width


def test_it_is_printed_in_light_colours_with_the_tables_unfolded(page):
    click(page, "#theme")
    assert page.pdf().startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    ink = page.evaluate("document.querySelector('[data-figure=curve]').layout.font.color")
    assert ink == "#1A1A1A"
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_ten_thousand_pairs_stay_small_and_fluid(browser, tmp_path):
    """Sizes and times are printed: ``pytest -s tests/browser -k ten_thousand``."""
    run = made_up_run(tmp_path / "run", MANY, n_layers=LAYERS, resamples=2)
    write_report(run.directory)
    size = (run.directory / "report.html").stat().st_size
    browser.open(run.directory / "report.html")
    assert browser.evaluate("document.querySelector('#found').textContent") == "10,000 pairs"
    actions = {
        "sort": "document.querySelector('#pairs th[data-key=score] button').click()",
        "search": "search.value = 'dog river'; search.dispatchEvent(new Event('input'))",
        "switch the measure": "s = document.querySelector('[data-choice=measure]'); s.value = 'ruzicka';"
        "s.dispatchEvent(new Event('change'))",
    }
    times = {name: _milliseconds(browser, action) for name, action in actions.items()}
    told = ", ".join(f"{name} {time:.0f} ms" for name, time in times.items())
    print(f"\n{MANY} pairs, {LAYERS} layers, 2 measures: {size / MEGABYTE:.1f} MB, {told}")
    assert size < 12 * MEGABYTE
    assert max(times["sort"], times["search"]) < 500


def _milliseconds(browser, action):
    """The median of five: the action itself, and laying out the page after it."""
    measured = [
        browser.evaluate(
            f"(() => {{ const start = performance.now(); let s; {action}; document.body.offsetHeight;"
            "return performance.now() - start; })()"
        )
        for _ in range(5)
    ]
    return sorted(measured)[2]
