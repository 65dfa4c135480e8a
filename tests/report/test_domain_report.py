"""The report of a run over domains: every form says the same figures, and no name can do harm."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import made_up_domains
import pytest
from rich.console import Console

from actsim.report import domain_interactive
from actsim.report.domain_files import domain_files
from actsim.report.domain_html import domain_html
from actsim.report.domain_markdown import domain_markdown
from actsim.report.domain_tables import domain_csvs, domains_table
from actsim.report.domain_wording import findings

HOSTILE = '</script><b>x"|*[a](b)'


@pytest.fixture(scope="module")
def summary():
    return made_up_domains.summary()


@pytest.fixture(scope="module")
def hostile():
    return made_up_domains.summary((HOSTILE, "c4", "gsm8k", "mmlu"))


@pytest.fixture(scope="module")
def files(summary):
    return domain_files(summary, made_up_domains.manifest(), beside=["summary.json"])


def table(files, name):
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def test_matrix_csv_parses_back_to_the_same_figures(summary, files):
    rows = table(files, "matrix.csv")
    for name, cells in summary["matrices"].items():
        found = [row for row in rows if row["similarity"] == name]
        assert [float(row["mean"]) for row in found] == [cell["value"] for cell in cells]
    ends = [(float(row["ci_low"]), float(row["ci_high"])) for row in rows if row["similarity"] == "activation"]
    assert ends == [(cell["ci_low"], cell["ci_high"]) for cell in summary["matrices"]["activation"]]


def test_layers_csv_has_both_series_and_the_agreement_of_the_patterns(summary, files):
    rows = table(files, "layers.csv")
    assert [(row["similarity"], row["layer"]) for row in rows] == [
        (name, str(layer)) for name in ("activation", "hidden_mean") for layer in (1, 2, 3, 4)
    ]
    assert float(rows[2]["gap"]) == summary["layers"][2]["gap"]["value"]
    (found,) = [row for row in summary["agreement"] if (row["layer"], row["with"]) == (3, "tfidf")]
    assert float(rows[2]["rho_tfidf"]) == found["value"] and rows[6]["rho_tfidf"] == ""


def test_the_other_tables_have_a_row_for_each(summary, files):
    assert len(table(files, "pairs.csv")) == len(summary["pairs"])
    assert len(table(files, "kinds.csv")) == len(summary["kinds"])
    assert len(table(files, "correlations.csv")) == len(summary["correlations"])


def test_every_finding_stands_in_the_terminal_or_the_page_with_its_figures(summary, files):
    page, markdown = files["report.html"].decode(), files["report.md"].decode()
    assert len(findings(summary)) == 8
    for sentence in findings(summary):
        assert sentence.split("?")[0] in markdown and sentence.split("?")[0] in page
    gap = next(row for row in summary["bands"] if row["name"] == "activation")["gap"]
    assert f"{gap['value']:+.3f}" in findings(summary)[0]


def test_the_terminal_is_within_80_columns_and_shows_the_matrix(summary):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(domains_table(summary))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for row in summary["matrices"]["activation"]:
        assert f"{row['value']:.2f}" in text
    assert "Mantel" in text and "a note that matters" in text


def test_markdown_links_the_files_and_embeds_the_figures(files):
    text = files["report.md"].decode()
    assert set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)) == {"matrix.svg", "layers.svg", "boxes.svg"}
    linked = set(re.findall(r"^- \[[^]]*\]\(([^)]+)\)", text, re.MULTILINE))
    assert linked == {*files, "summary.json"} - {"report.md", "matrix.svg", "layers.svg", "boxes.svg"}


def test_figures_are_well_formed_and_the_same_again(summary, files):
    for name in ("matrix", "layers", "boxes"):
        assert ElementTree.fromstring(files[f"{name}.svg"]).tag.endswith("svg")
        assert files[f"{name}.png"].startswith(b"\x89PNG")
    again = domain_files(summary, made_up_domains.manifest(), beside=["summary.json"])
    assert again == files


def test_figures_of_the_page_have_the_figures_of_the_summary(summary):
    figures = {figure["meta"]["similarity"]: figure for figure in domain_interactive.matrices(summary)}
    assert list(figures) == ["activation", "hidden_mean", "tfidf", "same_token", "published"]
    first = figures["activation"]["traces"][0]
    assert first["x"] == summary["order"]
    cell = next(row for row in summary["matrices"]["activation"] if (row["a"], row["b"]) == ("boolq", "mmlu"))
    row, column = first["y"].index("boolq"), first["x"].index("mmlu")
    assert first["z"][row][column] == pytest.approx(cell["value"], abs=1e-5)
    assert f"[{cell['ci_low']:.3f}, {cell['ci_high']:.3f}], 32 pairs" in first["hovertext"][row][column]
    boxes = {(box["meta"]["pair"], box["name"]): box for box in domain_interactive.boxes(summary)["traces"]}
    assert len(boxes) == 2 + 3 * 15
    distribution = [row for row in summary["pairs"] if (row["a"], row["b"]) == ("boolq", "mmlu")][1:]
    between = boxes["boolq mmlu", "between them"]
    assert between["median"] == pytest.approx([row["median"] for row in distribution], abs=1e-5)
    assert between["x"] == [1, 2, 3, 4]


def test_every_choice_of_the_page_has_a_figure(summary):
    offered = domain_interactive.choices(summary)
    for name, figures in (("similarity", domain_interactive.matrices), ("lines", domain_interactive.lines)):
        assert [value for value, _ in offered[name]] == [figure["meta"][name] for figure in figures(summary)]
    assert {value for value, _ in offered["pair"]} == {
        box["meta"]["pair"] for box in domain_interactive.boxes(summary)["traces"]
    }


def test_no_name_can_end_a_script_or_open_an_element(hostile):
    page = domain_html(hostile, made_up_domains.manifest())
    assert HOSTILE not in page and "<b>x" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert HOSTILE in json.dumps(json.loads(data[1]), ensure_ascii=False).replace('\\"', '"').replace(
        "&lt;", "<"
    ).replace("&gt;", ">")
    cells = domain_markdown(hostile, made_up_domains.manifest(), {}).split("## Matrix")[1].split("## Layers")[0]
    lines = [line for line in cells.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_few_domains_and_one_group_are_reported_without_what_they_lack():
    found = made_up_domains.summary(("tales", "songs"), n_groups=1)
    written = domain_files(found, made_up_domains.manifest())
    assert "too few cells" in written["report.md"].decode()
    assert b"nan" not in b"".join(domain_csvs(found).values())
