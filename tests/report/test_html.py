import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from made_up_run import HOSTILE, made_up_run, made_up_sentences

from actsim.report.files import report_files
from actsim.report.html import report_html
from actsim.report.plotly_parts import DARK


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text inside each script."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts, self.in_script = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.in_script = tag == "script"
        if self.in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "run", 60, hostile=True)


def page_of(run, summary=None, **options):
    return report_html(run, run.pairs, summary or run.summary, run.manifest, **options)


@pytest.fixture(scope="module")
def elements(run):
    return Elements(page_of(run))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_nothing_is_fetched_from_anywhere(elements):
    for tag, attributes in elements.found:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        assert "src" not in attributes
        if tag != "a":
            assert attributes.get("href", "data:,") == "data:,"


def test_hostile_texts_add_no_script_and_no_handler(elements):
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 4
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]


def test_every_script_is_allowed_by_its_hash_and_no_other(elements):
    (policy,) = (a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    expected = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in elements.scripts[1:]
    }
    assert set(re.search(r"script-src ([^;]*)", policy)[1].split()) == expected
    assert policy.startswith("default-src 'none'")


def test_the_data_of_the_page_are_the_pairs_of_the_run(run):
    pairs = data_of(page_of(run))["pairs"]
    assert pairs["a"] == run.pairs["sentence_a"].tolist()
    assert set(HOSTILE) <= set(pairs["a"])
    assert pairs["gold"] == run.pairs["gold"].tolist()
    scores = run.band_scores("cosine", run.summary["band"]["layers"])
    assert pairs["score"] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("stored", [True, False])
def test_without_text_no_sentence_is_in_any_file(tmp_path, stored):
    run = made_up_run(tmp_path / "run", 40, n_layers=2, measures=("cosine",), keep_text=stored)
    files = report_files(run, run.pairs, run.summary, run.manifest, keep_text=False)
    assert "report.html" in files
    for sentence in made_up_sentences(40) + made_up_sentences(40, seed=1):
        assert not any(sentence.encode() in content for content in files.values())
    assert b"The sentences are left out of this report." in files["report.html"]
    assert "a" not in data_of(files["report.html"].decode())["pairs"]


def test_a_report_is_the_same_every_time(run):
    def made():
        return report_files(run, run.pairs, run.summary, run.manifest, beside=["summary.json"])

    assert made() == made()


def test_every_figure_is_one_that_plotly_knows(run):
    figures = data_of(page_of(run))["figures"]
    assert set(figures) == {"curve", "kinds", "against", "spread"}
    for figure in figures.values():
        assert len(go.Figure(data=figure["traces"], layout=figure["layout"]).data) == len(figure["traces"])


def test_the_curve_has_the_figures_of_the_summary(run):
    traces = data_of(page_of(run))["figures"]["curve"]["traces"]
    for measure in run.summary["measures"]:
        whole = next(
            trace
            for trace in traces
            if trace["meta"] == {"measure": measure, "kind": "all"} and trace.get("fill") is None
        )
        rows = [row for row in run.summary["layers"] if row["measure"] == measure]
        assert whole["y"] == pytest.approx([row["spearman"] for row in rows], abs=1e-5)
        assert all(f"[{row['ci_low']:.3f}" in text for row, text in zip(rows, whole["text"], strict=True))
    lines = {trace["meta"].get("line") for trace in traces} - {None}
    assert lines == {"hidden_mean", "word_overlap", "embedding", "partial-word_overlap"}


def test_every_dark_colour_is_unlike_the_others():
    assert len({colour for light, colour in DARK.items() if light != "#000000"}) == len(DARK) - 1


def with_controls(summary):
    rows = [row for row in summary["layers"] if row["measure"] == "cosine"]
    partial = [{**rows[0], "layer": row["layer"], "given": given} for given in (["a"], ["a", "b"]) for row in rows]
    difference = {"value": 0.1, "ci_low": 0.05, "ci_high": 0.15}
    own = [{**row, "difference": difference} for row in rows]
    control = {"name": "random-weights", "seed": 0, "headline": rows[0], "layers": own, "difference": difference}
    return {**summary, "controls": [control], "partial_layers": partial}


def test_controls_and_partial_correlations_join_the_curve_where_there_are_some(run):
    page = page_of(run, with_controls(run.summary))
    lines = {trace["meta"].get("line") for trace in data_of(page)["figures"]["curve"]["traces"]}
    assert {"control-random-weights", "partial-a", "partial-a-b"} <= lines
    boxes = {a["data-line"]: "checked" in a for _, a in Elements(page).found if "data-line" in a}
    assert (boxes["control-random-weights"], boxes["partial-a"], boxes["partial-a-b"]) == (True, False, True)
    assert "control: random weights" in page


def test_what_the_controls_say_is_the_first_paragraph(run):
    page = page_of(run, with_controls(run.summary))
    lead = page.partition('<section class="prose lead">')[2].lstrip().partition("</p>")[0]
    assert lead.startswith("<p>") and "random weights" in lead and "reaches" in lead


def test_the_page_says_how_the_run_was_made(run):
    page = page_of(run)
    for text in ("actsim eval made-up", run.manifest["digest"], "bootstrap", "2.0", "0" * 40):
        assert text in page
