"""``actsim eval`` with several objectives and patterns: the table, where it lies, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FEW = ("--resamples", "50", "--no-report", "--no-baselines")
TWO = ("--objective", "next-token", "--objective", "nll")
BOTH = (*TWO, "--pattern", "absolute-weighted", "--pattern", "absolute-gradient")


def test_the_table_is_within_80_columns_and_says_what_the_document_says(invoke, llama, benchmarks):
    args = ("eval", "sts-b", "-m", llama, "--data-dir", benchmarks, *BOTH, "--out", "out", *FEW)
    result = invoke(*args, "--measure", "cosine", "--measure", "ruzicka")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    summary = json.loads(Path("out/scorings.json").read_text(encoding="utf-8"))
    assert len(summary["scorings"]) == 8
    assert summary["ranked_on"]["split"] == "validation"
    text = " ".join(result.stdout.split())
    for row in summary["scorings"]:
        start = f"{row['rank']} {row['objective']}, {row['pattern']},"
        figures = f" {row['spearman_ranking']:.3f} {row['spearman']:.3f} "
        shown = [" ".join(line.split()) for line in lines]
        assert any(line.startswith(start) and figures in line for line in shown)
    first = summary["scorings"][0]
    label = f"{first['objective']}, {first['pattern']}, {first['measure']}"
    assert f"Ranked first on validation (15 pairs): {label}; on test: Spearman {first['spearman']:.3f}" in text
    runs = {"next-token-absolute-weighted", "nll-absolute-weighted", "next-token-absolute-gradient"}
    runs |= {"nll-absolute-gradient"}
    found = {path.name for path in Path("out").iterdir() if path.is_dir()}
    assert found == runs | {f"validation-{name}" for name in runs}
    again = invoke(*args, "--measure", "cosine", "--measure", "ruzicka")
    assert again.stdout == result.stdout
    assert again.stderr.count("12 of 12 pairs are scored already") == 2


def test_json_is_alone_on_stdout_and_runs_are_in_their_usual_directories(invoke, llama, pairs_csv):
    single = invoke("eval", pairs_csv, "-m", llama, "--objective", "nll", "--json", *FEW)
    assert single.exit_code == 0, single.output
    (before,) = Path("reports").iterdir()
    parts = {path.name: path.stat().st_mtime_ns for path in (before / "parts").iterdir()}
    result = invoke("eval", pairs_csv, "-m", llama, *TWO, "--json", *FEW)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["ranked_on"]["evaluated_rows"] is True
    assert str(before) in {row["directory"] for row in summary["scorings"]}
    assert {path.name: path.stat().st_mtime_ns for path in (before / "parts").iterdir()} == parts
    (table,) = Path("reports").glob("pairs.csv-all-tiny-llama-scorings-*")
    assert json.loads((table / "scorings.json").read_text(encoding="utf-8")) == summary


def test_select_on_chooses_each_band_and_ranks(invoke, llama, benchmarks):
    args = ("--data-dir", benchmarks, "--select-on", "train", "--json")
    (benchmarks / "stsb" / "train.jsonl").write_text((benchmarks / "stsb" / "validation.jsonl").read_text())
    result = invoke("eval", "sts-b", "-m", llama, *TWO, *args, "--out", "out", *FEW)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["ranked_on"]["split"], summary["ranked_on"]["chose_bands"]) == ("train", True)
    for row in summary["scorings"]:
        own = json.loads(Path(row["directory"], "summary.json").read_text(encoding="utf-8"))
        assert own["selection"]["spearman_selection"] == row["spearman_ranking"]
        assert own["band"] == row["band"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--objective", "nll", "--objective", "nl"), "unknown objective 'nl'"),
        (("--objective", "nll", "--objective", "nll"), "the objective nll is given twice; name each once."),
        (("--pattern", "absolute-weighted", "--pattern", "absolute-weighted"), "absolute-weighted is given twice"),
        (
            ("--pattern", "absolute-weighted", "--pattern", "signed-weighted", "--measure", "ruzicka"),
            "--pattern signed-weighted allows the measure cosine only",
        ),
        (("--objective", "nll", "--objective", "embedding-norm"), "is for another family of models"),
    ],
)
def test_what_cannot_be_acted_on_is_one_line_and_exit_code_2(invoke, llama, pairs_csv, args, line):
    result = invoke("eval", pairs_csv, "-m", llama, "-q", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert line in result.stderr and result.stderr.count("\n") == 1
    assert not Path("reports").exists()


def test_an_interrupt_says_that_what_is_scored_is_kept(invoke, llama, pairs_csv, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("actsim.studies.several.evaluate_together", interrupted)
    result = invoke("eval", pairs_csv, "-m", llama, "-q", *TWO, *FEW)
    told = "actsim: interrupted; what is scored is kept, and the same command goes on with it.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", told)
