"""Help texts: complete, at most 80 columns wide, and shown without importing anything large."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys

import click
import pytest

import actsim as library
from actsim.config import MEASURES, PATTERNS, Scoring
from actsim.data.benchmarks import BENCHMARKS
from actsim_cli.main import actsim

COMMANDS = list(actsim.commands)
LARGE = (
    "torch",
    "transformers",
    "datasets",
    "huggingface_hub",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "rich",
    "matplotlib",
)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_stays_within_80_columns_and_ends_with_examples(invoke, command, option):
    result = invoke(*command, option)
    assert (result.exit_code, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    examples = result.stdout.partition("Examples:")[2].split("\n\n")[0].strip().splitlines()
    assert examples
    assert all(line.split()[0] == "actsim" for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_and_explains_every_option(invoke, name):
    text = invoke(name, "--help").stdout
    for parameter in actsim.commands[name].params:
        if isinstance(parameter, click.Option):
            assert all(spelling in text for spelling in parameter.opts)
            assert parameter.help
    assert "\u2011" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_accepted_by_the_parser(invoke, name):
    text = invoke(name, "--help").stdout.partition("Examples:")[2]
    for line in text.strip().splitlines():
        words = shlex.split(line)
        assert words[:2] == ["actsim", name]
        context = actsim.commands[name].make_context(name, words[2:], resilient_parsing=False)
        assert context.params


def test_without_a_command_the_help_is_shown(invoke):
    assert invoke().stdout == invoke("--help").stdout
    assert all(name in invoke().stdout for name in COMMANDS)


def test_version(invoke):
    assert invoke("--version").stdout == f"actsim {library.__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["eval", "--help"], ["score", "-h"], ["info", "-h"], ["list", "-h"]])
def test_help_imports_nothing_large(args):
    code = (
        "import json, sys\n"
        "from actsim_cli.main import actsim\n"
        "try:\n"
        f"    actsim.main({args!r})\n"
        "finally:\n"
        "    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stderr))
    assert "actsim_cli.main" in imported
    assert imported.isdisjoint(LARGE)
    assert done.stdout.startswith("Usage: actsim")


OWN_MEANING = {
    "compare": {"-m", "--model", "--measure", "--layers", "--out", "--no-text"},
    "domains": {"--max-tokens", "--data-dir", "--out"},
    "density": {"--gamma", "--max-tokens", "--data-dir", "--out"},
    "eval": {"--objective", "--pattern"},
    "study": {"-m", "--model", "--data-dir", "--out"},
    "tasks": {"-m", "--model", "--shots", "--limit", "--data-dir", "--out"},
    "ppl": {"-m", "--model", "--data-dir"},
    "prune": {"--gamma", "--samples", "--data-dir", "--out"},
}
"""Options that a command takes in a way of its own: several models, objectives, patterns or thresholds, one measure,
the length of samples, the place of corpora, the directory of a comparison."""


def test_an_option_of_several_commands_is_the_same_in_all_of_them():
    seen: dict[str, tuple] = {}
    own: list[tuple[str, tuple]] = []
    for name, command in actsim.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                facts = (parameter.name, parameter.help, repr(parameter.type), parameter.default, parameter.multiple)
                for spelling in parameter.opts:
                    if spelling in OWN_MEANING.get(name, ()):
                        own.append((spelling, facts))
                    else:
                        assert seen.setdefault(spelling, facts) == facts
    assert len(own) == sum(map(len, OWN_MEANING.values()))
    assert all(seen[spelling] != facts for spelling, facts in own)


def test_defaults_are_those_of_the_library():
    from actsim.studies.evaluate import Statistics

    defaults = {parameter.name: parameter.default for parameter in actsim.commands["eval"].params}
    scoring = Scoring("")
    for field in dataclasses.fields(Statistics):
        if field.name != "select_on":
            assert defaults[field.name] == field.default
    assert tuple(defaults["patterns"]) == (scoring.pattern,)
    assert tuple(defaults["measures"]) == scoring.measures
    assert defaults["batch_tokens"] == scoring.batch_tokens


def test_help_names_everything_that_the_library_accepts(invoke):
    from actsim.models.settings import DTYPES, FAMILIES

    text = " ".join(invoke("eval", "--help").stdout.split())
    for name in (*MEASURES, *PATTERNS, *DTYPES, *FAMILIES, *BENCHMARKS):
        assert name in text
