"""The splits of a corpus as tables: from the package, the data directory, or the hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actsim.data.corpora import SAMPLE_PREFIX, Corpus
from actsim.data.files import Table
from actsim.data.hub import fetch_snapshot, read_snapshot
from actsim.data.prompt_forms import Row
from actsim.data.sources import hub_record, local_copy_hint, read_local, read_package
from actsim.errors import DataError


def read_split(corpus: Corpus, split: str, folder: Path | None) -> tuple[Table, dict[str, Any]]:
    """The table of a split, and the record of where it came from.

    Args:
        corpus: its declaration.
        split: one of its splits.
        folder: the data directory; None for the hub.

    Raises:
        UsageError: no file for the split.
        DataError: the data is not there, or cannot be read.
    """
    if corpus.hub_id is None:
        return read_package(f"domains/{corpus.name.removeprefix(SAMPLE_PREFIX)}.jsonl", corpus.name)
    if folder is not None:
        return read_local(folder / str(corpus.local_folder), split, corpus.name, corpus.splits)
    revision = str(corpus.hub_revision)
    otherwise = local_copy_hint(str(corpus.local_folder), split)
    files = [corpus.hub_files.format(split=split)]
    snapshot, commit = fetch_snapshot(corpus.hub_id, revision, otherwise=otherwise, files=files)
    table = read_snapshot(snapshot / corpus.hub_folder, split, f"{corpus.name} {split}", first=corpus.hub_rows)
    return table, hub_record(corpus.hub_id, commit, revision)


def require_columns(table: Table, columns: Iterable[str]) -> None:
    """DataError for a column that is not there, or that lacks a value in a row."""
    for column in columns:
        if column not in table.columns:
            raise DataError(
                f"{table.label}: no column {column!r}; found {', '.join(table.columns) or 'none'}. Replace the copy."
            )
        if None in table.columns[column]:
            row = table.columns[column].index(None)
            raise DataError(f"{table.where(row)}: the column {column!r} has no value; replace the copy.")


def row_of(table: Table, number: int) -> Row:
    """The 0-based row ``number`` with its values by column name."""
    return {column: values[number] for column, values in table.columns.items()}
