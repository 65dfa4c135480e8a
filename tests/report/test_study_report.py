"""The report of a pruning study: every form says the same figures, and no name can do harm."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import made_up_study
import numpy as np
import pytest
from rich.console import Console

from actsim.report import study_interactive
from actsim.report.study_files import study_files
from actsim.report.study_html import study_html
from actsim.report.study_markdown import study_markdown
from actsim.report.study_series import calibration_grids, turned, ways
from actsim.report.study_tables import study_csvs, study_table
from actsim.report.study_wording import findings

HOSTILE = '</script><b>x"|*[a](b)'


@pytest.fixture(scope="module")
def summary():
    return made_up_study.summary()


@pytest.fixture(scope="module")
def files(summary):
    return study_files(summary, made_up_study.manifest(), beside=["summary.json"])


def rows_of(files, name):
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def test_tables_parse_back_to_the_same_figures(summary, files):
    for name, key in (("figures.csv", "value"), ("differences.csv", "difference"), ("transfer.csv", "rho")):
        rows = summary[name.removesuffix(".csv")]
        assert [float(row[key]) for row in rows_of(files, name)] == [row[key] for row in rows]


def test_a_way_holds_what_no_calibration_touches(summary):
    known = ways(summary)
    assert [way.calibration for way in known if way.score == "magnitude"] == list(made_up_study.CALIBRATIONS)
    uniform = [row for row in summary["plans"] if (row["score"], row["allocation"]) == ("magnitude", "uniform")]
    assert len(uniform) == 1 and uniform[0]["calibration"] is None
    assert all(way.holds(uniform[0]) for way in known if way.score == "magnitude")


def test_a_difference_turned_round_is_that_of_the_levels_turned_round(summary):
    row = summary["differences"][0]
    other = turned(row, "perplexity")
    assert (1 + row["difference"] / 100) * (1 + other["difference"] / 100) == pytest.approx(1)
    assert other["ci_low"] <= other["difference"] <= other["ci_high"]
    assert {row["verdict"], other["verdict"]} in ({"better", "worse"}, {"open"})
    again = turned(other, "perplexity")
    assert [again[name] for name in row if isinstance(row[name], float)] == pytest.approx(
        [row[name] for name in row if isinstance(row[name], float)]
    )
    assert turned(row, "accuracy")["difference"] == -row["difference"]


def test_the_grid_is_that_of_the_figures(summary):
    grids = calibration_grids(summary)
    assert {(grid.score, grid.figure) for grid in grids} == {
        (score, figure) for score in ("wanda", "magnitude") for figure in ("perplexity", "accuracy")
    }
    grid = grids[0]
    row = next(
        row
        for row in summary["figures"]
        if (row["score"], row["allocation"], row["calibration"], row["measure"])
        == (grid.score, grid.allocation, "mmlu", "nll:siqa")
    )
    place = grid.calibrations.index("mmlu"), grid.texts.index("siqa")
    assert (grid.values[place], grid.against_dense[place]) == (row["value"], row["against_dense"])
    levels = np.log1p(grid.against_dense / 100)
    assert grid.against_text() == pytest.approx(100 * np.expm1(levels - levels.mean(axis=0)))
    tasks = next(grid for grid in grids if grid.figure == "accuracy")
    assert tasks.texts == ("piqa", "hellaswag")  # acc_norm of piqa alone: a task counts once


def test_every_finding_stands_in_the_markdown_and_the_page(summary, files):
    page, markdown = files["report.html"].decode(), files["report.md"].decode()
    found = findings(summary)
    starts = [sentence.split(":")[0].split("?")[0] for sentence in found]
    assert {
        "activation (beta 0.1) against uniform",
        "owl against uniform",
        "activation (beta 0.1) against owl",
        "Does calibration on a text's own domain serve it",
        "Do domains with similar activation patterns serve each other as calibration",
    } == set(starts)
    for sentence in found:
        own = re.sub(r"[^a-z ]", "", sentence.split("?")[0].split(":")[0])
        assert own in re.sub(r"[^a-z ]", "", markdown) and own in re.sub(r"&#\w+;|[^a-z ]", "", page)


def test_the_terminal_is_within_80_columns_and_shows_the_matrix(summary):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(study_table(summary))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "calibrations by texts" in text and "own domain, within each text" in text
    assert "mmlu: the calibration mmlu is out of the same rows" in " ".join(text.split())
    first = summary["transfer"][0]
    assert f"{first['rho']:.2f}" in text


def test_markdown_links_the_files_and_embeds_the_figures(files):
    text = files["report.md"].decode()
    assert set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)) == {"results.svg", "plans.svg", "matrix.svg"}
    linked = set(re.findall(r"^- \[[^]]*\]\(([^)]+)\)", text, re.MULTILINE))
    assert linked == {*files, "summary.json"} - {"report.md", "results.svg", "plans.svg", "matrix.svg"}


def test_figures_are_well_formed_and_the_same_again(summary, files):
    for name in ("results", "plans", "matrix"):
        assert ElementTree.fromstring(files[f"{name}.svg"]).tag.endswith("svg")
        assert files[f"{name}.png"].startswith(b"\x89PNG")
    assert study_files(summary, made_up_study.manifest(), beside=["summary.json"]) == files


def test_figures_of_the_page_have_the_figures_of_the_summary(summary):
    offered = study_interactive.choices(summary)
    results = {figure["meta"]["measure"]: figure for figure in study_interactive.results(summary)}
    assert list(results) == [value for value, _ in offered["measure"]]
    traces = results["nll:mmlu"]["traces"]
    assert [trace["name"] for trace in traces] == [label for _, label in offered["way"]]
    row = next(row for row in summary["figures"] if row["measure"] == "nll:mmlu")
    assert traces[0]["y"][0] == pytest.approx(row["value"], abs=1e-5)
    ends = traces[0]["error_y"]["array"][0], traces[0]["error_y"]["arrayminus"][0]
    assert ends == pytest.approx((row["ci_high"] - row["value"], row["value"] - row["ci_low"]), abs=1e-5)
    shown = [figure["meta"] for figure in study_interactive.differences(summary)]
    assert shown == [
        {"measure": measure, "against": against}
        for measure, _ in offered["measure"]
        for against, _ in offered["against"]
    ]
    plans = study_interactive.plans(summary)
    assert [figure["meta"]["way"] for figure in plans] == [value for value, _ in offered["way"]]
    assert plans[0]["traces"][0]["y"] == pytest.approx([100 * s for s in summary["plans"][0]["planned"]])
    matrices = study_interactive.matrices(summary)
    assert [(own["meta"]["grid"], own["meta"]["set"]) for own in matrices] == [
        (grid, against) for grid, _ in offered["grid"] for against, _ in offered["set"]
    ]


def test_no_name_can_end_a_script_or_open_an_element():
    calibrations = (HOSTILE, "c4", "boolq:train", "siqa:train", "gsm8k")
    hostile = made_up_study.summary(calibrations=calibrations)
    manifest = made_up_study.manifest(made_up_study.config(calibrations=calibrations))
    page = study_html(hostile, manifest)
    assert HOSTILE not in page and "<b>x" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    text = json.dumps(json.loads(data[1]), ensure_ascii=False).replace('\\"', '"')
    assert HOSTILE in text.replace("&lt;", "<").replace("&gt;", ">")
    cells = study_markdown(hostile, manifest, {}).split("## Calibrations and texts")[1].split("Spearman")[0]
    lines = [line for line in cells.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_one_calibration_and_one_seed_are_reported_without_what_they_lack():
    found = made_up_study.summary(calibrations=("c4",), texts=("c4",), seeds=(0,))
    written = study_files(found, made_up_study.manifest(made_up_study.config(calibrations=("c4",), texts=("c4",))))
    assert "matrix.svg" not in written and "transfer.csv" not in written
    assert "Calibrations and texts" not in written["report.md"].decode()
    assert b"nan" not in b"".join(study_csvs(found).values())
