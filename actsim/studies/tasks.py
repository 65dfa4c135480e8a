"""From tasks by name to a finished run: what is missing is asked, then summed up and, if wanted, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.config import DEFAULT_BATCH_TOKENS, digest_of
from actsim.data.choices import HARNESS_PREFIX, check_tasks
from actsim.data.questions import Questions, load_questions
from actsim.errors import UsageError
from actsim.integrations import lm_eval
from actsim.models.loading import LoadedModel
from actsim.report.task_tables import task_files
from actsim.store import RunStore, TableRun
from actsim.store.answers import STUDY, answers_layout, answers_table, open_tasks
from actsim.studies import default_path
from actsim.studies.evaluate import LOG, Progress, pair_counter
from actsim.studies.record import circumstances
from actsim.studies.task_summary import Against, Intervals, difference_rows, score_rows

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Request:
    """A run over tasks that may be begun: everything about it is decided.

    Attributes:
        tasks: the questions of each task.
        loaded: the model.
        intervals: how intervals are made.
        against: the finished run that this one is compared with, or None.
    """

    tasks: tuple[Questions, ...]
    loaded: LoadedModel
    intervals: Intervals = field(default_factory=Intervals)
    against: Against | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the answers depend on, ready for JSON."""
        return {
            "study": STUDY,
            "tasks": {questions.task: questions.identity() for questions in self.tasks},
            "model": self.loaded.identity(),
            "dtype": self.loaded.dtype,
            "max_tokens": self.loaded.max_tokens,
            "lm_eval": metadata.version("lm_eval"),
        }

    @property
    def digest(self) -> str:
        """The digest of ``config``."""
        return digest_of(self.config)

    @property
    def default_directory(self) -> Path:
        """``reports/tasks-<model>-<first eight digits of the digest>``."""
        return default_path(STUDY, self.loaded.source["name"], self.digest)


def load_tasks(
    names: Sequence[str],
    *,
    shots: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> tuple[Questions, ...]:
    """The questions of several tasks; the arguments are those of ``load_questions``, and so is what is raised.

    Raises:
        MissingExtraError: lm_eval is not installed; before anything is read.
    """
    check_tasks(names)
    lm_eval.check_installed("actsim tasks")
    return tuple(load_questions(name, shots=shots, limit=limit, seed=seed, data_dir=data_dir) for name in names)


def request_tasks(
    tasks: Sequence[Questions],
    loaded: LoadedModel,
    intervals: Intervals | None = None,
    against: Against | None = None,
) -> Request:
    """Check what is asked for; nothing is written.

    Args:
        tasks: from ``load_tasks``.
        loaded: the model.
        intervals: how intervals are made.
        against: from ``open_against``; the tasks that both runs have are compared.

    Raises:
        ModelError: see ``check_model``.
        UsageError: ``against`` is this very run.
    """
    lm_eval.check_model(loaded)
    request = Request(tuple(tasks), loaded, intervals or Intervals(), against)
    if against is not None and against.run.manifest["digest"] == request.digest:
        raise UsageError(
            f"--against {against.run.directory} is a run of this very model on these tasks; give another model's."
        )
    return request


def run_tasks(
    request: Request,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TableRun:
    """Let the model answer the questions, and write answers and accuracies to a directory.

    A task that is finished is kept: an interrupted run goes on with the next one.

    Args:
        request: from ``request_tasks``.
        out: the run's directory; default ``request.default_directory``.
        fresh: start over where the directory holds a run already, this one or another.
        batch_tokens: padded tokens of a batch; changes no number beyond rounding.
        command: the command line that repeats the run, for its record.
        progress: told of the choices that are scored, and their total.

    Returns:
        The finished run: ``summary``, ``table`` (a row for every question) and its ``directory``.

    Raises:
        ActsimError: see ``RunStore.begin`` and ``answers``.
    """
    directory = Path(out) if out is not None else request.default_directory
    layout = answers_layout(request.digest, {own.task: [one.row for one in own.asked] for own in request.tasks})
    record = circumstances(request.loaded, command) | {"batch_tokens": batch_tokens}
    with RunStore.begin(directory, request.config, layout, record=record, fresh=fresh) as store:
        _answer(request, store, batch_tokens, progress)
        store.update_manifest(command=record["command"])
        summary = _summary(request, store)
        store.finish(None, summary, task_files(summary))
    return open_tasks(directory)


def _answer(request: Request, store: RunStore, batch_tokens: int, progress: Progress | None) -> None:
    """Ask the questions of the tasks that the store misses."""
    missing = store.missing()
    for line in store.warnings:
        LOG.warning("%s: %s It is computed again.", store.directory, line)
    done = sum(own.n_choices for part, own in enumerate(request.tasks) if part not in missing)
    count = pair_counter(progress, done, sum(own.n_choices for own in request.tasks)) if missing else None
    for part in missing:
        rows = lm_eval.answers(request.tasks[part], request.loaded, batch_tokens=batch_tokens, count=count)
        store.write_part(part, answers_table(rows))


def _summary(request: Request, store: RunStore) -> dict[str, Any]:
    """The summary of a run out of its answers."""
    table = store.read_parts()
    names = [questions.task for questions in request.tasks]
    cut = dict.fromkeys(names, 0)
    for task, choices in zip(table["task"].to_pylist(), table["cut"].to_pylist(), strict=True):
        cut[task] += choices > 0
    return {
        "study": STUDY,
        "model": request.config["model"],
        "dtype": request.loaded.dtype,
        "max_tokens": request.loaded.max_tokens,
        "lm_eval": request.config["lm_eval"],
        "level": request.intervals.level,
        "tasks": [
            {"name": name, "harness_task": HARNESS_PREFIX + name, "cut": cut[name], **identity}
            for name, identity in request.config["tasks"].items()
        ],
        "scores": score_rows(table, names, request.intervals),
        "against": None if request.against is None else _differences(request, request.against, table),
        "notes": list(request.loaded.notes),
    }


def _differences(request: Request, against: Against, table: pa.Table) -> dict[str, Any]:
    """What the run is compared with, and how it differs."""
    manifest, intervals = against.run.manifest, request.intervals
    return {
        "model": manifest["config"]["model"],
        "digest": manifest["digest"],
        "left_out": [own.task for own in request.tasks if own.task not in against.common],
        "resamples": intervals.resamples,
        "seed": intervals.seed,
        "differences": difference_rows(table, against.run.table, against.common, intervals),
    }
