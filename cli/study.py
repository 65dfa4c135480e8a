"""``actsim study``: many pruned models of one dense one, measured and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import domain_options
from . import options as shared
from .arguments import Options, load_silently
from .display import Screen, keeping

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel
    from actsim.store import TableRun
    from actsim.studies.grid import GridRequest
    from actsim.studies.study_file import Study
    from actsim.studies.transfer import DomainMatrices

SHORT_HELP = "Prune a model in many ways and measure what is left."
EPILOG = """\b
Examples:
  actsim study quick
  actsim study study.yaml --data-dir data
  actsim study study.yaml -m my-models/llama --out reports/my-study
"""

model = shared.option(
    "-m", "--model", section=shared.MODEL, metavar="NAME|DIR", help="In place of the model that the study names."
)
similarity = shared.option(
    "--similarity",
    section=shared.STATISTICS,
    metavar="DIR",
    help="A finished run of 'actsim domains' of the dense model: does calibration on similar domains serve better?",
)
out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="Where the files go; by default reports/study-<model>-<digest>.",
)


@click.command(
    "study", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@click.argument("file", metavar="STUDY.yaml|NAME")
@domain_options.data_dir
@model
@domain_options.loading
@similarity
@shared.resamples
@shared.permutations
@shared.level
@shared.seed
@out
@shared.fresh
@shared.no_report
@shared.display_options
@click.pass_context
def study_command(ctx: click.Context, **options: Any) -> None:
    """Prune a model anew for every combination of score, allocation, sparsity, calibration and seed that the study
    names, measure each, and compare the allocations seed by seed.

    STUDY.yaml has lists of scores, allocations, sparsities, calibrations and seeds, and what is measured: perplexity,
    tasks or pairs. Two studies come with actsim: quick (some minutes, needs nothing else) and paper.

    The study is kept in a directory: after an interruption the same command goes on with the next combination.
    """
    screen = Screen.of(options)
    domain_options.check_out(options)
    study, similar = _study(options), _similar(options["similarity"])
    run = _run(screen, _request(screen, study, options), similar, ctx.meta[shared.COMMAND], options)
    from actsim.report.study_tables import study_table

    domain_options.show(screen, run, study_table)


def _study(options: Options) -> Study:
    from actsim.studies.study_file import read_study, with_model

    return with_model(read_study(options["file"]), options["model"])


def _request(screen: Screen, study: Study, options: Options) -> GridRequest:
    """The data of the study, read, and what is asked of it."""
    if study.tasks:
        from actsim.integrations import lm_eval

        lm_eval.check_installed("a study with tasks")
    from actsim.models.locate import DEFAULT_MODEL
    from actsim.report.wording import counted
    from actsim.studies.grid import request_study

    name = study.model or DEFAULT_MODEL
    still = replace(screen, quiet=True)  # beside the bar of the models nothing else may move

    def dense() -> LoadedModel:
        return load_silently(still, name, {**options, "max_tokens": None})

    with screen.working(f"loading {name} and the data"):
        request = request_study(study, dense, options["data_dir"])
    screen.say(f"study: {counted(len(request.cells), 'pruned model')} and the dense one")
    return request


def _run(
    screen: Screen, request: GridRequest, similar: DomainMatrices | None, command: list[str], options: Options
) -> TableRun:
    """The study, with its progress shown; Ctrl-C says where it is kept."""
    from actsim.studies.grid import run_study
    from actsim.studies.intervals import Intervals

    intervals = Intervals(**{name: options[name] for name in ("level", "resamples", "permutations", "seed")})
    directory = request.default_directory if options["out"] is None else Path(options["out"])
    with keeping(directory, options["fresh"]), screen.progress("models", ("pruning", "summing up")) as progress:
        return run_study(
            request,
            out=directory,
            fresh=options["fresh"],
            intervals=intervals,
            similar=similar,
            report=not options["no_report"],
            command=command,
            progress=progress,
        )


def _similar(directory: str | None) -> DomainMatrices | None:
    from actsim.studies.transfer import read_matrices

    return None if directory is None else read_matrices(directory)
