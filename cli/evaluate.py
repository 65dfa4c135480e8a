"""``actsim eval``: how well the similarity of activation patterns follows human judgement, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actsim.config import RunConfig, Scoring, check_controls
from actsim.data.benchmarks import BENCHMARKS
from actsim.data.files import FORMATS
from actsim.errors import UsageError

from . import options as shared
from . import scorings
from .arguments import (
    Options,
    check_loading,
    load,
    load_evaluated_pairs,
    scoring_changes,
    scoring_for,
    statistics_for,
)
from .display import LOG, Screen, keeping

if TYPE_CHECKING:
    from actsim.data.pairs import PairSet
    from actsim.models.loading import LoadedModel
    from actsim.store import Run

ENDINGS = ", ".join(ending.removeprefix(".") for ending in FORMATS)

SHORT_HELP = "Correlate activation similarity with human judgement."
EPILOG = """\b
Examples:
  actsim eval sample
  actsim eval sts-b --data-dir data --split validation --limit 400
  actsim eval sick -m my-models/llama --objective nll --layers all
  actsim eval sts-b --select-on validation --measure cosine --measure ruzicka
  actsim eval sts-b -m my-models/llama --objective next-token --objective nll
  actsim eval pairs.csv --columns a=left,b=right,gold=score --json
"""


@click.command("eval", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP)
@click.argument("dataset", required=False)
@shared.data_options
@shared.model
@shared.loading_options
@scorings.scoring_options
@shared.batch_tokens
@shared.no_baselines
@shared.layers
@shared.select_on
@shared.control
@shared.control_seed
@shared.resamples
@shared.level
@shared.seed
@shared.out
@shared.fresh
@shared.no_text
@shared.no_report
@shared.display_options
@click.pass_context
def evaluate_command(ctx: click.Context, dataset: str | None, **options: Any) -> None:
    """Score the pairs of DATASET layer by layer and correlate the scores with human judgement.

    DATASET is sts-b, sick, sample, or a path to a csv, tsv, jsonl or parquet file. The run is kept in a directory:
    after an interruption the same command goes on where it stopped. Several objectives or patterns are runs of their
    own, in a table that is ranked on the validation split.
    """
    screen = Screen.of(options)
    if dataset is None:
        raise UsageError(f"no data set given; known: {', '.join(BENCHMARKS)}, or a path to a file ({ENDINGS}).")
    if options["select_on"] is not None and shared.was_given(ctx, "--layers"):
        raise UsageError("--layers and --select-on exclude each other: the latter chooses the band; give one of them.")
    several = scorings.several(options)
    if options["out"] is not None and not several:
        from actsim.store.writing import check_directory

        check_directory(Path(options["out"]))
    shared.refuse_without(ctx, "--control", ["--control-seed"])
    check_controls(options["controls"])
    check_loading(options)
    options |= scorings.single(options)
    changes = scoring_changes(options)
    if several:
        scorings.check_several(options)
    other = scorings.ranking_split(dataset, options) if several else options["select_on"]
    pairs, other_pairs = load_evaluated_pairs(dataset, {**options, "select_on": other})
    for chosen in (pairs, other_pairs):
        if chosen is not None:
            screen.say(f"data: {_described(chosen)}")
    loaded = load(screen, options["model"], options)
    command = ctx.meta[shared.COMMAND]
    if several:
        scorings.evaluate_scorings(screen, loaded, pairs, other_pairs, command, options)
        return
    run = _evaluate(screen, loaded, pairs, scoring_for(loaded, changes), other_pairs, command, options)
    from actsim.report.tables import terminal_table
    from actsim.report.terminal import files_lines
    from actsim.store.manifest import MANIFEST_NAME

    screen.show(terminal_table(run.summary), run.summary)
    screen.list_files(files_lines(run.directory, [MANIFEST_NAME, *run.manifest["files"]]))


def _evaluate(
    screen: Screen,
    loaded: LoadedModel,
    pairs: PairSet,
    scoring: Scoring,
    selection_pairs: PairSet | None,
    command: list[str],
    options: Options,
) -> Run:
    """The run, with its progress shown; Ctrl-C says where it is kept."""
    from actsim.studies.evaluate import default_directory, evaluate

    config = RunConfig(pairs.identity(), loaded.identity(), scoring)
    directory = default_directory(config) if options["out"] is None else Path(options["out"])
    LOG.info("run in %s, configuration %s", directory, config.digest())
    LOG.debug("configuration: %s", config.to_dict())
    statistics = statistics_for(options, selection_pairs)
    with keeping(directory, options["fresh"]), screen.progress() as progress:
        return evaluate(
            pairs,
            loaded,
            scoring,
            statistics=statistics,
            out=directory,
            fresh=options["fresh"],
            keep_text=not options["no_text"],
            report=not options["no_report"],
            command=command,
            progress=progress,
        )


def _described(pairs: PairSet) -> str:
    """``sts-b, validation: 400 of 1500 pairs, local stsb/validation.jsonl, release stsbenchmark``."""
    source = pairs.source
    place = [source["kind"], source["path"], *([f"at {source['revision']}"] if source.get("revision") else [])]
    release = f", release {source['release']}" if source["release"] not in (None, source["kind"]) else ""
    return f"{pairs.name}, {pairs.split}: {len(pairs)} of {pairs.selection['of']} pairs, {' '.join(place)}{release}"
