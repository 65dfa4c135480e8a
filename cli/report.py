"""``actsim report``: the report of a run that lies in a directory, written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from actsim.errors import UsageError

from . import options as shared
from .display import Screen

SHORT_HELP = "Write the report of a finished run anew."
EPILOG = """\b
Examples:
  actsim report reports/sample-test-all-MiniLM-L6-v2-0123abcd
  actsim report runs/sts-b --no-text --out publish
  actsim report runs/sts-b --open
"""


@click.command(
    "report", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@click.argument("run", required=False)
@shared.out
@shared.no_text
@shared.open_page
@shared.display_options
def report_command(run: str | None, **options: Any) -> None:
    """Write report.html, report.md, tables and figures of the finished run in the directory RUN.

    Everything comes from the directory: no model is loaded, nothing is scored, no figure changes.
    """
    screen = Screen.of(options)
    if run is None:
        raise UsageError(f"no run given; give the directory of one{_known_runs()}.")
    from actsim.store import study_in

    study_in(run)  # before what draws is imported
    with screen.working(f"reporting {run}"):
        from actsim.studies.report import write_report

        directory, files = write_report(run, out=options["out"], keep_text=not options["no_text"])
    from actsim.report.files import PAGE
    from actsim.report.terminal import files_lines

    if options["as_json"]:
        click.echo(json.dumps({"run": run, "directory": str(directory), "files": files}, indent=2))
    else:
        screen.list_files(files_lines(directory, files)[1:])
    if options["open"]:
        click.launch(str((directory / PAGE).resolve()))


def _known_runs() -> str:
    """The runs where ``eval`` writes when it is not told where, newest first."""
    from actsim.store.manifest import MANIFEST_NAME

    found = sorted(Path("reports").glob(f"*/{MANIFEST_NAME}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return f", such as {', '.join(str(path.parent) for path in found[:3])}" if found else ", the --out of actsim eval"
