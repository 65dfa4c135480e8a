"""``actsim list``: everything that has a name is listed, with what it is."""

from __future__ import annotations

import json

import pytest

from actsim.config import MEASURES, PATTERNS, TEMPLATES
from actsim.core.objectives import OBJECTIVES
from actsim.data.benchmarks import BENCHMARKS
from actsim.data.corpora import CORPORA
from actsim_cli.listing import KINDS

NAMES = {
    "datasets": list(BENCHMARKS),
    "domains": list(CORPORA),
    "measures": list(MEASURES),
    "objectives": [name for registry in OBJECTIVES.values() for name in registry],
    "patterns": list(PATTERNS),
    "templates": list(TEMPLATES),
}


@pytest.mark.parametrize("what", NAMES)
def test_every_name_is_listed_with_a_definition(invoke, what):
    (entries,) = json.loads(invoke("list", what, "--json").stdout).values()
    assert [entry["name"] for entry in entries] == NAMES[what]
    assert all(entry["description" if what in ("datasets", "domains") else "definition"] for entry in entries)
    text = invoke("list", what).stdout
    assert all(any(line.startswith(name) for line in text.splitlines()) for name in NAMES[what])
    assert max(map(len, text.splitlines())) <= 80


def test_without_a_kind_everything_is_listed(invoke):
    assert list(json.loads(invoke("list", "--json").stdout)) == list(KINDS) == list(NAMES)
    everything = invoke("list").stdout.split()
    for what in NAMES:
        assert set(invoke("list", what).stdout.split()) <= set(everything)


def test_splits_are_listed_with_their_sizes_and_the_default(invoke):
    text = " ".join(invoke("list", "datasets").stdout.split())
    for benchmark in BENCHMARKS.values():
        for release in benchmark.releases:
            for split, rows in release.rows.items():
                assert f"{split}{' *' if split == benchmark.default_split else ''} {rows}" in text
        assert benchmark.licence in text
        if benchmark.local_folder:
            assert f"{benchmark.local_folder}/<split>.jsonl" in text


def test_the_formulas_of_patterns_follow_their_names(invoke):
    patterns = json.loads(invoke("list", "patterns", "--json").stdout)["patterns"]
    for entry in patterns:
        assert ("|" in entry["definition"]) == entry["name"].startswith("absolute")
        assert ("W ⊙" in entry["definition"]) == entry["name"].endswith("weighted")


@pytest.mark.parametrize("what", ["measures", "objectives", "patterns", "templates"])
def test_the_default_is_marked(invoke, what):
    (entries,) = json.loads(invoke("list", what, "--json").stdout).values()
    defaults = [entry["name"] for entry in entries if entry["default"]]
    expected = [next(iter(registry)) for registry in OBJECTIVES.values()] if what == "objectives" else NAMES[what][:1]
    assert defaults == expected
    assert all(f"{name} *" in invoke("list", what).stdout for name in defaults)


def test_templates_are_shown_with_a_sentence_in_them(invoke):
    for entry in json.loads(invoke("list", "templates", "--json").stdout)["templates"]:
        before, *after = entry["definition"].split("{text}")
        assert after and entry["example"].startswith(before) and "{text}" not in entry["example"]
        assert entry["example"].count("A dog sleeps.") == len(after)


@pytest.mark.parametrize("name", CORPORA)
def test_a_domain_is_shown_with_its_splits_and_a_prompt(invoke, name):
    corpus = CORPORA[name]
    (entry,) = json.loads(invoke("list", "domains", name, "--json").stdout)["domains"]
    text = invoke("list", "domains", name).stdout
    assert corpus.licence in " ".join(text.split())
    for split, rows in corpus.splits.items():
        assert f"{split}{' *' if split == corpus.default_split else ''}{f' {rows}' if rows else ''}" in text
    if corpus.packed:
        assert entry["example"] is None
    else:
        assert " ".join(text.split()).endswith(" ".join(entry["example"].split()))
    if corpus.form is not None:
        assert entry["example"] == corpus.form.prompt(corpus.form.example)


def test_one_name_is_listed_alone_and_an_unknown_one_is_answered_with_a_suggestion(invoke):
    (entry,) = json.loads(invoke("list", "measures", "ruzicka", "--json").stdout)["measures"]
    assert entry["name"] == "ruzicka"
    result = invoke("list", "domains", "bolq")
    assert result.exit_code == 2 and "unknown domain 'bolq'" in result.stderr and "'boolq'" in result.stderr
