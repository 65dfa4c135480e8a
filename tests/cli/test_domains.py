"""``actsim domains``: what it prints and where, how it goes on, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_samples

from actsim.pipelines.domains import Runner
from actsim.store.similarities import open_domains


@pytest.fixture
def texts(own_directory):
    """Two domains of one's own: a file with a text a row, and running text."""
    rows = [json.dumps({"text": text}) for text in tiny_samples.TEXTS]
    Path("tales.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    Path("news.txt").write_text("\n".join(tiny_samples.TEXTS * 4), encoding="utf-8")
    return ("--domain", "tales=tales.jsonl", "--domain", "news=news.txt", "--samples", 4, "--max-tokens", 12)


FEW = ("--resamples", "40", "--permutations", "19", "--out", "run")
BARE = (*FEW, "--no-report")


def test_the_table_and_the_files_are_the_last_thing_on_stdout(invoke, llama, texts):
    result = invoke("domains", "-m", llama, *texts, *FEW)
    assert result.exit_code == 0, result.output
    summary = open_domains("run").summary
    assert max(map(len, result.stdout.splitlines())) <= 80
    within, between, own = (f"{row['value']:.2f}" for row in summary["matrices"]["activation"])
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["1", "tales", within, between] in lines and ["2", "news", between, own] in lines
    for row in summary["layers"]:
        figures = [f"{row[name]['value']:.3f}" for name in ("within", "cross", "gap", "separation")]
        assert [str(row["layer"]), *figures, f"{row['gap']['p_holm']:.3f}"] in lines
    tail = result.stdout.partition("files in run:")[2].replace(",", " ").split()
    assert set(tail) == {path.name for path in Path("run").iterdir() if path.is_file() and path.name[0] != "."}
    assert {"report.html", "report.md", "matrix.csv", "layers.csv", "pairs.csv", "matrix.svg"} <= set(tail)


def test_what_is_going_to_be_done_is_said_before_it_is_and_done_once(invoke, llama, texts, monkeypatch):
    result = invoke("domains", "-m", llama, *texts, *BARE)
    first, second, model, plan = result.stderr.splitlines()
    assert first == "domain: tales: 10 texts, file tales.jsonl"
    assert second.startswith("domain: news: ")
    assert model.endswith("causal, float32 on cpu")
    assert plan.startswith("to do: 2 groups of 4 samples in one pass; about ")
    monkeypatch.setattr(Runner, "table", None)
    again = invoke("domains", "-m", llama, *texts, *BARE)
    assert again.stdout == result.stdout
    assert "to do" not in again.stderr
    assert invoke("domains", "-m", llama, *texts, *BARE, "-q").stderr == ""


def test_another_band_sums_up_the_same_run_anew(invoke, llama, texts, monkeypatch):
    assert invoke("domains", "-m", llama, *texts, *BARE).exit_code == 0
    monkeypatch.setattr(Runner, "table", None)
    result = invoke("domains", "-m", llama, *texts, *BARE, "--layers", "1", "--json")
    summary = json.loads(result.stdout)
    assert summary == json.loads(Path("run/summary.json").read_text())
    assert summary["band"]["layers"] == [1]
    row = summary["bands"][0]
    assert row["cross"] == summary["layers"][0]["cross"]


def test_the_report_is_written_again_without_the_model(invoke, llama, texts):
    assert invoke("domains", "-m", llama, *texts, *FEW).exit_code == 0
    before = {name: Path("run", name).read_bytes() for name in ("report.md", "report.html", "matrix.svg", "layers.csv")}
    for name in before:
        Path("run", name).unlink()
    result = invoke("report", "run")
    assert result.exit_code == 0, result.output
    assert {name: Path("run", name).read_bytes() for name in before} == before


def test_a_run_of_another_configuration_is_refused_with_the_difference(invoke, llama, texts):
    assert invoke("domains", "-m", llama, *texts, *BARE).exit_code == 0
    result = invoke("domains", "-m", llama, *texts, *BARE, "--objective", "nll")
    assert result.exit_code == 1
    assert "scoring.objective: 'next-token' -> 'nll'" in result.stderr
    assert invoke("domains", "-m", llama, *texts, *BARE, "--objective", "nll", "--fresh").exit_code == 0


def test_an_interruption_says_where_the_run_is_and_the_same_command_goes_on(invoke, llama, texts, monkeypatch):
    table, done = Runner.table, []

    def one_only(runner, group):
        if done:
            raise KeyboardInterrupt
        done.append(group)
        return table(runner, group)

    monkeypatch.setattr(Runner, "table", one_only)
    stopped = invoke("domains", "-m", llama, *texts, *BARE)
    assert stopped.exit_code == 130
    assert "interrupted; the run is kept in run, and the same command goes on with it." in stopped.stderr
    monkeypatch.setattr(Runner, "table", table)
    result = invoke("domains", "-m", llama, *texts, *BARE)
    assert result.exit_code == 0, result.output
    assert "to do: 1 group of 4 samples" in result.stderr and "4 of 8 samples are scored already" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "no domain given; give --domain NAME at least twice"),
        (("--domain", "tales=tales.jsonl"), "one domain given, tales=tales.jsonl; give --domain NAME at least twice"),
        (("--domain", "tales=tales.jsonl", "--domain", "tales=news.txt"), "the domain tales is given twice"),
        (("--domain", "tales=tales.jsonl", "--domain", "books"), "unknown domain 'books'"),
    ],
)
def test_bad_domains_are_a_usage_error_of_one_line(invoke, llama, texts, args, message):
    result = invoke("domains", "-m", llama, *args)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert not Path("reports").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--samples", 3), 2, "--samples 3: samples of a domain go in twos; give an even number of at least 2."),
        (("--samples", 12), 1, "tales: 12 samples wanted, the domain has 10 texts"),
        (("--layers", "9"), 2, "the model has layers 1 to 3"),
        (("--objective", "likelihood"), 2, "unknown objective 'likelihood'"),
        (("--permutations", 0), 2, "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_compared_is_an_error_of_one_line(invoke, llama, texts, args, code, message):
    result = invoke("domains", "-m", llama, *texts, *args)
    assert result.exit_code == code
    assert message in result.stderr.splitlines()[-1]
    assert not Path("reports").exists()
