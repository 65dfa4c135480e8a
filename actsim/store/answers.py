"""The rows of a run over tasks: what a model answered to every question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.store.reading import TableRun, open_table
from actsim.store.tables import Column, TableLayout

if TYPE_CHECKING:
    import pyarrow as pa

STUDY = "tasks"
KEYS = ("task", "row")
ANSWER_COLUMNS = (
    Column("task", "string"),
    Column("row", "int32"),
    Column("group", "string"),
    Column("right", "int32"),
    Column("chosen", "int32"),
    Column("acc", "int32"),
    Column("acc_norm", "int32"),
    Column("cut", "int32"),
    Column("loglikelihoods", "list<double>"),
)
"""Row of the split and the group it belongs to; the right choice and the one with the largest log-likelihood, from 0;
whether choosing by log-likelihood, and by log-likelihood per character, is right (0 or 1); for how many choices the
prompt was cut; the log-likelihood of every choice."""


def answers_layout(digest: str, rows: Mapping[str, Sequence[int]]) -> TableLayout:
    """What the parts of a run look like: one for every task.

    Args:
        digest: of the run's configuration.
        rows: task -> the rows of the split that are asked.
    """
    keys = tuple(tuple((task, row) for row in numbers) for task, numbers in rows.items())
    return TableLayout(digest, (), tuple(map(len, keys)), ANSWER_COLUMNS, KEYS, keys)


def answers_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of a part as a table."""
    import pyarrow as pa

    types = {"string": pa.string(), "int32": pa.int32(), "list<double>": pa.list_(pa.float64())}
    schema = pa.schema([(column.name, types[column.type]) for column in ANSWER_COLUMNS])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def open_tasks(directory: str | Path) -> TableRun:
    """Open the finished run over tasks in ``directory``; raises as ``open_table``."""
    return open_table(directory, STUDY, lambda manifest: ANSWER_COLUMNS, KEYS)
