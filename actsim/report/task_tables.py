"""The tables of a run over tasks: what the terminal shows last, ``tasks.csv`` and ``against.csv``."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from actsim.report.compare_tables import p_text
from actsim.report.tables import csv_text
from actsim.report.terminal import Ink, Page
from actsim.report.wording import Row, counted, interval, number, one_line, percent

TABLE, AGAINST = "tasks.csv", "against.csv"


def task_files(summary: Row) -> dict[str, bytes]:
    """File name -> content: the accuracies, and the differences where there are some, as csv files."""
    files = {TABLE: _csv(summary["scores"])}
    if summary["against"] is not None:
        files[AGAINST] = _csv(summary["against"]["differences"])
    return files


def _csv(rows: list[Row]) -> bytes:
    return csv_text(list(rows[0]), (list(row.values()) for row in rows)).encode()


def tasks_table(summary: Row) -> Page:
    """What ``actsim tasks`` prints last: accuracies by task, then how they differ from the other run's."""
    return Page(lambda ink: _blocks(ink, summary))


def _blocks(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    tasks = {task["name"]: task for task in summary["tasks"]}
    yield ink.text(f"tasks: {one_line(summary['model']['name'])}", "bold")
    yield ink.text(f"lm-eval {summary['lm_eval']}, {summary['dtype']}, at most {summary['max_tokens']} tokens", "dim")
    yield Text()
    columns = ["task", "rows", "shots", "metric", "value", "± se", percent(summary["level"]), "chance"]
    cells = [_score_cells(row, tasks[row["task"]]) for row in summary["scores"]]
    yield ink.table(columns, cells, labels=("task", "metric"))
    for task in summary["tasks"]:
        if task["cut"]:
            yield ink.text(
                f"{task['name']}: the prompts of {counted(task['cut'], 'question')} lost tokens on the left: they are "
                "longer than the model takes."
            )
    rows = ", ".join(f"{task['harness_task']} {task['fingerprint'][:8]}" for task in summary["tasks"])
    yield ink.text(
        f"Prompts are those of lm-evaluation-harness, on these rows: not the figures of its own tasks. Rows: {rows}.",
        "dim",
    )
    if summary["against"] is not None:
        yield from _difference(ink, summary)


def _score_cells(row: Row, task: Row) -> list[str]:
    return [
        row["task"],
        f"{row['n']} of {task['of']}",
        str(task["shots"]),
        row["metric"],
        number(row["value"]),
        number(row["stderr"]),
        interval(row["ci_low"], row["ci_high"]),
        number(row["chance"]),
    ]


def _difference(ink: Ink, summary: Row) -> Iterator[RenderableType]:
    against = summary["against"]
    yield Text()
    yield ink.text(f"against {one_line(against['model']['name'])}", "bold")
    columns = ["task", "there", "diff", percent(summary["level"]), "only", "p", "Holm"]
    yield ink.table(columns, [_difference_cells(row) for row in against["differences"]], labels=("task",))
    yield ink.text(
        f"Intervals: paired bootstrap, {against['resamples']} resamples. only: questions that only this model, and "
        "only the other one answers rightly. p: McNemar's exact test on them; Holm: over all rows.",
        "dim",
    )
    if against["left_out"]:
        yield ink.text(f"not in the other run: {', '.join(against['left_out'])}", "dim")


def _difference_cells(row: Row) -> list[str]:
    return [
        f"{row['task']} {row['metric']}",
        number(row["against"]),
        number(row["difference"], signed=True),
        interval(row["ci_low"], row["ci_high"], signed=True),
        f"{row['only_this']}/{row['only_against']}",
        p_text(row["p"]),
        p_text(row["p_holm"]),
    ]
