"""What the options alone show to be wrong is refused before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "datasets", "mteb", "lm_eval", "matplotlib", "scipy", "pandas", "sklearn")

PROGRAM = f"""
import json, sys

class Refusing:
    def find_spec(self, name, *_):
        if name in {HEAVY!r}:
            raise AssertionError(f"{{name}} is imported")

sys.meta_path.insert(0, Refusing())
from click.testing import CliRunner
from actsim_cli.main import actsim

answers = [CliRunner().invoke(actsim, line) for line in json.load(sys.stdin)]
print(json.dumps([(answer.exit_code, answer.stdout, answer.stderr or repr(answer.exception)) for answer in answers]))
"""
"""Answers the command lines on stdin in a process in which what is heavy cannot be imported."""

DOMAINS = ("domains", "--domain", "boolq", "--domain", "c4")
DENSITY = ("density", "--domain", "boolq")
TASKS = ("tasks", "-m", "llama", "--task", "boolq")
COMPARE = ("compare", "-m", "one", "-m", "another", "--dataset", "sts-b")

WRONG = {
    "eval: a family": (["eval", "sample", "--family", "decoder"], "unknown family 'decoder'"),
    "eval: a device": (["eval", "sample", "--device", "tpu"], "unknown device 'tpu'"),
    "eval: a type": (["eval", "sample", "--dtype", "int8"], "unknown dtype 'int8'"),
    "eval: a layout": (["eval", "sample", "--device-map", "evenly"], "known: auto, sequential"),
    "eval: a layout and a device": (
        ["eval", "sample", "--device", "cpu", "--device-map", "auto"],
        "exclude each other",
    ),
    "eval: an objective": (["eval", "sample", "--objective", "nil"], "Did you mean 'nll'?"),
    "eval: the second objective": (
        ["eval", "sample", "--objective", "nll", "--objective", "nil"],
        "Did you mean 'nll'?",
    ),
    "eval: a pattern": (["eval", "sample", "--pattern", "absolute"], "unknown pattern 'absolute'"),
    "eval: a measure": (["eval", "sample", "--measure", "cosin"], "Did you mean 'cosine'?"),
    "eval: a template": (["eval", "sample", "--template", "ecco"], "Did you mean 'echo'?"),
    "eval: a control": (["eval", "sample", "--control", "random"], "Did you mean 'random-weights'?"),
    "eval: a control twice": (["eval", "sample", *("--control", "random-weights") * 2], "given twice"),
    "eval: a level": (["eval", "sample", "--level", "nan"], "--level"),
    "eval: a threshold": (["eval", "sample", "--measure", "jaccard", "--gamma", "nan"], "--gamma"),
    "eval: a data set": (["eval", "stsb"], "Did you mean 'sts-b'?"),
    "eval: a split": (["eval", "sample", "--split", "dev"], "unknown split of sample 'dev'"),
    "eval: a revision": (["eval", ".", "--revision", "main"], "is a folder"),
    "score: an objective": (["score", "a", "b", "--objective", "nil"], "Did you mean 'nll'?"),
    "score: a type": (["score", "a", "b", "--dtype", "int8"], "unknown dtype 'int8'"),
    "score: shares of what is signed": (
        ["score", "a", "b", "--explain", "--pattern", "signed-weighted"],
        "shares of the common activation are",
    ),
    "info: an objective": (["info", "--objective", "nil"], "Did you mean 'nll'?"),
    "info: a device": (["info", "--device", "tpu"], "unknown device 'tpu'"),
    "info: no model": (["info", " "], "the model's name is empty"),
    "info: a revision of a folder": (["info", ".", "--revision", "main"], "is a local folder"),
    "density: no domain": (["density"], "no domain given"),
    "density: a domain": (["density", "--domain", "bolq"], "Did you mean 'boolq'?"),
    "density: a domain twice": ([*DENSITY, "--domain", "boolq"], "given twice"),
    "density: a split": (["density", "--domain", "boolq:dev"], "unknown split of boolq 'dev'"),
    "density: a signed pattern": ([*DENSITY, "--pattern", "signed-weighted"], "a density is of absolute patterns"),
    "density: more folds than samples": (
        [*DENSITY, "--samples", "4", "--folds", "5"],
        "--folds 5: 4 samples can be",
    ),
    "density: a threshold": ([*DENSITY, "--gamma", "-1"], "'--gamma': -1.0 is not in the range"),
    "density: a level": ([*DENSITY, "--level", "nan"], "--level"),
    "density: endless memory": ([*DENSITY, "--memory", "inf"], "--memory"),
    "density: an objective": ([*DENSITY, "--objective", "nil"], "Did you mean 'nll'?"),
    "density: a type": ([*DENSITY, "--dtype", "int8"], "unknown dtype 'int8'"),
    "domains: one domain": (["domains", "--domain", "boolq"], "at least twice"),
    "domains: samples without a partner": ([*DOMAINS, "--samples", "5"], "--samples 5: samples of a domain go in twos"),
    "domains: a signed pattern": ([*DOMAINS, "--pattern", "signed"], "unknown pattern 'signed'"),
    "domains: a band": ([*DOMAINS, "--layers", "upper"], "'upper' is neither a layer"),
    "domains: a family": ([*DOMAINS, "--family", "decoder"], "unknown family 'decoder'"),
    "domains: shots where nothing is asked": (
        ["domains", "--domain", "c4", "--domain", "wikitext2", "--shots", "2"],
        "none of c4, wikitext2 asks questions",
    ),
    "prune: a score": (["prune", "--score", "wand"], "Did you mean 'wanda'?"),
    "prune: an allocation": (["prune", "--allocation", "owls"], "Did you mean 'owl'?"),
    "prune: a sparsity": (["prune", "--sparsity", "nan"], "--sparsity"),
    "prune: a weight": (["prune", "--allocation", "activation", "--alpha", "inf"], "--alpha must be a finite number"),
    "prune: an objective": (["prune", "--score", "activation", "--objective", "nil"], "Did you mean 'nll'?"),
    "prune: texts": (["prune", "--calibration", "c5"], "Did you mean 'c4'?"),
    "prune: a type": (["prune", "--dtype", "int8"], "unknown dtype 'int8'"),
    "ppl: a text": (["ppl", "-m", "llama", "--data", "wikitext"], "Did you mean 'wikitext2'?"),
    "ppl: a split": (["ppl", "-m", "llama", "--data", "wikitext2:dev"], "unknown split of wikitext2 'dev'"),
    "ppl: a type": (["ppl", "-m", "llama", "--dtype", "int8"], "unknown dtype 'int8'"),
    "study: a name": (["study", "quik"], "Did you mean 'quick'?"),
    "study: a level": (["study", "quick", "--level", "nan"], "--level"),
    "study: an intervals' seed": (["study", "quick", "--seed", "-1"], "--seed"),
    "tasks: no task": (["tasks", "-m", "llama"], "give --task NAME at least once"),
    "tasks: a task": (["tasks", "-m", "llama", "--task", "bolq"], "Did you mean 'boolq'?"),
    "tasks: a task twice": ([*TASKS, "--task", "boolq"], "given twice"),
    "tasks: a level": ([*TASKS, "--level", "nan"], "--level"),
    "tasks: a device": ([*TASKS, "--device", "tpu"], "unknown device 'tpu'"),
    "compare: one run": (["compare", "reports/one"], "at least two runs"),
    "compare: a measure of runs": (["compare", "one", "another", "--measure", "cosin"], "Did you mean 'cosine'?"),
    "compare: a band of runs": (["compare", "one", "another", "--layers", "upper"], "'upper' is neither a layer"),
    "compare: a level of runs": (["compare", "one", "another", "--level", "nan"], "--level"),
    "compare: a data set": ([*COMPARE[:-1], "stsb"], "Did you mean 'sts-b'?"),
    "compare: a measure": ([*COMPARE, "--measure", "cosin"], "Did you mean 'cosine'?"),
    "compare: an objective": ([*COMPARE, "--objective", "nil"], "Did you mean 'nll'?"),
    "compare: a type": ([*COMPARE, "--dtype", "int8"], "unknown dtype 'int8'"),
    "report: no run": (["report", "nowhere"], "nowhere"),
    "list: an objective": (["list", "objectives", "nil"], "Did you mean 'nll'?"),
    "list: a measure": (["list", "measures", "cosin"], "Did you mean 'cosine'?"),
    "mteb: a setting": (["mteb", "--set", "kind", "run", "-t", "STSBenchmark"], "as NAME=VALUE"),
}
"""Arguments, and what the line says."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit status, stdout and stderr of every command line."""
    folder: Path = tmp_path_factory.mktemp("nothing")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([[*line, "-q"] if line[0] != "mteb" else line for line, _ in WRONG.values()]),
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
        timeout=120,
    )
    return dict(zip(WRONG, map(tuple, json.loads(result.stdout)), strict=True))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_refused_in_one_line_before_torch_is_imported(answers, name):
    status, shown, said = answers[name]
    assert WRONG[name][1] in said
    assert said.startswith("actsim: error: ")
    assert (shown, said.count("\n"), said[-1]) == ("", 1, "\n")
    assert status == 2
