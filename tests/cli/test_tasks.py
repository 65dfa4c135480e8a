"""``actsim tasks``: a table, JSON, a comparison, what is refused."""

from __future__ import annotations

import json
import re

import pytest
import tiny_tasks

from actsim.errors import DataError, UsageError
from actsim.integrations import lm_eval as integration

pytest.importorskip("lm_eval")

USAGE, FAILURE = UsageError.exit_code, DataError.exit_code


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_tasks.data_dir(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [tiny_tasks.save(folder / f"tiny-{seed}", seed) for seed in (0, 1)]


def test_the_table_gives_every_task_and_where_the_run_is(invoke, data, models, own_directory):
    result = invoke("tasks", "-m", models[0], "--task", "boolq", "--task", "hellaswag", "--data-dir", data)
    assert result.exit_code == 0
    assert re.findall(r"^(\w+) +3 of 3 +0 +(acc\w*) +\d\.\d{3}", result.stdout, re.MULTILINE) == [
        ("boolq", "acc"),
        ("hellaswag", "acc"),
        ("hellaswag", "acc_norm"),
    ]
    assert "actsim_hellaswag" in result.stdout
    assert "task: boolq, validation: 3 of 3 rows, 0 shots" in result.stderr
    (run,) = (own_directory / "reports").iterdir()
    refused = invoke("report", run)
    assert (
        refused.exit_code == USAGE and "tables but no report; eval, density, domains, study have one" in refused.stderr
    )
    assert f"reports/{run.name}" in result.stdout
    assert {path.name for path in run.iterdir()} >= {"manifest.json", "summary.json", "tasks.csv", "parts"}


def test_a_comparison_stands_in_the_json_and_below_the_table(invoke, data, models):
    same = ("--task", "piqa", "--task", "siqa", "--limit", 2, "--shots", 1, "--data-dir", data, "-q")
    assert invoke("tasks", "-m", models[0], *same, "--out", "first").exit_code == 0
    second = ("tasks", "-m", models[1], *same, "--out", "second", "--against", "first", "--resamples", 50)
    document = json.loads(invoke(*second, "--json").stdout)
    assert [(row["task"], row["n"]) for row in document["against"]["differences"]] == [
        ("piqa", 2),
        ("piqa", 2),
        ("siqa", 2),
    ]
    assert [task["shots"] for task in document["tasks"]] == [1, 1]
    table = invoke(*second).stdout
    assert "against tiny-0" in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        (("--against", "absent"), USAGE, "absent: no such directory"),
        (("--shots", 9), FAILURE, "9 solved examples wanted, 3 available"),
    ],
)
def test_what_cannot_work_is_said_before_the_model_is_looked_for(invoke, data, changed, status, says):
    result = invoke("tasks", "-m", "no/such/folder", "--task", "boolq", "--data-dir", data, *changed, "-q")
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_an_encoder_is_refused(invoke, data, bert):
    result = invoke("tasks", "-m", bert, "--task", "boolq", "--data-dir", data, "-q")
    assert (result.exit_code, result.stderr.count("\n")) == (FAILURE, 1)
    assert "was loaded as encoder; tasks need the log-likelihoods of a causal language model" in result.stderr


def test_the_missing_package_is_named_before_anything_is_read(invoke, monkeypatch):
    monkeypatch.setattr(integration.importlib.util, "find_spec", lambda name: None)
    result = invoke("tasks", "-m", "llama", "--task", "boolq", "--data-dir", "absent")
    assert (result.exit_code, result.stderr) == (
        FAILURE,
        "actsim: error: actsim tasks needs lm-eval, which is not installed; run: pip install 'actsim[lm-eval]'\n",
    )
