"""``actsim density``: how many parameters of each layer the texts of a domain activate."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from actsim.config import DEFAULT_FOLDS, PUBLISHED_GAMMAS, check_density

from . import domain_options
from . import options as shared
from .arguments import Options, load, scoring_changes, scoring_for
from .display import Screen
from .option_types import Number

if TYPE_CHECKING:
    from actsim.store import TableRun
    from actsim.studies.density import Outlook, Request

SHORT_HELP = "Count the activated parameters of each layer, by domain."
EPILOG = """\b
Examples:
  actsim density --domain notes=notes/*.txt
  actsim density -m my-models/llama --domain boolq --domain c4 --data-dir data
  actsim density --domain boolq --gamma 1e-4 --gamma 1e-5 --samples 128
"""

GIB = 2**30

gamma = shared.option(
    "--gamma",
    "gammas",
    section=shared.SCORING,
    type=Number(min=0),
    multiple=True,
    default=PUBLISHED_GAMMAS,
    metavar="X",
    help="Parameters whose mean activation is above X count; may be repeated, the first is shown first. A sweep from "
    "1e-8 to 5e-3 is counted beside.",
)
folds = shared.option(
    "--folds",
    section=shared.STATISTICS,
    type=click.IntRange(min=1),
    default=DEFAULT_FOLDS,
    metavar="N",
    help="Groups that the samples are taken apart into for the intervals; 1 for none.",
)
memory = shared.option(
    "--memory",
    section=shared.SCORING,
    type=Number(min=0, min_open=True),
    metavar="GIB",
    help="Memory for accumulators, 8 bytes a parameter: layers that do not fit go in further passes. By default half "
    "of what is free.",
)
out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="Where the files go; by default reports/density-<model>-<digest>.",
)


@click.command(
    "density", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@domain_options.data
@shared.model
@domain_options.loading
@shared.objective
@shared.pattern
@gamma
@shared.batch_tokens
@memory
@folds
@shared.level
@out
@shared.fresh
@shared.no_report
@shared.display_options
@click.pass_context
def density_command(ctx: click.Context, **options: Any) -> None:
    """Count, layer by layer, the parameters whose activation, averaged over the samples of a domain, is above a
    threshold, and tell whether shallow layers are activated more densely than deep ones, as the paper finds.

    The run is kept in a directory: after an interruption the same command goes on where it stopped.
    """
    screen = Screen.of(options)
    domain_options.check_chosen(options, at_least=1)
    domain_options.check_out(options)
    changes = scoring_changes({name: options[name] for name in ("objective", "pattern", "batch_tokens")})
    check_density(options["pattern"], options["folds"], options["samples"])
    request = _request(screen, changes, options)
    run = _run(screen, request, ctx.meta[shared.COMMAND], options)
    from actsim.report.density_tables import density_table

    domain_options.show(screen, run, density_table)


def _request(screen: Screen, changes: dict[str, Any], options: Options) -> Request:
    """The domains and the model, loaded, and what is asked of them."""
    with screen.working("reading the domains"):
        drawing = domain_options.drawing_for(options)
        chosen = domain_options.load_chosen(screen, drawing, options)
    loaded = load(screen, options["model"], {**options, "max_tokens": None})
    from actsim.studies.density import Thresholds, request_density

    thresholds = Thresholds(options["gammas"], options["folds"], options["level"])
    return request_density(chosen, loaded, scoring_for(loaded, changes), drawing, thresholds)


def _run(screen: Screen, request: Request, command: list[str], options: Options) -> TableRun:
    """The run, with its progress shown."""
    from actsim.studies.density import density

    memory = None if options["memory"] is None else int(options["memory"] * GIB)
    study = partial(density, memory=memory, announce=lambda outlook: screen.say(_announced(outlook)))
    return domain_options.run(screen, request, study, "accumulating", command, options)


def _announced(outlook: Outlook) -> str:
    """What the run is going to take, in one line."""
    from actsim.report.terminal import magnitude
    from actsim.report.wording import counted

    passes = "in one pass" if outlook.groups == 1 else f"in {outlook.groups} passes, one for each group of layers"
    sizes = [magnitude(value, 1024, "iB") for value in (outlook.memory, outlook.accumulators)]
    return (
        f"to do: {counted(outlook.domains, 'domain')} {passes}, {counted(outlook.samples, 'sample')} in all; about "
        f"{sizes[0]} of memory, {sizes[1]} of it accumulators, and {domain_options.duration(outlook.seconds)}"
    )
