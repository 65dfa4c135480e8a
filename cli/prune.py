"""``actsim prune``: a model with a share of its weights set to zero."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actsim.config import DEFAULT_CALIBRATION_SAMPLES, DEFAULT_SPARSITY, PRUNING_SCORES, NOfM
from actsim.errors import UsageError
from actsim.studies.recipe import DEFAULT_ALLOCATION, EXPORTS, SETTINGS, Recipe

from . import domain_options
from . import options as shared
from .arguments import Options, check_loading, check_objective, load
from .display import LOG, Screen
from .option_types import Number

if TYPE_CHECKING:
    from actsim.studies.pruning import Calibration, Request

SHORT_HELP = "Set a share of a model's weights to zero."
EPILOG = """\b
Examples:
  actsim prune -m my-models/llama --sparsity 0.5 --data-dir data --out pruned
  actsim prune -m my-models/llama --allocation activation --alpha 2 --beta 0.2
  actsim prune -m my-models/llama --score magnitude --n-of-m 2:4 --out pruned
  actsim prune --calibration notes=notes/*.txt --samples 16 --seq-len 128
"""
CALIBRATING = ("--calibration", "--samples", "--seq-len", "--seed", "--data-dir", "--batch-tokens")
"""Options that act where the calibration samples matter only."""

one_block_at_a_time = shared.option(
    "--one-block-at-a-time",
    section=shared.MODEL,
    is_flag=True,
    help="Leave the model in main memory, and move block after block to the accelerator; where that has too little "
    "memory, this happens by itself.",
)
score = shared.option(
    "--score",
    section=shared.PRUNING,
    default=PRUNING_SCORES[0],
    metavar="NAME",
    help="What goes first, in every output row the lowest of: wanda, |W| times the norm of the input; magnitude, |W|; "
    "activation, the mean activation.",
)
sparsity = shared.option(
    "--sparsity",
    section=shared.PRUNING,
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="X",
    help=f"Share of the weights of all blocks that goes; {DEFAULT_SPARSITY:g} where nothing is said.",
)
n_of_m = shared.option(
    "--n-of-m",
    section=shared.PRUNING,
    metavar="N:M",
    help="Keep N of every M consecutive weights of a row, as 2:4 or 4:8, instead of a share of the row.",
)
allocation = shared.option(
    "--allocation",
    section=shared.PRUNING,
    default=DEFAULT_ALLOCATION,
    metavar="NAME|PLAN.json",
    help=f"How sparse each block becomes: {', '.join(SETTINGS)}; or a plan as this command writes it.",
)


def _setting(name: str, allocation: str, text: str) -> shared.Decorator:
    """The option of a setting of one allocation; the help says its default."""
    return shared.option(
        f"--{name.replace('_', '-')}",
        section=shared.PRUNING,
        type=float,
        metavar="X",
        help=f"{allocation}: {text}; {SETTINGS[allocation][name]:g}.",
    )


alpha = _setting("alpha", "activation", "weight of depth")
beta = _setting("beta", "activation", "spread of the sparsities")
gamma = _setting("gamma", "activation", "parameters above X count as activated")
delta = _setting("delta", "progression", "sparsities go from S - X to S + X")
outlier_factor = _setting("outlier_factor", "owl", "scores above X times their mean are outliers")
width = shared.option(
    "--lambda",
    "width",
    section=shared.PRUNING,
    type=float,
    metavar="X",
    help=f"owl, dlp: half of the width of the sparsities; {SETTINGS['owl']['width']:g} and "
    f"{SETTINGS['dlp']['width']:g}.",
)
profile = shared.option(
    "--profile",
    section=shared.PRUNING,
    metavar="DIR",
    help="activation: take the counts from a run of 'actsim density', not from the calibration samples.",
)
calibration = shared.option(
    "--calibration",
    section=shared.DATA,
    default="c4",
    metavar="NAME",
    help="Texts that inputs and activations are taken of: a corpus ('actsim list domains'), also NAME:split, or your "
    "own as NAME=path/*.txt, NAME=file.jsonl:column.",
)
samples = shared.option(
    "--samples",
    section=shared.DATA,
    type=click.IntRange(min=1),
    default=DEFAULT_CALIBRATION_SAMPLES,
    metavar="N",
    help="Calibration samples.",
)
seq_len = shared.option(
    "--seq-len",
    section=shared.DATA,
    type=click.IntRange(min=1),
    metavar="N",
    help="Tokens of a sample: texts are laid end to end and divided; by default what the model takes, at most 2048.",
)
out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="A new or empty directory; by default reports/prune-<model>-<digest>.",
)
masks_only = shared.option(
    "--masks-only", section=shared.OUTPUT, is_flag=True, help="Write which weights are kept, not the model."
)
export = shared.option(
    "--export",
    section=shared.OUTPUT,
    metavar="NAME",
    help=f"Also write recipe.yaml, by which {', '.join(EXPORTS)} prunes the dense model as the plan says; with "
    "--score wanda, causal models.",
)


@click.command(
    "prune", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@calibration
@samples
@seq_len
@shared.seed
@domain_options.data_dir
@shared.model
@domain_options.loading
@one_block_at_a_time
@score
@sparsity
@n_of_m
@allocation
@alpha
@beta
@gamma
@profile
@delta
@outlier_factor
@width
@shared.objective
@shared.batch_tokens
@out
@masks_only
@export
@shared.display_options
@click.pass_context
def prune_command(ctx: click.Context, **options: Any) -> None:
    """Set a share of the weights of a model's blocks to zero and write the model anew, with the plan beside it.

    The model itself stays as it is. Zeros alone make neither vLLM nor torch faster.
    """
    screen = Screen.of(options)
    check_loading(options)
    recipe = _recipe(ctx, options)
    request = _request(screen, recipe, options)
    directory = request.default_directory if options["out"] is None else Path(options["out"])
    plan, names = _run(screen, request, directory, ctx.meta[shared.COMMAND], options)
    from actsim.report.pruning_tables import plan_table
    from actsim.report.terminal import files_lines

    screen.show(plan_table(plan), plan)
    screen.list_files(files_lines(directory, names))


def _recipe(ctx: click.Context, options: Options) -> Recipe:
    """How the model is pruned.

    Raises:
        UsageError: options that do not go together.
    """
    names = dict.fromkeys(name for own in SETTINGS.values() for name in own)
    recipe = Recipe(
        score=options["score"],
        allocation=options["allocation"],
        sparsity=options["sparsity"],
        settings={name: options[name] for name in names if options[name] is not None},
        n_of_m=None if options["n_of_m"] is None else NOfM.read(options["n_of_m"]),
        profile=None if options["profile"] is None else Path(options["profile"]),
        objective=options["objective"],
        batch_tokens=options["batch_tokens"],
    )
    if not recipe.needs_calibration:
        given = [spelling for spelling in CALIBRATING if shared.was_given(ctx, spelling)]
        if given:
            raise UsageError(
                f"{given[0]} does nothing with --score {recipe.score} and --allocation {recipe.allocation}, which take "
                "no calibration; leave it out."
            )
    else:
        from actsim.data.domains import check_domains

        check_domains([options["calibration"]])
    check_objective(recipe.objective)
    return recipe


def _request(screen: Screen, recipe: Recipe, options: Options) -> Request:
    """The model and the calibration samples, loaded, and what is asked of them."""
    if options["out"] is not None:
        from actsim.studies.pruned_files import check_out

        check_out(Path(options["out"]))
    if options["export"] is not None:
        recipe.check_export(options["export"])
    from actsim.studies.exports import check_exportable
    from actsim.studies.pruning import request_pruning

    one_block = _one_block(recipe, options)
    drawn = _calibration(options)
    domain = None
    if recipe.needs_calibration:
        with screen.working("reading the calibration texts"):
            domain = drawn.load()
        screen.say(f"calibration: {domain_options.described(domain)}")
    loaded = load(screen, options["model"], {**options, "max_tokens": None}, one_block_at_a_time=one_block)
    if options["export"] is not None:
        check_exportable(loaded)
    return request_pruning(loaded, recipe, drawn, domain)


def _one_block(recipe: Recipe, options: Options) -> bool | None:
    """Whether blocks go to the device one at a time; None to let its memory decide.

    Raises:
        UsageError: patterns, whose backward pass goes through the whole model.
    """
    if not recipe.uses_patterns:
        return options["one_block_at_a_time"] or None
    if options["one_block_at_a_time"]:
        raise UsageError(
            "--one-block-at-a-time: the mean activation needs the gradients of the whole model at once; use another "
            "--score, and another --allocation or counts from a run (--profile)."
        )
    return False


def _calibration(options: Options) -> Calibration:
    from actsim.studies.pruning import Calibration

    return Calibration(
        options["calibration"], options["samples"], options["seq_len"], options["seed"], options["data_dir"]
    )


def _run(
    screen: Screen, request: Request, directory: Path, command: list[str], options: Options
) -> tuple[dict[str, Any], list[str]]:
    """The plan of what was done, and the files that were written."""
    from actsim.models.saving import source_folder
    from actsim.studies.pruned_files import check_out, write_pruned
    from actsim.studies.pruning import plan_document, prune

    check_out(directory, source_folder(request.loaded))
    LOG.info("writing into %s", directory)
    unit = "samples" if request.recipe.allocation == "activation" else "blocks"
    with screen.progress(unit, ("profiling", "profiled")) as progress:
        profile = request.profile(progress)
    allocation = request.allocate(profile)
    unit = "samples" if request.recipe.score == "activation" else "blocks"
    with screen.progress(unit, ("pruning", "pruned")) as progress:
        blocks = prune(request, allocation, progress)
    plan = plan_document(request, profile, allocation, blocks)
    with screen.working(f"writing {directory}"):
        names = write_pruned(
            request, plan, directory, masks_only=options["masks_only"], export=options["export"], command=command
        )
    return plan, names
