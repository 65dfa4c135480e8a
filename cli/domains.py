"""``actsim domains``: how alike the activation patterns of texts of several domains are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from actsim.config import check_grouping

from . import domain_options
from . import options as shared
from .arguments import Options, load, scoring_changes, scoring_for
from .display import Screen

if TYPE_CHECKING:
    from actsim.store import TableRun
    from actsim.studies.domains import Outlook, Request

SHORT_HELP = "Compare activation patterns within and between domains."
EPILOG = """\b
Examples:
  actsim domains --domain notes=notes/*.txt --domain code=src/*.py
  actsim domains -m my-models/llama --domain boolq --domain c4 --data-dir data
  actsim domains --domain boolq --domain siqa --samples 128 --layers 4-6
"""

out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="Where the files go; by default reports/domains-<model>-<digest>.",
)


@click.command(
    "domains", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@domain_options.data
@shared.model
@domain_options.loading
@shared.objective
@shared.pattern
@shared.batch_tokens
@shared.layers
@shared.resamples
@shared.permutations
@shared.level
@out
@shared.fresh
@shared.no_report
@shared.display_options
@click.pass_context
def domains_command(ctx: click.Context, **options: Any) -> None:
    """Compare samples of several domains with one another: how alike the activation patterns are within a domain and
    between domains, layer by layer and over a band, and whether that says more than the words do.

    The run is kept in a directory: after an interruption the same command goes on where it stopped.
    """
    screen = Screen.of(options)
    domain_options.check_chosen(options, at_least=2)
    domain_options.check_out(options)
    changes = scoring_changes({name: options[name] for name in ("objective", "pattern", "batch_tokens")})
    check_grouping(options["samples"])
    request = _request(screen, changes, options)
    run = _run(screen, request, ctx.meta[shared.COMMAND], options)
    from actsim.report.domain_tables import domains_table

    domain_options.show(screen, run, domains_table)


def _request(screen: Screen, changes: dict[str, Any], options: Options) -> Request:
    """The domains and the model, loaded, and what is asked of them."""
    with screen.working("reading the domains"):
        drawing = domain_options.drawing_for(options)
        chosen = domain_options.load_chosen(screen, drawing, options)
    loaded = load(screen, options["model"], {**options, "max_tokens": None})
    from actsim.studies.domains import Comparison, request_domains

    names = ("layers", "resamples", "permutations", "level", "seed")
    comparison = Comparison(**{name: options[name] for name in names})
    return request_domains(chosen, loaded, scoring_for(loaded, changes), drawing, comparison)


def _run(screen: Screen, request: Request, command: list[str], options: Options) -> TableRun:
    """The run, with its progress shown."""
    from actsim.studies.domains import compare_domains

    study = partial(compare_domains, announce=lambda outlook: screen.say(_announced(outlook)))
    return domain_options.run(screen, request, study, "comparing", command, options)


def _announced(outlook: Outlook) -> str:
    """What the run is going to take, in one line."""
    from actsim.report.terminal import magnitude
    from actsim.report.wording import counted

    passes = "in one pass" if outlook.runs == 1 else f"in {outlook.runs} passes, each over some of the layers"
    sizes = [magnitude(value, 1024, "iB") for value in (outlook.memory, outlook.traces)]
    return (
        f"to do: {counted(outlook.groups, 'group')} of {counted(outlook.samples, 'sample')} {passes}; about "
        f"{sizes[0]} of memory, {sizes[1]} of it for what waits for the last sample of a group, and "
        f"{domain_options.duration(outlook.seconds)}"
    )
