"""``actsim mteb``: mteb's own command line, with the tasks and models of actsim in it."""

from __future__ import annotations

import sys

import click

from .options import CONTEXT

SHORT_HELP = "Run mteb's command line with actsim's tasks and models in it."
EPILOG = """\b
Examples:
  actsim mteb run -m sentence-transformers/all-MiniLM-L6-v2 -t ActSimSTSB
  actsim mteb run -m intfloat/e5-small -t ActSimSICKR --eval-splits test
  actsim mteb run -m actsim/all-MiniLM-L6-v2 -t STSBenchmark
  actsim mteb --set kind=sketch run -m actsim/my-encoder -t STSBenchmark
  actsim mteb run --help
"""


@click.command(
    "mteb",
    context_settings={**CONTEXT, "ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=EPILOG,
    short_help=SHORT_HELP,
)
@click.option(
    "settings",
    "--set",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of the models actsim/…: kind, layers, measure, dim, objective, pattern, … (docs/mteb.md). "
    "Repeatable; in front of mteb's command.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def mteb_command(ctx: click.Context, settings: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Make actsim's tasks and models known to mteb, and hand ARGUMENTS over to its command line.

    The tasks are ActSimSTSB and ActSimSICKR; a model is called actsim/<base model>, an id on the hub or a folder.

    What mteb's commands take, their --help says. Needs actsim[mteb].
    """
    if not arguments:
        click.echo(ctx.get_help())
        return
    from actsim.integrations.mteb.fingerprint_settings import read_settings

    read_settings(settings)  # before mteb is imported, which takes seconds
    from actsim.integrations.mteb import run_command_line

    sys.excepthook = sys.__excepthook__  # failures of mteb look as mteb shows them
    run_command_line(arguments, settings)
