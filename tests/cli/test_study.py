"""``actsim study``: its cells are those of prune and ppl, its figures follow from them, and a kill costs one cell."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import tiny_models
import tiny_tasks
import torch

from actsim.store.answers import open_tasks
from actsim.store.cells import CellValues, open_study
from actsim.studies import grid
from actsim.studies.study_file import read_study, shipped_studies
from actsim.studies.task_summary import answers_by_task, metrics_of

TEXT = "\n".join(tiny_models.SENTENCES * 4)
STUDY = """
scores: [wanda, magnitude]
allocations: [uniform, {name: progression, delta: 0.2}]
sparsities: [0.5]
calibrations: ["notes=notes.txt"]
samples: 4
seq_len: 12
seeds: [0, 1, 2]
perplexity: [{data: notes.txt, context: 16}]
"""
MANY_SEEDS = STUDY.replace("[0, 1, 2]", str(list(range(8))))
TABLES = ("figures.csv", "differences.csv", "plans.csv")


@pytest.fixture
def study(own_directory):
    (own_directory / "notes.txt").write_text(TEXT, encoding="utf-8")
    (own_directory / "study.yaml").write_text(STUDY, encoding="utf-8")
    return own_directory


def summary_of(invoke, llama, *more):
    result = invoke("study", "study.yaml", "-m", llama, "--out", "run", "--json", *more)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_what_no_calibration_touches_is_one_cell(invoke, llama, study):
    found = summary_of(invoke, llama)
    seeds = {(row["score"], row["allocation"]): row["seeds"] for row in found["figures"]}
    progression = "progression (delta 0.2)"
    assert seeds == {
        ("wanda", "uniform"): 3,
        ("wanda", progression): 3,
        ("magnitude", "uniform"): 1,
        ("magnitude", progression): 1,
    }


def test_a_cell_is_what_prune_and_ppl_give(invoke, llama, study):
    summary_of(invoke, llama)
    run = open_study(study / "run")
    cells = run.manifest["config"]["cells"]
    number = 1 + next(i for i, cell in enumerate(cells) if (cell["score"], cell["seed"]) == ("wanda", 2))
    assert cells[number - 1]["allocation"] == "uniform"
    calibration = ["--calibration", "notes=notes.txt", "--samples", 4, "--seq-len", 12, "--seed", 2]
    pruned = invoke("prune", "-m", llama, *calibration, "--out", "pruned", "--json")
    measured = invoke("ppl", "-m", study / "pruned", "--data", "notes.txt", "--context", 16, "--json")
    values = CellValues(run.table)
    windows = json.loads(measured.stdout)["window_nll"]
    assert values.of(number, "nll:notes.txt") == pytest.approx(windows, rel=1e-6)
    achieved = [block["achieved"] for block in json.loads(pruned.stdout)["blocks"]]
    assert values.of(number, "achieved").tolist() == achieved
    assert values.of(0, "achieved").max() == 0


def test_figures_are_means_over_seeds_and_differences_are_paired(invoke, llama, study):
    found = summary_of(invoke, llama)
    run = open_study(study / "run")
    values, cells = CellValues(run.table), run.manifest["config"]["cells"]

    def levels(allocation):
        return np.array(
            [
                values.of(number, "nll:notes.txt").mean()
                for number, cell in enumerate(cells, start=1)
                if cell["score"] == "wanda" and cell["allocation"].startswith(allocation)
            ]
        )

    uniform, progression = levels("uniform"), levels("progression")
    row = next(r for r in found["figures"] if (r["score"], r["allocation"]) == ("wanda", "uniform"))
    assert row["value"] == pytest.approx(scipy.stats.gmean(np.exp(uniform)))
    interval = np.exp(scipy.stats.t.interval(0.95, 2, uniform.mean(), scipy.stats.sem(uniform)))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval)
    (difference,) = [r for r in found["differences"] if r["score"] == "wanda"]
    assert difference["against"] == "uniform"
    change = progression - uniform
    assert difference["difference"] == pytest.approx(100 * math.expm1(change.mean()))
    assert difference["p"] == pytest.approx(scipy.stats.ttest_rel(progression, uniform).pvalue)
    assert difference["items_low"] <= difference["difference"] <= difference["items_high"]


def test_an_interruption_loses_the_cell_that_was_made_and_no_other(invoke, llama, study, monkeypatch):
    whole = summary_of(invoke, llama)
    prune, made = grid.prune, []

    def fail_at_the_fourth(request, allocation):
        made.append(request.recipe.score)
        if len(made) == 4:
            raise KeyboardInterrupt
        return prune(request, allocation)

    monkeypatch.setattr(grid, "prune", fail_at_the_fourth)
    result = invoke("study", "study.yaml", "-m", llama, "--out", "cut", "-q")
    told = "actsim: interrupted; the run is kept in cut, and the same command goes on with it.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", told)
    result = invoke("study", "study.yaml", "-m", llama, "--out", "cut", "--json")
    assert result.exit_code == 0, result.stderr
    n_cells = len(open_study(study / "cut").manifest["config"]["cells"])
    assert len(made) == n_cells + 1
    assert json.loads(result.stdout) == whole


def test_a_killed_study_keeps_every_finished_cell_and_ends_with_identical_bytes(invoke, llama, study):
    (study / "study.yaml").write_text(MANY_SEEDS, encoding="utf-8")
    args = ("study", "study.yaml", "-m", llama, "--threads", torch.get_num_threads(), "-q", "--out")
    assert invoke(*args, "whole").exit_code == 0
    kill_after_a_cell(*args, "cut")
    kept = contents("cut/parts")
    n_cells = json.loads(Path("cut/manifest.json").read_text())["n_parts"]
    assert 0 < len(kept) < n_cells
    assert not any(Path("cut", name).exists() for name in TABLES)
    assert invoke(*args, "cut").exit_code == 0
    finished = contents("cut/parts")
    assert kept == {path: finished[path] for path in kept}
    assert len(finished) == n_cells
    for name in TABLES:
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes()


def kill_after_a_cell(*args):
    """Run a command line in a process of its own, and kill that once it has stored a cell."""
    code = "from actsim_cli.main import run; run()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not any(Path(args[-1], "parts").glob("part-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()


def contents(folder):
    """What every part holds, and when it was written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).glob("part-*")}


def test_a_finished_study_is_summed_up_again_without_pruning(invoke, llama, study, monkeypatch):
    summary_of(invoke, llama)
    monkeypatch.setattr(grid, "prune", None)
    assert summary_of(invoke, llama, "--level", 0.5)["level"] == 0.5


def test_an_encoder_is_measured_by_its_own_embeddings(invoke, own_directory):
    (own_directory / "notes.txt").write_text(TEXT, encoding="utf-8")
    text = """
        sparsities: [0.9]
        calibrations: ["notes=notes.txt"]
        samples: 2
        seq_len: 16
        pairs: [{data: sample, limit: 12}]
    """
    (own_directory / "study.yaml").write_text(text, encoding="utf-8")
    result = invoke("study", "study.yaml", "--out", "run", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    own = invoke("eval", "sample", "--limit", 12, "--out", "eval", "--no-report", "--resamples", 5, "--json")
    published = next(row for row in json.loads(own.stdout)["baselines"] if row["name"] == "embedding")
    assert found["dense"][0]["value"] == pytest.approx(100 * published["spearman"])
    assert found["figures"][0]["value"] < found["dense"][0]["value"]


def test_tasks_are_answered_as_by_the_command_for_tasks(invoke, own_directory):
    pytest.importorskip("lm_eval")
    tiny_tasks.data_dir(own_directory / "data")
    model = tiny_tasks.save(own_directory / "dense", seed=1)
    text = """
        scores: [magnitude]
        sparsities: [0.9]
        tasks: [{name: hellaswag, limit: 2}, {name: siqa, shots: 1}, piqa]
    """
    (own_directory / "study.yaml").write_text(text, encoding="utf-8")
    result = invoke("study", "study.yaml", "-m", model, "--data-dir", "data", "--out", "run", "--json")
    assert result.exit_code == 0, result.stderr
    pruned = invoke("prune", "-m", model, "--score", "magnitude", "--sparsity", 0.9, "--out", "pruned")
    assert pruned.exit_code == 0, pruned.stderr
    found, values = json.loads(result.stdout), CellValues(open_study("run").table)
    right = []
    for cell, folder, rows in ((0, "dense", found["dense"]), (1, "pruned", found["figures"])):
        shown = {row["measure"]: row["value"] for row in rows}
        for task, options in (("hellaswag", ("--limit", 2)), ("siqa", ("--shots", 1)), ("piqa", ())):
            out = f"{folder}-{task}"
            asked = invoke("tasks", "-m", folder, "--task", task, *options, "--data-dir", "data", "--out", out)
            assert asked.exit_code == 0, asked.stderr
            answers = answers_by_task(open_tasks(out).table)[task]
            for metric in metrics_of(task):
                name = f"{metric}:{task}"
                assert values.of(cell, name).tolist() == answers[metric].tolist()
                assert shown.pop(name) == pytest.approx(100 * answers[metric].mean())
                right += answers[metric].tolist()
        assert not shown
    assert set(right) == {True, False}
    assert right[: len(right) // 2] != right[len(right) // 2 :], "no answer changed, another seed shows more"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("sparsities: [0.5]", "sparsites: [0.5]"), "Did you mean 'sparsities'"),
        (("[0.5]", "[1.5]"), "--sparsity must be between 0 and 1, got 1.5"),
        (("[wanda, magnitude]", "[wand]"), "unknown score 'wand'"),
        (("delta: 0.2", "beta: 0.2"), "unknown setting of progression 'beta'"),
        (
            ("{name: progression, delta: 0.2}", "{name: owl}, {name: uniform, beta: 1}"),
            "uniform has no settings, got beta",
        ),
        (("[0, 1, 2]", "[0, 0]"), "the seed 0 is given twice"),
        (("[0, 1, 2]", "[]"), "seeds: []; it has to be a list with at least one entry"),
        (("perplexity", "pairs"), "unknown key of pairs 'context'"),
        (("perplexity: [{data: notes.txt, context: 16}]", ""), "nothing to measure"),
        (("context: 16", "context: many"), "perplexity: context: 'many'; it has to be a whole number"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_with_its_name(invoke, llama, study, change, said):
    (study / "study.yaml").write_text(STUDY.replace(*change), encoding="utf-8")
    result = invoke("study", "study.yaml", "-m", llama)
    assert result.exit_code == 2
    assert result.stderr.startswith("actsim: error: study.yaml: ")
    assert said in result.stderr
    assert not (study / "reports").exists()


def test_what_is_not_yaml_is_a_failure(invoke, study):
    (study / "study.yaml").write_text("scores: [", encoding="utf-8")
    result = invoke("study", "study.yaml")
    assert result.exit_code == 1
    assert "not YAML" in result.stderr


def test_the_studies_that_come_with_actsim_can_be_read():
    assert {name: len(read_study(name).cells()) for name in shipped_studies()} == {"paper": 244, "quick": 15}


def test_the_table_says_which_allocation_is_better(invoke, llama, study):
    result = invoke("study", "study.yaml", "-m", llama, "--out", "run")
    assert result.exit_code == 0, result.stderr
    assert "paired differences, in % of the perplexity" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    verdicts = {row["verdict"] for row in open_study(study / "run").summary["differences"]}
    assert verdicts <= {"better", "worse", "open"}
    assert all(verdict in result.stdout for verdict in verdicts)


NAMES = ("first", "second", "third", "fourth", "fifth")


@pytest.fixture
def five_domains(own_directory):
    """Five texts, each of them calibration and measured text, and their files."""
    for shift, name in enumerate(NAMES):
        turned = tiny_models.SENTENCES[shift:] + tiny_models.SENTENCES[:shift]
        (own_directory / f"{name}.txt").write_text("\n".join(turned * 4), encoding="utf-8")
    calibrations = ", ".join(f'"{name}={name}.txt"' for name in NAMES)
    texts = ", ".join(f'{{data: "{name}={name}.txt", context: 16}}' for name in NAMES)
    content = f"calibrations: [{calibrations}]\nsamples: 4\nseq_len: 12\nseeds: [0, 1]\nperplexity: [{texts}]\n"
    (own_directory / "study.yaml").write_text(content, encoding="utf-8")
    return own_directory


def domains_of(invoke, model):
    chosen = [part for name in NAMES for part in ("--domain", f"{name}={name}.txt")]
    settings = ("--samples", 4, "--max-tokens", 12, "--resamples", 20, "--permutations", 20, "--no-report")
    result = invoke("domains", "-m", model, *chosen, *settings, "--out", "similar")
    assert result.exit_code == 0, result.stderr


def test_calibrations_and_texts_are_set_against_a_run_over_domains(invoke, llama, five_domains, monkeypatch):
    domains_of(invoke, llama)
    first = summary_of(invoke, llama, "--no-report")
    assert first["transfer"] == [] and not (five_domains / "run" / "report.md").exists()
    monkeypatch.setattr(grid, "prune", lambda *_: pytest.fail("a finished study is only summed up again"))
    found = summary_of(invoke, llama, "--similarity", "similar", "--permutations", 200)
    by_kind = {(row["similarity"], row["removed"]): row for row in found["transfer"]}
    row = by_kind["activation", "both"]
    assert (row["domains"], row["cells"], row["permutations"], row["exact"]) == (5, 20, 120, True)
    assert found["similarity"]["objective"] == "next-token"
    assert len(found["notes"]) == 5  # every text is measured where it was calibrated
    files = {path.name for path in (five_domains / "run").iterdir()}
    assert {"report.html", "report.md", "transfer.csv", "matrix.svg", "plans.svg", "results.svg"} <= files
    before = (five_domains / "run" / "report.md").read_bytes()
    result = invoke("report", "run", "--out", "elsewhere")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (five_domains / "elsewhere").iterdir()} == files - {
        "manifest.json",
        "summary.json",
        "parts",
        ".lock",
    }
    assert before.startswith(b"# Pruning study")


def test_a_run_of_another_model_or_of_other_domains_is_refused_before_anything_is_pruned(
    invoke, llama, bert, five_domains
):
    domains_of(invoke, bert)
    result = invoke("study", "study.yaml", "-m", llama, "--out", "run", "--similarity", "similar")
    assert result.exit_code == 2 and "give a run of this model" in result.stderr
    assert not (five_domains / "run").exists()
    result = invoke("study", "study.yaml", "-m", llama, "--out", "run", "--similarity", "nowhere")
    assert result.exit_code == 2 and "nowhere" in result.stderr


def test_a_file_that_is_not_there_is_said_to_be_missing(invoke, own_directory):
    result = invoke("study", "nothing.yaml")
    assert result.exit_code == 2 and "nothing.yaml: no such file" in result.stderr
