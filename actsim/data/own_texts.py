"""Texts of the user's own: files that a pattern matches, a column of a table, a column of a hub data set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actsim.data.checks import checked_text
from actsim.data.corpora import CORPORA, TEXT_COLUMN
from actsim.data.files import FORMATS, Table, decode, read_bytes, read_table
from actsim.data.hub import fetch_snapshot, read_snapshot
from actsim.data.sources import hub_record
from actsim.errors import DataError, UsageError

HUB_PREFIX = "hf:"
HUB_BRANCH = "main"


@dataclass(frozen=True)
class OwnTexts:
    """Texts with their ids, and where they came from; the attributes are those of ``Domain``."""

    name: str
    texts: tuple[str, ...]
    ids: tuple[str, ...]
    packed: bool
    split: str | None
    source: dict[str, Any]


def read_own_texts(name: str, place: str) -> OwnTexts:
    """Read what stands behind ``NAME=``, see ``actsim.data.domains.load_domain``.

    Raises:
        UsageError: a name that is not fit, a pattern that no file matches, or a place that cannot be understood.
        DataError: the data cannot be read, or a text is missing or empty.
    """
    if not name.strip() or ":" in name or name in CORPORA:
        raise UsageError(
            f"{name}={place}: {name!r} cannot name texts of your own (it is empty, the name of a corpus, or has a "
            "colon); choose another name."
        )
    if place.startswith(HUB_PREFIX):
        return _hub_texts(name, place)
    pattern, column = _split_column(place)
    files = _matching(Path(pattern).expanduser())
    if not files:
        raise UsageError(
            f"{name}={place}: no file matches {pattern!r}; correct it (the working directory is {Path.cwd()})."
        )
    tables = [path for path in files if path.suffix.lower() in FORMATS]
    if not tables:
        return _running_text(name, files)
    if len(files) > 1:
        raise UsageError(
            f"{name}={place}: {len(files)} files match, among them the table {tables[0].name}; give one table, or a "
            "pattern for text files alone."
        )
    return _rows(name, read_table(files[0]), column)


def _split_column(place: str) -> tuple[str, str | None]:
    """``file.jsonl:column`` as its two parts; a colon elsewhere belongs to the path."""
    path, colon, column = place.rpartition(":")
    if colon and Path(path).suffix.lower() in FORMATS:
        return path, column
    return place, None


def _matching(pattern: Path) -> list[Path]:
    """The files that a path with or without wildcards stands for, in order."""
    if pattern.is_file():
        return [pattern]
    if pattern.is_dir():
        raise UsageError(f"{pattern} is a folder; give a pattern for files in it, such as {pattern / '*.txt'}.")
    start = Path(pattern.anchor or ".")
    try:
        return sorted(path for path in start.glob(str(pattern.relative_to(pattern.anchor))) if path.is_file())
    except ValueError as error:
        raise UsageError(f"{pattern}: not a pattern ({error}); write e.g. texts/**/*.txt.") from error


def _running_text(name: str, files: Sequence[Path]) -> OwnTexts:
    """Each file as a piece of running text; blank files are left out."""
    texts, ids, digest = [], [], hashlib.sha256()
    root = os.path.commonpath([path.parent for path in files])
    names = [path.relative_to(root).as_posix() for path in files]
    for path, file_name in zip(files, names, strict=True):
        data = read_bytes(path, file_name)
        digest.update(hashlib.sha256(data).digest())
        text = decode(data, file_name).replace("\r\n", "\n").rstrip("\n")
        if text.strip():
            texts.append(checked_text(text, file_name, "the text"))
            ids.append(file_name)
    if not texts:
        raise DataError(f"{name}: {len(files)} files match and none has text; give others.")
    source = {"kind": "file", "path": names, "sha256": digest.hexdigest()}
    return OwnTexts(name, tuple(texts), tuple(ids), True, None, source)


def _rows(name: str, table: Table, column: str | None) -> OwnTexts:
    """A column of a table, a text a row."""
    column = column or TEXT_COLUMN
    source = {"kind": "file", "path": table.label, "column": column, "sha256": table.sha256}
    return OwnTexts(name, *_column_texts(table, column), False, None, source)


def _column_texts(table: Table, column: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts of a column and their row numbers."""
    if not len(table):
        raise DataError(f"{table.label}: the file is empty; give one with texts.")
    if column not in table.columns:
        raise DataError(
            f"{table.label}: no column {column!r}; found {', '.join(table.columns)}. Write the column behind a colon."
        )
    values = table.columns[column]
    texts = [checked_text(value, table.where(row), f"the text (column {column!r})") for row, value in enumerate(values)]
    return tuple(texts), tuple(map(str, range(len(texts))))


def _hub_texts(name: str, place: str) -> OwnTexts:
    """``hf:owner/name[@revision][/folder]:split:column``."""
    parts = place.removeprefix(HUB_PREFIX).split(":")
    path = parts[0].split("/", 2)
    if len(parts) != 3 or not all(parts) or len(path) < 2:
        raise UsageError(
            f"{name}={place}: not understood; write {HUB_PREFIX}owner/name:split:column, with owner/name@REVISION for "
            "a revision and owner/name/folder for a folder."
        )
    _, split, column = parts
    last, _, revision = path[1].partition("@")
    hub_id, folder = f"{path[0]}/{last}", "/".join(path[2:])
    asked = revision or HUB_BRANCH
    snapshot, commit = fetch_snapshot(hub_id, asked, otherwise="give a file instead")
    if not (snapshot / folder).is_dir():
        raise UsageError(f"{hub_id}: no folder {folder!r} at {commit}; correct it, or leave it out.")
    table = read_snapshot(snapshot / folder, split, f"{hub_id} {split}")
    texts, ids = _column_texts(table, column)
    return OwnTexts(name, texts, ids, False, split, {**hub_record(hub_id, commit, asked), "column": column})
