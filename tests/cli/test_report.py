"""``actsim report``: the report of a stored run, and what ``eval`` writes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_run import made_up_run

from actsim.report import page
from actsim.store import open_run
from actsim_cli import report as command

FIGURES = {f"{name}.{form}" for name in ("layers", "kinds", "scores") for form in ("svg", "png")}
REPORT = FIGURES | {"report.html", "report.md"}
TABLES = {"layers.csv", "kinds.csv"}
FEW = ("--resamples", "20")


@pytest.fixture
def run():
    return made_up_run(Path("run"), 30, n_layers=2, measures=("cosine",))


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


@pytest.fixture
def without_plotly(monkeypatch):
    real = page.importlib.util.find_spec
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None if name == "plotly" else real(name))


def test_eval_writes_the_report_and_report_writes_the_same_again(invoke, bert, pairs_csv):
    assert invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW).exit_code == 0
    before = contents("run")
    assert set(before) >= REPORT | TABLES
    for name in REPORT:
        Path("run", name).unlink()
    assert invoke("report", "run").exit_code == 0
    after = contents("run")
    assert {name: after[name] == before[name] for name in before} == dict.fromkeys(before, True)


def test_it_names_the_files_it_wrote_and_the_run_lists_them(invoke, run):
    result = invoke("report", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "files in run:"
    assert set(result.stdout.partition(":")[2].replace(",", " ").split()) == REPORT | TABLES
    assert set(open_run("run").manifest["files"]) >= REPORT | TABLES
    assert json.loads(invoke("report", "run", "--json").stdout) == {
        "run": "run",
        "directory": "run",
        "files": sorted(REPORT | TABLES),
    }


def test_a_report_elsewhere_leaves_the_run_as_it_is_and_may_hide_the_sentences(invoke, run):
    before = contents("run")
    assert invoke("report", "run", "--no-text", "--out", "deep/er").exit_code == 0
    assert contents("run") == before
    assert set(contents("deep/er")) == REPORT | TABLES
    sentences = [*run.pairs["sentence_a"], *run.pairs["sentence_b"]]
    hidden = Path("deep/er/report.html").read_text(encoding="utf-8")
    invoke("report", "run", "--out", "shown")
    shown = Path("shown/report.html").read_text(encoding="utf-8")
    assert not any(sentence in hidden for sentence in sentences)
    assert all(sentence in shown for sentence in sentences)


def test_the_page_is_opened_when_asked(invoke, run, monkeypatch):
    opened = []
    monkeypatch.setattr(command.click, "launch", opened.append)
    invoke("report", "run")
    assert opened == []
    invoke("report", "run", "--open")
    assert opened == [str(Path("run/report.html").resolve())]


def test_without_plotly_report_fails_with_the_way_to_get_it_and_writes_nothing(invoke, run, without_plotly):
    before = contents("run")
    result = invoke("report", "run")
    line = "report.html needs plotly, which is not installed; run: pip install 'actsim[report]'"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"actsim: error: {line}\n")
    assert contents("run") == before


def test_without_plotly_eval_finishes_and_says_what_is_not_written(invoke, bert, pairs_csv, without_plotly):
    result = invoke("eval", pairs_csv, "-m", bert, "--out", "my run", "-q", *FEW)
    assert result.exit_code == 0
    assert result.stderr == (
        "actsim: warning: report.html was not written: it needs plotly; run: pip install 'actsim[report]', "
        "then: actsim report 'my run'\n"
    )
    assert (REPORT | TABLES) - set(contents("my run")) == {"report.html"}


def test_no_report_leaves_the_results_alone(invoke, bert, pairs_csv):
    invoke("eval", pairs_csv, "-m", bert, "--out", "run", *FEW)
    invoke("eval", pairs_csv, "-m", bert, "--out", "run", "--no-report", *FEW)
    assert set(contents("run")) & (REPORT | TABLES) == TABLES
    assert open_run("run").summary["n_pairs"] == 12


def test_a_selection_of_an_earlier_call_is_kept_and_that_is_said(invoke, bert, benchmarks):
    args = ("eval", "sts-b", "--data-dir", benchmarks, "-m", bert, "--out", "run", "-q", "--no-report", *FEW)
    assert invoke(*args, "--select-on", "validation").stderr == ""
    result = invoke(*args)
    assert "run/selection is of an earlier call" in result.stderr
    assert result.stderr.count("\n") == 1
    assert Path("run/selection/manifest.json").is_file()


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((), 2, "no run given; give the directory of one, the --out of actsim eval."),
        (("nowhere",), 2, "nowhere: no such directory; give the --out of an actsim run."),
        (("run", "--out", "file.txt"), 2, "file.txt is a file; --out takes a directory."),
        (("run", "--out", "other"), 2, "other holds another run, whose report would be lost; give another --out."),
    ],
)
def test_a_wrong_call_is_one_line(invoke, run, args, status, message):
    Path("file.txt").touch()
    Path("other").mkdir()
    Path("other/manifest.json").touch()
    result = invoke("report", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"actsim: error: {message}\n")


def test_without_a_run_those_that_lie_about_are_named(invoke):
    made_up_run(Path("reports/mine"), 10, n_layers=1, measures=("cosine",))
    assert "such as reports/mine." in invoke("report").stderr
