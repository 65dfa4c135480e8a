"""``actsim tasks``: questions with choices, answered by a causal language model through lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actsim.data.choices import CHOICE_TASKS, check_tasks

from . import domain_options
from . import options as shared
from .arguments import Options, check_loading, load
from .display import LOG, Screen, keeping

if TYPE_CHECKING:
    from actsim.store import TableRun
    from actsim.studies.tasks import Request

SHORT_HELP = "Accuracy on tasks with choices, and how two models differ."
EPILOG = """\b
Examples:
  actsim tasks -m my-models/llama --task boolq --task piqa --data-dir data
  actsim tasks -m my-models/llama --task mmlu --limit 200 --out runs/dense
  actsim tasks -m my-models/half --task mmlu --limit 200 --against runs/dense
"""

task = shared.option(
    "--task",
    "tasks",
    section=shared.DATA,
    multiple=True,
    metavar="NAME",
    help=f"One of {', '.join(CHOICE_TASKS)}; may be repeated.",
)
shots = shared.option(
    "--shots",
    section=shared.DATA,
    type=click.IntRange(min=0),
    metavar="N",
    help="Solved examples in front of each question; by default 5 for mmlu, none for the others.",
)
limit = shared.option(
    "--limit",
    section=shared.DATA,
    type=click.IntRange(min=1),
    metavar="N",
    help="Take a random sample of N rows of every task (see --seed).",
)
model = shared.option(
    "-m",
    "--model",
    section=shared.MODEL,
    required=True,
    metavar="NAME|DIR",
    help="Causal language model: a folder, or an id on the Hugging Face hub.",
)
loading = shared.together(
    shared.revision,
    shared.family,
    shared.device,
    shared.dtype,
    shared.threads,
    shared.trust_remote_code,
    shared.allow_unsafe_weights,
)
against = shared.option(
    "--against",
    section=shared.STATISTICS,
    metavar="RUN",
    help="Compare with the run of another model on the same questions: the --out of an earlier 'actsim tasks'.",
)
out = shared.option(
    "--out",
    section=shared.OUTPUT,
    metavar="DIR",
    help="Where the files go; by default reports/tasks-<model>-<digest>.",
)


@click.command(
    "tasks", cls=shared.SectionCommand, context_settings=shared.CONTEXT, epilog=EPILOG, short_help=SHORT_HELP
)
@task
@shots
@limit
@shared.seed
@domain_options.data_dir
@model
@loading
@shared.batch_tokens
@against
@shared.resamples
@shared.level
@out
@shared.fresh
@shared.display_options
@click.pass_context
def tasks_command(ctx: click.Context, **options: Any) -> None:
    """Let a causal language model choose among the answers to questions, through lm-evaluation-harness, and print how
    often it is right; with --against also whether another model is right more often on the same questions.

    The run is kept in a directory: after an interruption the same command goes on with the next task. Needs
    actsim[lm-eval].
    """
    screen = Screen.of(options)
    shared.refuse_without(ctx, "--against", ["--resamples"])
    check_tasks(options["tasks"])
    check_loading(options)
    domain_options.check_out(options)
    request = _request(screen, options)
    run = _run(screen, request, ctx.meta[shared.COMMAND], options)
    from actsim.report.task_tables import tasks_table
    from actsim.report.terminal import files_lines
    from actsim.store.manifest import MANIFEST_NAME

    screen.show(tasks_table(run.summary), run.summary)
    screen.list_files(files_lines(run.directory, [MANIFEST_NAME, *run.manifest["files"]]))


def _request(screen: Screen, options: Options) -> Request:
    """The questions and the model, loaded, and what is asked of them."""
    with screen.working("reading the tasks"):
        from actsim.studies.task_summary import Intervals, open_against
        from actsim.studies.tasks import load_tasks, request_tasks

        chosen = load_tasks(
            options["tasks"], **{name: options[name] for name in ("shots", "limit", "seed", "data_dir")}
        )
        compared = None if options["against"] is None else open_against(options["against"], chosen)
        intervals = Intervals(**{name: options[name] for name in ("level", "resamples", "seed")})
    for own in chosen:
        place = f"{own.source['kind']} {own.source['path']}"
        screen.say(f"task: {own.task}, {own.split}: {len(own)} of {own.of} rows, {own.shots} shots, {place}")
    loaded = load(screen, options["model"], {**options, "device_map": None, "max_tokens": None})
    with screen.working("importing lm-evaluation-harness"):
        return request_tasks(chosen, loaded, intervals, compared)


def _run(screen: Screen, request: Request, command: list[str], options: Options) -> TableRun:
    """The run, with its progress shown; Ctrl-C says where it is kept."""
    from actsim.studies.tasks import run_tasks

    directory = request.default_directory if options["out"] is None else Path(options["out"])
    LOG.info("run in %s, configuration %s", directory, request.digest)
    with keeping(directory, options["fresh"]), screen.progress("choices", ("answering", "summing up")) as progress:
        return run_tasks(
            request,
            out=directory,
            fresh=options["fresh"],
            batch_tokens=options["batch_tokens"],
            command=command,
            progress=progress,
        )
