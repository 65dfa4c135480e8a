"""``actsim compare``: runs that are there, models that are scored first, what is refused, and what is printed."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from pair_files import made_up_pairs, write_csv

from actsim.store import open_run

FEW = ("--resamples", "200")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Without the figures, which take most of the time and are drawn in the tests of reports."""
    monkeypatch.setattr("actsim.studies.compare.svg", lambda figure, title: "<svg></svg>")
    monkeypatch.setattr("actsim.studies.compare.png", lambda figure, title: b"")


@pytest.fixture(scope="session")
def many_pairs(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("data") / "many.csv", made_up_pairs(40))


def evaluate(invoke, out, dataset, model, *args):
    result = invoke("eval", dataset, "-m", model, "--out", out, "-q", *FEW, *args)
    assert result.exit_code == 0, result.output
    return out


def document(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_tables_are_within_80_columns_and_say_what_the_document_says(invoke, bert, llama, many_pairs):
    for number, model in enumerate((bert, llama)):
        evaluate(invoke, f"run{number}", many_pairs, model)
    result = invoke("compare", "run0", "run1", "--out", "both", *FEW)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    summary = json.loads(Path("both/compare.json").read_text())
    for run in summary["runs"]:
        assert any(line.split()[:2] == [run["key"], f"{run['headline']['spearman']:.3f}"] for line in lines if line)
    (difference,) = summary["differences"]
    assert any(line.startswith("A - B") and f"{difference['value']:+.3f}" in line for line in lines)
    assert f"A is {difference['verdict']} B" in lines
    tail = result.stdout.partition("files in both:")[2].replace(",", " ").split()
    assert sorted(tail) == sorted(path.name for path in Path("both").iterdir())
    assert {"compare.html", "compare.md", "curves.svg", "curves.png", "layers_A_B.svg", "pairs.csv"} <= set(tail)


def test_models_are_scored_where_they_are_missing_and_not_again(invoke, bert, llama, many_pairs):
    first = invoke("compare", "-m", bert, "-m", llama, "--dataset", many_pairs, "--json", *FEW)
    assert [run["n_rows"] for run in document(first)["runs"]] == [40, 40]
    runs = [path for path in Path("reports").iterdir() if (path / "manifest.json").exists()]
    before = {path: (path / "manifest.json").read_bytes() for path in runs}
    assert len(runs) == 2
    again = invoke("compare", "-m", bert, "-m", llama, "--dataset", many_pairs, "--json", *FEW)
    assert document(again) == document(first)
    assert {path: (path / "manifest.json").read_bytes() for path in runs} == before


def test_a_run_of_eval_is_used(invoke, bert, llama, many_pairs):
    """Same configuration, same directory, whatever the band that it was summed up with."""
    invoke("eval", many_pairs, "-m", bert, "--layers", "all", *FEW)
    (run,) = Path("reports").iterdir()
    before = (run / "summary.json").read_bytes()
    summary = document(invoke("compare", "-m", bert, "-m", llama, "--dataset", many_pairs, "--json", *FEW))
    assert summary["runs"][0]["directory"] == str(run)
    assert (run / "summary.json").read_bytes() == before
    assert [run["band"]["name"] for run in summary["runs"]] == ["deep", "deep"]


def test_one_set_of_options_serves_all_models(invoke, llama, bert, tmp_path, many_pairs):
    options = ("--limit", "20", "--max-tokens", "7", "--pattern", "absolute-gradient", "--measure", "ruzicka")
    summary = document(
        invoke(
            "compare", "-m", llama, "-m", bert, "--dataset", many_pairs, "--layers", "last", *options, "--json", *FEW
        )
    )
    assert (summary["n_pairs"], summary["measure"]) == (20, "ruzicka")
    for run in summary["runs"]:
        assert run["scoring"]["max_tokens"] == 7
        assert run["scoring"]["pattern"] == "absolute-gradient"
        assert run["band"]["layers"] == [3]


def test_rows_that_not_all_runs_have_are_left_out_and_told(invoke, bert, llama, many_pairs):
    evaluate(invoke, "some", many_pairs, bert, "--first", "25")
    evaluate(invoke, "all", many_pairs, llama)
    result = invoke("compare", "some", "all", *FEW)
    text = " ".join(result.stdout.split())
    assert "many.csv, all: 25 pairs" in text
    assert "compared on the 25 rows that all runs have (A has 25, B has 40)" in text


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), "a comparison needs at least two runs, got 0; give RUN RUN …, or -m A -m B --dataset NAME."),
        (("one",), "a comparison needs at least two runs, got 1"),
        (("-m", "a", "--dataset", "sample"), "a comparison needs at least two models, got 1; give -m again."),
        (("-m", "a", "-m", "b"), "-m needs --dataset"),
        (("-m", "a", "-m", "b", "-m", "a", "--dataset", "sample"), "the model a is given twice"),
        (("one", "-m", "a", "--dataset", "sample"), "give either RUN directories or models with -m, not both"),
        (("one", "two", "--dataset", "sample"), "--dataset acts together with -m only"),
        (("one", "two", "--device", "cpu"), "--device acts together with -m only"),
        (("one", "two"), "one: no such directory"),
        (("-m", "a", "-m", "b", "--dataset", "sample", "--measure", "cosin"), "Did you mean 'cosine'?"),
    ],
)
def test_what_cannot_be_acted_on_is_one_line_and_exit_code_2(invoke, args, line):
    result = invoke("compare", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"actsim: error: {line}") or line in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_package_is_told_before_anything_is_scored(invoke, bert, llama, many_pairs, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "plotly" else sys)
    result = invoke("compare", "-m", bert, "-m", llama, "--dataset", many_pairs)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "actsim: error: compare.html needs plotly, which is not installed; run: pip install 'actsim[report]'"
    )
    assert not Path("reports").exists()


def test_no_text_leaves_the_sentences_out_of_every_file(invoke, bert, llama, many_pairs):
    with many_pairs.open(encoding="utf-8") as stream:
        sentences = {row[name] for row in csv.DictReader(stream) for name in ("sentence1", "sentence2")}
    long = [text for text in sentences if text.count(" ") > 3]
    for number, model in enumerate((bert, llama)):
        evaluate(invoke, f"run{number}", many_pairs, model)
    shown = {}
    for out, options in (("with", ()), ("without", ("--no-text",))):
        assert invoke("compare", "run0", "run1", "--out", out, *options, *FEW).exit_code == 0
        texts = [
            p.read_text(encoding="utf-8") for p in Path(out).iterdir() if p.suffix in (".html", ".md", ".csv", ".json")
        ]
        shown[out] = any(text in content for text in long for content in texts)
    assert shown == {"with": True, "without": False}


def test_the_command_is_in_the_report(invoke, bert, llama, many_pairs):
    for number, model in enumerate((bert, llama)):
        evaluate(invoke, f"run{number}", many_pairs, model)
    summary = document(invoke("compare", "run0", "run1", "--out", "both", "--json", *FEW))
    assert summary["command"] == ["actsim", "compare", "run0", "run1", "--out", "both", "--json", *FEW]
    assert "actsim compare run0 run1 --out both" in Path("both/compare.md").read_text(encoding="utf-8")
    assert open_run("run0").manifest["record"]["command"][1] == "eval"
