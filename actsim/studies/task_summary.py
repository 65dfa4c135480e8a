"""From the answers of a run over tasks to its summary: accuracies, and how they differ from another run's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from actsim.data.choices import CHOICE_TASKS
from actsim.data.questions import Questions
from actsim.errors import UsageError
from actsim.stats.bootstrap import percentile_interval
from actsim.stats.multiple import holm
from actsim.stats.paired import bootstrap_difference, mcnemar, proportion
from actsim.store import TableRun
from actsim.store.answers import open_tasks

if TYPE_CHECKING:
    import pyarrow as pa

Answers = dict[str, NDArray[np.bool_]]
"""``acc`` and ``acc_norm`` -> whether each question is answered rightly, in the order of the rows."""


@dataclass(frozen=True)
class Intervals:
    """How intervals are made.

    Attributes:
        level: their coverage.
        resamples: of the bootstrap of a difference.
        seed: of that bootstrap.
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0


def metrics_of(task: str) -> tuple[str, ...]:
    """What is reported of a task: ``acc``, and ``acc_norm`` where the length of the choices matters."""
    return ("acc", "acc_norm") if CHOICE_TASKS[task].length_matters else ("acc",)


def answers_by_task(table: pa.Table) -> dict[str, Answers]:
    """The right answers of every task of a run."""
    tasks = np.array(table["task"].to_pylist())
    flags = {metric: table[metric].to_numpy() == 1 for metric in ("acc", "acc_norm")}
    return {
        str(task): {metric: right[tasks == task] for metric, right in flags.items()} for task in dict.fromkeys(tasks)
    }


def score_rows(table: pa.Table, tasks: Sequence[str], intervals: Intervals) -> list[dict[str, Any]]:
    """A row for every task and metric: accuracy, standard error, interval, and the accuracy of a blind guess."""
    found, chances = answers_by_task(table), _chances(table)
    rows = []
    for task in tasks:
        for metric in metrics_of(task):
            share = proportion(found[task][metric], intervals.level)
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    "n": len(found[task][metric]),
                    "value": share.value,
                    "stderr": None if math.isnan(share.stderr) else share.stderr,
                    "ci_low": share.low,
                    "ci_high": share.high,
                    "chance": chances[task],
                }
            )
    return rows


def _chances(table: pa.Table) -> dict[str, float]:
    """Task -> the mean over its questions of one over the number of choices."""
    found: dict[str, list[float]] = {}
    for task, logs in zip(table["task"].to_pylist(), table["loglikelihoods"].to_pylist(), strict=True):
        found.setdefault(task, []).append(1 / len(logs))
    return {task: sum(chances) / len(chances) for task, chances in found.items()}


@dataclass(frozen=True, eq=False)
class Against:
    """The finished run that another one is compared with.

    Attributes:
        run: that run.
        common: the tasks that both have, on the same questions.
    """

    run: TableRun
    common: tuple[str, ...]


def open_against(directory: str | Path, tasks: Sequence[Questions]) -> Against:
    """Open the finished run in ``directory`` to compare these tasks with.

    Raises:
        UsageError: there is no run over tasks; it has none of these, or has one on other questions.
        ResumeError: the run is not finished, or damaged.
    """
    run = open_tasks(directory)
    theirs = run.manifest["config"]["tasks"]
    ours = {questions.task: questions.identity() for questions in tasks}
    common = tuple(task for task in ours if task in theirs)
    if not common:
        raise UsageError(f"--against {directory}: it has {', '.join(theirs)}, and none of {', '.join(ours)}.")
    for task in common:
        if ours[task]["fingerprint"] != theirs[task]["fingerprint"]:
            raise UsageError(
                f"--against {directory}: its questions of {task} are others ({_asked(theirs[task])}; here "
                f"{_asked(ours[task])}); run both with the same --limit, --shots, --seed and data."
            )
    return Against(run, common)


def _asked(identity: Mapping[str, Any]) -> str:
    return f"{identity['n']} of {identity['of']} rows, shots {identity['shots']}, seed {identity['seed']}"


def difference_rows(
    table: pa.Table, other: pa.Table, tasks: Sequence[str], intervals: Intervals
) -> list[dict[str, Any]]:
    """A row for every task and metric: both accuracies, their difference and its interval, McNemar's test.

    Args:
        table, other: the answers of both runs.
        tasks: those that both have, on the same questions.
        intervals: how they are made; every row has a bootstrap of its own.

    Returns:
        Rows whose ``p_holm`` are Holm's p-values over all of them.
    """
    ours, theirs = answers_by_task(table), answers_by_task(other)
    rows: list[dict[str, Any]] = []
    for task in tasks:
        for metric in metrics_of(task):
            right, against = ours[task][metric], theirs[task][metric]
            test = mcnemar(right, against)
            rng = np.random.default_rng((intervals.seed, len(rows)))
            drawn = bootstrap_difference(right, against, resamples=intervals.resamples, rng=rng)
            ends = percentile_interval(drawn, intervals.level)
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    "n": len(right),
                    "value": float(right.mean()),
                    "against": float(against.mean()),
                    "difference": (test.only_a - test.only_b) / len(right),
                    "ci_low": ends.low,
                    "ci_high": ends.high,
                    "only_this": test.only_a,
                    "only_against": test.only_b,
                    "p": test.p,
                }
            )
    adjusted = holm(np.array([row["p"] for row in rows]))
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]
