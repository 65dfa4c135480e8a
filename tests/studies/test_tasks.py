"""Runs over tasks: what is kept is not asked again, accuracies and differences follow from the answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_tasks
from scipy.stats import binomtest

from actsim.errors import ResumeError, UsageError
from actsim.integrations import lm_eval as integration
from actsim.studies.task_summary import Intervals, open_against
from actsim.studies.tasks import load_tasks, request_tasks, run_tasks

pytest.importorskip("lm_eval")

NAMES = ("boolq", "piqa", "mmlu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    many = [{**tiny_tasks.PIQA[row % 3], "goal": f"Mend kite {row}.", "label": row % 2} for row in range(30)]
    return tiny_tasks.data_dir(tmp_path_factory.mktemp("tasks"), piqa__validation=many)


@pytest.fixture(scope="module")
def tasks(folder):
    return load_tasks(NAMES, shots=0, data_dir=folder)


@pytest.fixture(scope="module")
def models():
    return tiny_tasks.loaded(0), tiny_tasks.loaded(1)


@pytest.fixture(scope="module")
def run(tasks, models, tmp_path_factory):
    return run_tasks(request_tasks(tasks, models[0]), out=tmp_path_factory.mktemp("runs") / "first")


def answers_of(run, task: str) -> dict[str, np.ndarray]:
    rows = [row for row in run.table.to_pylist() if row["task"] == task]
    assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
    return {metric: np.array([row[metric] for row in rows]) for metric in ("acc", "acc_norm")}


def test_accuracies_are_means_of_the_answers(run):
    rows = {(row["task"], row["metric"]): row for row in run.summary["scores"]}
    assert list(rows) == [("boolq", "acc"), ("piqa", "acc"), ("piqa", "acc_norm"), ("mmlu", "acc")]
    for (task, metric), row in rows.items():
        right = answers_of(run, task)[metric]
        assert (row["n"], row["value"]) == (len(right), right.mean())
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert [rows[task, "acc"]["chance"] for task in NAMES] == [0.5, 0.5, 0.25]


def test_the_summary_says_which_rows_were_asked(run, tasks):
    said = {task["name"]: task for task in run.summary["tasks"]}
    for questions in tasks:
        own = said[questions.task]
        assert own["fingerprint"] == questions.fingerprint()
        assert (own["n"], own["of"], own["shots"]) == (len(questions), questions.of, 0)
        assert own["harness_task"] == f"actsim_{questions.task}"
        assert len(own["source"]["sha256"]) == 64


def test_a_finished_run_asks_nothing(run, tasks, models, monkeypatch):
    monkeypatch.setattr(integration, "answers", None)
    again = run_tasks(request_tasks(tasks, models[0]), out=run.directory)
    assert again.table.equals(run.table)
    assert again.summary == run.summary


def test_an_interrupted_run_goes_on_with_the_task_that_is_missing(run, tasks, models, tmp_path, monkeypatch):
    asked: list[str] = []
    told: list[tuple[int, int]] = []
    answers = integration.answers

    def interrupted(questions, *args, **extra):
        if questions.task == "mmlu" and asked == ["boolq", "piqa"]:
            raise KeyboardInterrupt
        asked.append(questions.task)
        return answers(questions, *args, **extra)

    monkeypatch.setattr(integration, "answers", interrupted)
    request = request_tasks(tasks, models[0])
    with pytest.raises(KeyboardInterrupt):
        run_tasks(request, out=tmp_path / "run")
    asked.append("interrupted")
    finished = run_tasks(request, out=tmp_path / "run", progress=lambda *state: told.append(state))
    assert asked == ["boolq", "piqa", "interrupted", "mmlu"]
    total = sum(questions.n_choices for questions in tasks)
    assert (told[0], told[-1]) == ((total - tasks[2].n_choices, total), (total, total))
    assert finished.table.drop(["loglikelihoods"]).equals(run.table.drop(["loglikelihoods"]))


def test_other_rows_or_another_model_do_not_go_on_with_a_run(run, folder, tasks, models):
    fewer = load_tasks(NAMES, shots=0, limit=2, data_dir=folder)
    for request, says in (
        (request_tasks(fewer, models[0]), r"tasks\.boolq\.fingerprint"),
        (request_tasks(tasks, models[1]), r"model\.name"),
    ):
        with pytest.raises(ResumeError, match=says):
            run_tasks(request, out=run.directory)


def test_two_runs_are_compared_question_by_question(run, folder, models, tmp_path):
    tasks = load_tasks(("piqa", "siqa"), shots=0, data_dir=folder)
    intervals = Intervals(level=0.9, resamples=500, seed=5)
    request = request_tasks(tasks, models[1], intervals, open_against(run.directory, tasks))
    other = run_tasks(request, out=tmp_path / "run")
    against = other.summary["against"]
    assert (against["model"]["name"], against["digest"]) == ("tiny-0", run.manifest["digest"])
    assert against["left_out"] == ["siqa"]
    assert [row["metric"] for row in against["differences"]] == ["acc", "acc_norm"]
    ours, theirs = answers_of(other, "piqa"), answers_of(run, "piqa")
    for row in against["differences"]:
        right, before = ours[row["metric"]], theirs[row["metric"]]
        only, missed = int((right > before).sum()), int((right < before).sum())
        assert (row["only_this"], row["only_against"]) == (only, missed)
        assert row["difference"] == pytest.approx(right.mean() - before.mean())
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert row["p"] == pytest.approx(binomtest(only, only + missed).pvalue if only + missed else 1)
        assert row["p"] <= row["p_holm"] <= min(1, 2 * row["p"])
    assert any(row["only_this"] + row["only_against"] for row in against["differences"])
    lines = (other.directory / "against.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(against["differences"])
    assert json.loads((other.directory / "summary.json").read_text(encoding="utf-8")) == other.summary


def test_a_run_on_other_questions_is_no_comparison(run, folder, tasks, models):
    for names, extra, says in (
        (("siqa",), {}, "it has boolq, piqa, mmlu, and none of siqa"),
        (("piqa",), {"limit": 4}, r"its questions of piqa are others \(30 of 30 rows.*; here 4 of 30"),
    ):
        with pytest.raises(UsageError, match=says):
            open_against(run.directory, load_tasks(names, shots=0, data_dir=folder, **extra))
    with pytest.raises(UsageError, match="this very model"):
        request_tasks(tasks, models[0], against=open_against(run.directory, tasks))
