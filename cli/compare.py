"""``actsim compare``: runs against each other, on the rows that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from actsim.errors import UsageError

from . import options as shared
from .arguments import Options, check_loading, load, load_evaluated_pairs, scoring_changes, scoring_for
from .display import Interrupted, Screen
from .option_types import BandType

if TYPE_CHECKING:
    from actsim.data.pairs import PairSet
    from actsim.store import Run

SHORT_HELP = "Compare runs, or models on a data set."
EPILOG = """\b
Examples:
  actsim compare reports/run-of-one reports/run-of-another
  actsim compare -m my-models/bert -m my-models/llama --dataset sts-b
  actsim compare -m my-models/a -m my-models/b --dataset sick --limit 400
"""

OF_MODELS = (
    "--dataset",
    "--split",
    "--limit",
    "--first",
    "--columns",
    "--data-dir",
    "--release",
    "--data-revision",
    "--device",
    "--device-map",
    "--dtype",
    "--max-tokens",
    "--threads",
    "--trust-remote-code",
    "--allow-unsafe-weights",
    "--objective",
    "--pattern",
    "--gamma",
    "--top-fraction",
    "--batch-tokens",
)
"""What says how models are scored, and hence nothing to runs that are finished."""

models = shared.option(
    "-m",
    "--model",
    "models",
    section=shared.MODEL,
    multiple=True,
    metavar="NAME|DIR",
    help="A model to score on --dataset; give it twice or more. Finished runs in reports/ are used.",
)
dataset = shared.option(
    "--dataset",
    section=shared.DATA,
    metavar="NAME|FILE",
    help="With -m: the data set to compare on, as for eval.",
)
measure = shared.option(
    "--measure",
    section=shared.SCORING,
    metavar="NAME",
    help="The measure to compare; by default the first that all runs have, with -m cosine.",
)
layers = shared.option(
    "--layers",
    section=shared.STATISTICS,
    type=BandType(),
    metavar="BAND",
    help="Headline band of all runs, as for eval; by default each run's own, with -m deep.",
)
out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="Directory of the comparison; by default reports/compare-<dataset>-<split>-<digest>.",
)
no_text = shared.option(
    "--no-text", section=shared.OUTPUT, is_flag=True, help="Leave the sentences out of everything that is written."
)


@click.command(
    "compare", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@dataset
@shared.data_options
@models
@shared.device
@shared.device_map
@shared.dtype
@shared.max_tokens
@shared.threads
@shared.trust_remote_code
@shared.allow_unsafe_weights
@shared.objective
@shared.pattern
@measure
@shared.gamma
@shared.top_fraction
@shared.batch_tokens
@layers
@shared.resamples
@shared.level
@shared.seed
@out
@no_text
@shared.display_options
@click.pass_context
def compare_command(ctx: click.Context, runs: tuple[str, ...], **options: Any) -> None:
    """Compare finished runs, RUN being their directories, or models (-m) on a data set.

    On the rows that all runs have: curves over relative depth, headlines with intervals, their differences by a paired
    bootstrap with Holm's correction, agreement pair by pair and layer by layer. With -m, what is missing is scored
    first, as by actsim eval, into the same directories.
    """
    screen = Screen.of(options)
    shared.refuse_without(ctx, "-m", OF_MODELS)
    _check_sources(runs, options)
    check_loading(options)
    if options["measure"] is not None:
        scoring_changes({"measures": (options["measure"],)})
    command = ctx.meta[shared.COMMAND]
    chosen: Sequence[str | Run] = runs
    if options["models"]:
        options["layers"] = options["layers"] or "deep"
        chosen = _scored(screen, command, options)
    with screen.working("comparing"):
        from actsim.studies.compare import compare

        comparison = compare(
            chosen,
            command=command,
            keep_text=not options["no_text"],
            **{name: options[name] for name in ("measure", "layers", "resamples", "level", "seed", "out")},
        )
    from actsim.report.compare_tables import compare_table
    from actsim.report.terminal import files_lines

    screen.show(compare_table(comparison.summary), comparison.summary)
    screen.list_files(files_lines(comparison.directory, comparison.summary["files"]))


def _check_sources(runs: Sequence[str], options: Options) -> None:
    """Either runs or models, at least two, and a data set for models."""
    names = options["models"]
    if runs and names:
        raise UsageError("give either RUN directories or models with -m, not both: run 'actsim eval' for the models.")
    if names and options["dataset"] is None:
        raise UsageError("-m needs --dataset: the data set that the models are compared on, such as sts-b.")
    if names and len(names) < 2:
        raise UsageError(f"a comparison needs at least two models, got {len(names)}; give -m again.")
    if not names and len(runs) < 2:
        raise UsageError(
            f"a comparison needs at least two runs, got {len(runs)}; give RUN RUN …, or -m A -m B --dataset NAME."
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"the model {name} is given twice; to compare settings of one model, run 'actsim eval' with each and "
                "give the directories."
            )


def _scored(screen: Screen, command: list[str], options: Options) -> list[Run]:
    """The finished run of every model, scored where it is missing; Ctrl-C keeps what there is."""
    from actsim.report.page import check_packages

    check_packages("compare.html")
    scored = {**options, "measures": (options["measure"] or "cosine",), "select_on": None}
    changes = scoring_changes(scored)
    pairs, _ = load_evaluated_pairs(options["dataset"], scored)
    screen.say(f"data: {pairs.name}, {pairs.split}: {len(pairs)} pairs")
    try:
        return [_run_of(screen, name, pairs, changes, command, options) for name in options["models"]]
    except KeyboardInterrupt:
        raise Interrupted("interrupted; what is scored is kept, and the same command goes on with it.") from None


def _run_of(
    screen: Screen, name: str, pairs: PairSet, changes: dict[str, Any], command: list[str], options: Options
) -> Run:
    from actsim.studies.evaluate import Statistics
    from actsim.studies.finished import finished_run

    loaded = load(screen, name, {**options, "revision": None, "family": None})
    statistics = Statistics(**{key: options[key] for key in ("layers", "resamples", "level", "seed")})
    with screen.progress() as progress:
        return finished_run(
            pairs, loaded, scoring_for(loaded, changes), statistics=statistics, command=command, progress=progress
        )
