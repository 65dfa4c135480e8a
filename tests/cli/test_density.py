"""``actsim density``: what it prints and where, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import tiny_samples

from actsim.store.densities import open_density
from actsim.studies import density as study


@pytest.fixture
def texts(own_directory):
    """Two domains of one's own: a file with a text a row, and running text."""
    rows = [json.dumps({"text": text}) for text in tiny_samples.TEXTS]
    Path("tales.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    Path("news.txt").write_text("\n".join(tiny_samples.TEXTS * 4), encoding="utf-8")
    return ("--domain", "tales=tales.jsonl", "--domain", "news=news.txt", "--samples", 8, "--max-tokens", 24)


@pytest.fixture(autouse=True)
def without_drawings(monkeypatch):
    """The figures beside the page take most of the time, and are tested elsewhere."""
    monkeypatch.setattr("actsim.report.figures.svg", lambda figure, title: "<svg></svg>")
    monkeypatch.setattr("actsim.report.figures.png", lambda figure, title: b"")


FEW = ("--folds", "2", "--no-report", "--out", "run")


def test_the_table_and_the_files_are_the_last_thing_on_stdout(invoke, llama, texts):
    result = invoke("density", "-m", llama, *texts, "--folds", 2, "--out", "run", "--gamma", 1e-3)
    assert result.exit_code == 0, result.output
    summary = open_density("run").summary
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "parameters with Ā > 0.001, %" in result.stdout
    index = summary["gammas"].index(1e-3)
    for layer in (1, 2, 3):
        shares = [
            f"{100 * row['counts'][index] / row['parameters']:.1f}"
            for row in summary["rows"]
            if (row["layer"], row["kind"]) == (layer, "all")
        ]
        assert [str(layer), *shares] in [line.split() for line in result.stdout.splitlines()]
    tail = result.stdout.partition("files in run:")[2].replace(",", " ").split()
    assert set(tail) == {path.name for path in Path("run").iterdir() if path.is_file() and path.name[0] != "."}


def test_what_is_going_to_be_done_is_said_before_it_is(invoke, llama, texts):
    result = invoke("density", "-m", llama, *texts, *FEW)
    first, second, model, plan = result.stderr.splitlines()
    assert first == "domain: tales: 10 texts, file tales.jsonl"
    assert second == "domain: news: 1 text, file news.txt"
    assert model.endswith("causal, float32 on cpu")
    assert plan.startswith("to do: 2 domains in one pass, 16 samples in all; about ")
    again = invoke("density", "-m", llama, *texts, *FEW)
    assert again.stdout == result.stdout
    assert "to do" not in again.stderr
    assert invoke("density", "-m", llama, *texts, *FEW, "-q").stderr == ""


def test_running_text_of_several_files_names_the_first(invoke, llama, texts):
    Path("more.txt").write_text("\n".join(tiny_samples.TEXTS * 4), encoding="utf-8")
    result = invoke("density", "-m", llama, "--domain", "all=*.txt", "--samples", 4, "--max-tokens", 24, *FEW)
    assert result.stderr.splitlines()[0] == "domain: all: 2 texts, file more.txt and 1 more"


def test_less_memory_means_more_passes_and_the_same_counts(invoke, llama, texts):
    one = ("density", "-m", llama, *texts[:2], *texts[4:], *FEW)
    assert invoke(*one).exit_code == 0
    at_once = open_density("run").table
    result = invoke(*one, "--fresh", "--memory", 4e-5)
    assert "to do: 1 domain in 3 passes, one for each group of layers, 24 samples in all" in result.stderr
    assert open_density("run").table["counts"] == at_once["counts"]


def test_json_is_the_summary_and_the_csv_has_its_counts(invoke, llama, texts):
    result = invoke("density", "-m", llama, *texts, *FEW, "--json")
    summary = json.loads(result.stdout)
    assert summary == json.loads(Path("run/summary.json").read_text())
    with Path("run/density.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(summary["rows"]) * len(summary["gammas"])
    counts = {
        (row["domain"], str(row["layer"]), row["kind"], gamma): count
        for row in summary["rows"]
        for gamma, count in zip(summary["gammas"], row["counts"], strict=True)
    }
    for row in rows:
        assert int(row["count"]) == counts[row["domain"], row["layer"], row["kind"], float(row["gamma"])]
        assert float(row["share"]) == int(row["count"]) / int(row["parameters"])
        assert bool(row["ci_low"]) == (row["kind"] == "all")


def test_an_interrupted_run_says_how_to_go_on(invoke, llama, texts, monkeypatch):
    def interrupt(runner, plan, store, progress):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "run_passes", interrupt)
        result = invoke("density", "-m", llama, *texts, *FEW)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "actsim: interrupted; the run is kept in run, and the same command goes on with it."
    )
    assert invoke("density", "-m", llama, *texts, *FEW).exit_code == 0


def test_report_writes_the_report_of_a_density_run(invoke, llama, texts):
    assert invoke("density", "-m", llama, *texts, *FEW).exit_code == 0
    assert not Path("run/report.md").exists()
    assert invoke("report", "run").exit_code == 0
    assert Path("run/report.html").exists()
    assert "# Density of activation: " in Path("run/report.md").read_text()
    assert invoke("report", "run", "--out", "elsewhere").exit_code == 0
    assert Path("elsewhere/report.html").read_bytes() == Path("run/report.html").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no domain given; give --domain NAME at least once, see 'actsim list domains'."),
        (["--domain", "bolq"], "unknown domain 'bolq'"),
        (["--domain", "tales=tales.jsonl", "--samples", 11], "tales: 11 samples wanted, the domain has 10 texts"),
        (["--domain", "tales=tales.jsonl", "--samples", 4], "--folds 8: 4 samples can be taken apart in"),
        (
            ["--domain", "tales=tales.jsonl", "--gamma", -1],
            "value for '--gamma': -1.0 is not in the range x>=0.",
        ),
        (
            ["--domain", "tales=tales.jsonl", "--samples", 8, "--pattern", "signed-weighted"],
            "a density is of absolute patterns",
        ),
        (["--domain", "tales=tales.jsonl", "--objective", "embedding-norm"], "is for another family of models"),
        (["--domain", "tales=tales.jsonl", "--samples", 8, "--memory", 1e-9], "give more with --memory"),
        (["--domain", "tales=tales.jsonl", "--domain", "tales=tales.jsonl"], "the domain tales is given twice"),
    ],
)
def test_wrong_usage_is_one_line(invoke, llama, texts, arguments, line):
    result = invoke("density", "-m", llama, "--max-tokens", 24, *arguments)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("actsim: error: ") and line in last
    assert not Path("reports").exists() or not list(Path("reports").rglob("parts/*"))
