"""``actsim list``: the data sets, domains, measures, read-outs, patterns and templates that have a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

import click

from actsim.config import MEASURES, OBJECTIVES, PATTERNS, SET_MEASURES, SLOT, TEMPLATES, Scoring
from actsim.data.benchmarks import BENCHMARKS, Benchmark, Release
from actsim.data.corpora import CORPORA, TEXT_COLUMN, Corpus
from actsim.data.sources import DATA_DIR_VARIABLE
from actsim.registry import unknown_name

from . import options as shared
from .display import Screen

EXAMPLE = "A dog sleeps."
SHORT_HELP = "List data sets, domains, measures, objectives, patterns, templates."
EPILOG = """\b
Examples:
  actsim list
  actsim list datasets
  actsim list domains boolq
  actsim list measures --json
"""


def datasets() -> list[dict[str, Any]]:
    """The benchmarks, with the size of every split that declares one."""
    return [_benchmark(benchmark) for benchmark in BENCHMARKS.values()]


def _benchmark(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "name": benchmark.name,
        "description": benchmark.description,
        "score_range": list(benchmark.score_range),
        "columns": {role: list(names) for role, names in benchmark.columns.items()},
        "default_split": benchmark.default_split,
        "releases": [_release(benchmark, release) for release in benchmark.releases],
        "looked_for": _looked_for(benchmark.local_folder, [str(release.hub_id) for release in benchmark.releases]),
        "licence": benchmark.licence,
        "url": benchmark.url,
    }


def _release(benchmark: Benchmark, release: Release) -> dict[str, Any]:
    return {
        "name": release.name,
        "default": release is benchmark.releases[0],
        "hub_id": release.hub_id,
        "hub_revision": release.hub_revision,
        "splits": {split: release.rows.get(split) for split in benchmark.splits},
    }


def _looked_for(local_folder: str | None, hub_ids: Sequence[str]) -> str:
    if local_folder is None:
        return "the package actsim itself"
    return (
        f"{local_folder}/<split>.jsonl (or csv, tsv, parquet) in --data-dir or {DATA_DIR_VARIABLE} where "
        f"one of them is given; else {' or '.join(hub_ids)} on the hub"
    )


def domains() -> list[dict[str, Any]]:
    """The corpora that a domain can be, with what a text of theirs is."""
    return [_domain(corpus) for corpus in CORPORA.values()]


def _domain(corpus: Corpus) -> dict[str, Any]:
    from actsim.data.domains import load_domain

    example = None
    if corpus.form is not None:
        form, example = "a zero-shot prompt a row", corpus.form.prompt(corpus.form.example)
    elif corpus.packed:
        form = "running text, laid end to end and divided"
    else:
        form, example = "a text a row", load_domain(corpus.name).texts[0]
    return {
        "name": corpus.name,
        "description": corpus.description,
        "splits": dict(corpus.splits),
        "default_split": corpus.default_split,
        "shot_split": corpus.shot_split,
        "form": form,
        "columns": [*corpus.form.columns, *corpus.form.answer_columns] if corpus.form else [TEXT_COLUMN],
        "example": example,
        "example_of": "prompt of a made-up row:" if corpus.form else "the first text:",
        "looked_for": _looked_for(corpus.local_folder, [str(corpus.hub_id)]),
        "hub_id": corpus.hub_id,
        "hub_revision": corpus.hub_revision,
        "licence": corpus.licence,
        "url": corpus.url,
    }


def measures() -> list[dict[str, Any]]:
    """The measures of two patterns with their formulas."""
    from actsim.core.measures import MEASURES as functions

    return [
        {
            "name": name,
            "default": name == MEASURES[0],
            "compares": "activated sets" if name in SET_MEASURES else "patterns",
            "definition": _first_paragraph(functions[name]),
        }
        for name in MEASURES
    ]


def objectives() -> list[dict[str, Any]]:
    """The read-outs D by model family with their formulas."""
    from actsim.core.objectives import OBJECTIVES as functions

    return [
        {
            "name": name,
            "default": position == 0,
            "family": family,
            "definition": _first_paragraph(registry.get(name)),
        }
        for family, registry in functions.items()
        for position, name in enumerate(registry)
    ]


def patterns() -> list[dict[str, Any]]:
    """The forms of a pattern with their formulas."""
    return [
        {"name": name, "default": name == PATTERNS[0], "definition": _formula(Scoring("", pattern=name))}
        for name in PATTERNS
    ]


def _formula(scoring: Scoring) -> str:
    signed = "W ⊙ ∂D/∂W" if scoring.weighted else "∂D/∂W"
    return f"P = |{signed}|" if scoring.absolute else f"P = {signed}; the measure cosine only"


def templates() -> list[dict[str, Any]]:
    """The templates: the text, and what a model is given for a sentence."""
    return [
        {
            "name": name,
            "default": position == 0,
            "definition": text,
            "example": text.replace(SLOT, EXAMPLE),
        }
        for position, (name, text) in enumerate(TEMPLATES.items())
    ]


def _first_paragraph(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring, which gives the formula."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


KINDS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "datasets": datasets,
    "domains": domains,
    "measures": measures,
    "objectives": objectives,
    "patterns": patterns,
    "templates": templates,
}
NAMES: dict[str, Collection[str]] = {
    "datasets": BENCHMARKS,
    "domains": CORPORA,
    "measures": MEASURES,
    "objectives": [name for names in OBJECTIVES.values() for name in names],
    "patterns": PATTERNS,
    "templates": TEMPLATES,
}
"""What each kind has, known before anything of it is described."""


@click.command("list", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP)
@click.argument("what", type=click.Choice(list(KINDS)), required=False)
@click.argument("name", required=False)
@shared.display_options
def list_command(what: str | None, name: str | None, **options: Any) -> None:
    """List the data sets, domains, measures, objectives (read-outs), patterns and templates that have a name.

    Without WHAT all of them are listed; with NAME that one alone, for a domain with a prompt of its form.
    """
    screen = Screen.of(options)
    if what is not None and name is not None and name not in NAMES[what]:
        raise unknown_name(what.removesuffix("s"), name, NAMES[what])
    document = {kind: entries() for kind, entries in KINDS.items() if what in (None, kind)}
    if what is not None and name is not None:
        document[what] = [entry for entry in document[what] if entry["name"] == name]
    from actsim.report.listing import listing

    screen.show(listing(document), document)
