"""The comparison as a page, as Markdown, on the terminal and as figures: complete, escaped, readable everywhere."""

from __future__ import annotations

import copy
import html
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from fabricated_runs import config, fabricated_run
from rich.console import Console

from actsim.report.compare_figures import curves_figure, heatmap_figure
from actsim.report.compare_html import compare_html
from actsim.report.compare_markdown import compare_markdown
from actsim.report.compare_tables import compare_table, p_text, verdict_sentence
from actsim.report.figures import png, svg
from actsim.report.palette import run_style
from actsim.report.wording import number
from actsim.studies.compare import compare

ATTACK = "<script>alert(1)</script>"
NAME = "fair<img src=x onerror=alert(1)>|$x$"
FIGURES = ["curves", "layers_A_B", "layers_A_C", "layers_B_C"]


@pytest.fixture(scope="session")
def summary(tmp_path_factory):
    """Three runs; a name, and the sentences of every pair, try to break out of the page."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    gold = np.round(rng.uniform(0, 5, 40), 1)
    runs = []
    for name, noise, layers in (("good", 0.5, 4), (NAME, 3.0, 6), ("none", 1e6, 6)):
        scores = gold[:, None] + noise * rng.standard_normal((40, layers))
        runs.append(fabricated_run(folder / name[:4], scores, gold, settings=config(model={"name": name})))
    runs[0].pairs["sentence_a"] = [f"{ATTACK} | *pair* {row}" for row in range(40)]
    for run in runs[1:]:
        run.pairs["sentence_a"] = runs[0].pairs["sentence_a"]
    command = ["actsim", "compare", "good", "fair; rm"]
    return compare(runs, resamples=200, out=folder / "out", command=command).summary


@pytest.fixture(scope="session")
def page(summary):
    return compare_html(summary)


def without_library(page: str) -> str:
    """The page but for plotly."""
    return re.sub(r"<script>/\*\*.*?</script>", "", page, flags=re.DOTALL)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="session")
def elements(page):
    found = Elements()
    found.feed(without_library(page))
    return found


def test_the_page_asks_for_nothing_from_elsewhere(elements):
    addresses = [
        value
        for tag, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data") and not value.startswith(("#", "data:"))
    ]
    assert addresses == []
    assert sum(tag == "script" for tag, _ in elements.tags) == 3 - 1  # data and figures.js; plotly was taken out


def test_texts_are_shown_and_not_run(page, elements):
    assert ATTACK not in without_library(page)
    text = "".join(elements.text)
    assert f"{ATTACK} | *pair* " in text
    assert NAME in text
    assert not any(tag == "img" for tag, _ in elements.tags)


def test_every_figure_of_the_document_is_on_the_page(summary, elements):
    text = " ".join("".join(elements.text).split())
    for run in summary["runs"]:
        assert f"{run['headline']['spearman']:.3f}" in text
        assert f"{run['best_layer']['spearman']:.3f}" in text
    for row in summary["differences"]:
        assert verdict_sentence(summary, row) in text
        assert f"{row['steiger']['z']:+.2f}" in text
    for found in summary["agreements"]:
        assert all(number(row["gain"], 2, signed=True) in text for row in found["disagreements"])
    assert "actsim compare good 'fair; rm'" in text


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_script_gets_the_figures(summary, page):
    figures = data_of(page)["figures"]
    maps = [figure["traces"][0]["z"] for figure in figures["layers"]]
    for found, shown in zip(summary["agreements"], maps, strict=True):
        np.testing.assert_allclose(shown, found["layers"], atol=1e-5)
    lines = [trace for trace in figures["curves"]["traces"] if trace["mode"] == "lines+markers"]
    for run, line in zip(summary["runs"], lines, strict=True):
        np.testing.assert_allclose(line["y"], [row["spearman"] for row in run["layers"]], atol=1e-5)
        assert line["x"] == [row["depth"] for row in run["layers"]]


def test_every_choice_shows_one_heat_map_and_plotly_takes_every_figure(summary, page):
    data = data_of(page)
    figures = data["figures"]
    chosen = [figure["meta"]["runs"] for figure in figures["layers"]]
    assert chosen == re.findall(r'<option value="(.*?)">', without_library(page)) == ["A B", "A C", "B C"]
    assert data["choice"]["runs"] == chosen[0]
    for figure in (figures["curves"], *figures["layers"]):
        traces = [{key: value for key, value in trace.items() if key != "meta"} for trace in figure["traces"]]
        go.Figure(traces, figure["layout"])  # raises on a name or a value that plotly does not know


def test_the_page_may_do_nothing_but_run_its_own_scripts(page):
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    assert html.unescape(policy).startswith("default-src 'none'")
    assert policy.count("sha256-") == 2


def test_every_table_and_figure_has_a_name_and_every_wide_one_takes_the_keyboard(elements):
    scrolling = [attributes for tag, attributes in elements.tags if attributes.get("class", "").startswith("scroll")]
    assert len(scrolling) >= 6
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in scrolling)
    assert ("html", {"lang": "en"}) in elements.tags


def test_without_sentences_there_is_no_column_for_them(summary):
    bare = copy.deepcopy(summary)
    for found in bare["agreements"]:
        for row in found["disagreements"]:
            del row["sentence_a"], row["sentence_b"]
    assert "sentences</th>" not in without_library(compare_html(bare))
    assert "first sentence" not in compare_markdown(bare, FIGURES)


def test_undefined_figures_are_dashes(summary):
    gone = copy.deepcopy(summary)
    gone["runs"][2]["best_layer"] = None
    gone["runs"][2]["headline"] = dict.fromkeys(gone["runs"][2]["headline"])
    for row in gone["runs"][2]["layers"]:
        row |= {"spearman": None, "ci_low": None, "ci_high": None}
    gone["differences"][1] |= dict.fromkeys(("value", "ci_low", "ci_high", "p", "p_holm")) | {
        "steiger": {"z": None, "p": None}
    }
    gone["agreements"][1]["layers"][0] = [None] * 6
    text = html.unescape(without_library(compare_html(gone)))
    assert '<td class="num">–</td>' in text and "None" not in text and "nan" not in text.lower()
    assert "None" not in compare_markdown(gone, FIGURES)
    assert "None" not in shown(gone)
    assert svg(heatmap_figure(gone, gone["agreements"][1]), "map").startswith("<?xml")


def test_the_markdown_escapes_and_keeps_its_tables_whole(summary):
    text = compare_markdown(summary, FIGURES)
    assert ATTACK not in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1
    assert all(f"({name}.svg)" in text for name in FIGURES)
    assert "```sh\nactsim compare good 'fair; rm'\n```" in text


def shown(summary, width=80, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=stream, width=width, highlight=False).print(compare_table(summary))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_terminal_stays_within_its_width(summary, encoding):
    assert max(map(len, shown(summary, encoding=encoding).splitlines())) <= 80
    assert NAME in shown(summary, 200, encoding)


def test_every_difference_is_one_line_on_80_columns(summary):
    lines = shown(summary).splitlines()
    for row in summary["differences"]:
        (line,) = (line for line in lines if line.startswith(f"{row['a']} - {row['b']}"))
        assert f"{row['ci_high']:+.3f}]" in line


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0004, "<0.001"), (0.001, "0.001"), (0.0312, "0.031")])
def test_p_values_in_words(value, text):
    assert p_text(value) == text


def test_figures_are_documents_that_name_every_run(summary):
    text = svg(curves_figure(summary), "curves")
    root = ElementTree.fromstring(text)
    words = " ".join(node.text or "" for node in root.iter() if node.tag.endswith("text"))
    for run in summary["runs"]:
        assert f"{run['key']}: {run['label']}" in words
    assert all(run_style(index).colour.lower() in text.lower() for index in range(3))
    data = png(curves_figure(summary), "curves")
    width = int.from_bytes(data[16:20], "big")
    assert data.startswith(b"\x89PNG") and width >= 1600


def test_equal_figures_give_equal_bytes(summary):
    figures = [heatmap_figure(summary, summary["agreements"][0]) for _ in range(2)]
    assert svg(figures[0], "map") == svg(figures[1], "map")


def test_runs_can_be_told_apart_after_the_colours_are_used_up():
    styles = [run_style(index) for index in range(26)]
    assert len({style[:2] for style in styles}) == len({(style.colour, style.marker) for style in styles}) == 26
