"""The command ``actsim``: its subcommands, and the one place where failures become a line and an exit status."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from types import TracebackType
from typing import Any, NoReturn

import click

from actsim import __version__
from actsim.errors import ActsimError

from .compare import compare_command
from .density import density_command
from .display import LOG, Interrupted, print_failure
from .domains import domains_command
from .evaluate import evaluate_command
from .info import info_command
from .listing import list_command
from .mteb import mteb_command
from .options import COMMAND, CONTEXT
from .perplexity import perplexity_command
from .prune import prune_command
from .report import report_command
from .score import score_command
from .study import study_command
from .tasks import tasks_command

QUIET_LIBRARIES = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""Set unless the user has set them: the libraries' log lines and bars would cut into actsim's own."""

EPILOG = """\b
Examples:
  actsim eval sample                the pairs that ship with actsim
  actsim eval sts-b --layers all    a benchmark, every layer in the headline
  actsim report reports/sample-run  the report of a run, written anew
  actsim score "A dog sleeps." "A dog is asleep." --explain
  actsim info                       what is scored of the default model
  actsim list datasets
"""


class Actsim(click.Group):
    """The group of commands; every failure that is foreseen is one line on stderr and an exit status."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line as it was given, for the records of runs."""
        ctx.meta[COMMAND] = ["actsim", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; click would answer Ctrl-C with a line of its own, so it is caught here."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted.") from None

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command line and exit: 0, or 1 for a failure, 2 for wrong usage, 130 for Ctrl-C.

        What is not foreseen, an error of actsim itself, passes through.
        """
        try:
            status = super().main(*args, **(extra | {"prog_name": "actsim", "standalone_mode": False})) or 0
            sys.stdout.flush()
        except click.ClickException as error:
            status = _fail(f"error: {_usage_message(error)}", error.exit_code)
        except Interrupted as error:
            status = _fail(str(error), error.exit_code)
        except click.Abort:  # Ctrl-C while the command line is parsed
            status = _fail("interrupted.", Interrupted.exit_code)
        except ActsimError as error:
            status = _fail(f"error: {error}", error.exit_code)
        except OSError as error:
            status = _refused(error)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            status = _fail("error: out of memory; use a smaller --batch-tokens or --max-tokens, or a smaller model.", 1)
        sys.exit(status)


def _fail(line: str, status: int) -> int:
    print_failure(line)
    return status


def _usage_message(error: click.ClickException) -> str:
    """What click found wrong, and where to read on."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f" Try '{context.command_path} --help'." if context else ""
    return f"{message}{'' if message.endswith(('.', '?', ')')) else '.'}{hint}"


def _refused(error: OSError) -> int:
    """The status after the operating system refused; of a reader that went away (``| head``) nothing is said."""
    if error.errno == errno.EPIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    place = f": {error.filename}" if error.filename else ""
    return _fail(f"error: {error.strerror or error}{place}", 1)


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own error, or torch's: OutOfMemoryError on an accelerator, the allocator's RuntimeError on the CPU."""
    torch_kinds = isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error)
    )
    return isinstance(error, MemoryError) or torch_kinds


@click.group(cls=Actsim, context_settings=CONTEXT, epilog=EPILOG, invoke_without_command=True)
@click.version_option(__version__, prog_name="actsim", message="%(prog)s %(version)s")
@click.pass_context
def actsim(ctx: click.Context) -> None:
    """Semantic similarity inside transformers: how alike two sentences activate a model's parameters, layer by layer,
    and how well that follows human judgement.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


COMMANDS = (
    evaluate_command,
    report_command,
    compare_command,
    density_command,
    domains_command,
    prune_command,
    perplexity_command,
    study_command,
    tasks_command,
    score_command,
    info_command,
    mteb_command,
    list_command,
)
for command in COMMANDS:
    actsim.add_command(command)


def report_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for an error of actsim itself, with -v the traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print_failure("interrupted.")
    elif LOG.isEnabledFor(logging.INFO):
        sys.__excepthook__(kind, error, trace)
    else:
        print_failure(f"internal error: {kind.__name__}: {error}; run with -v for the traceback, and report it.")


def run() -> NoReturn:
    """Entry point of the command ``actsim``: set up the process, run the command line, exit."""
    sys.excepthook = report_unexpected
    for name, value in QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    logging.captureWarnings(True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    actsim.main()
