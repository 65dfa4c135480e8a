"""Tables out of csv, tsv, jsonl and parquet files, with every character of the text kept.

Text files are UTF-8, with or without a byte order mark. Their lines end in ``\\n`` or ``\\r\\n``; no other character
ends a line, so form feeds, U+0085, U+2028 and the like stay inside the text. No value is taken for missing because of
how it is spelled: ``NA`` and ``null`` are text. A byte sequence that is not UTF-8 is an error that names its place,
since no tokenizer can read it.

csv fields may be quoted as in RFC 4180; tsv has no quoting at all, so unbalanced quotes are text; jsonl is one JSON
object per line.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Table:
    """Columns of equal length, and what is needed to speak of their rows.

    Attributes:
        label: how the file is called in messages.
        columns: column name -> values, None where a value is missing.
        lines: for text files the 1-based line on which each row starts, otherwise None.
        sha256: of the file's bytes; None where the table does not come out of one file.
    """

    label: str
    columns: dict[str, list[Any]]
    lines: tuple[int, ...] | None = None
    sha256: str | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def where(self, row: int) -> str:
        """How the 0-based ``row`` is named in a message: ``pairs.csv: data row 3 (line 4)``."""
        line = f" (line {self.lines[row]})" if self.lines is not None else ""
        return f"{self.label}: data row {row + 1}{line}"


def read_table(path: str | Path, *, label: str | None = None) -> Table:
    """Read a csv, tsv, jsonl or parquet file.

    Args:
        path: the file; its ending decides how it is read (see FORMATS).
        label: how to call the file in messages; its name by default.

    Raises:
        UsageError: the ending is not known.
        DataError: the file cannot be read, is not UTF-8, or a row does not have the header's fields; names the line.
    """
    path = Path(path)
    label = label or path.name
    parse = FORMATS.get(path.suffix.lower())
    if parse is None:
        raise UsageError(
            f"{label}: a file ending in {path.suffix or 'nothing'!r} cannot be read; "
            f"allowed: {', '.join(FORMATS)}. Rename or convert it."
        )
    return parse(read_bytes(path, label), label)


def read_bytes(path: Path, label: str) -> bytes:
    """The bytes of a file; DataError, with ``label``, when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{label}: cannot be read ({error.strerror or error}); check the path.") from error


def parse_csv(data: bytes, label: str) -> Table:
    """Parse comma-separated values with a header line, quoted as in RFC 4180."""
    text = decode(data, label)
    reader = csv.reader(_lines_with_ends(text), strict=True)
    records: list[list[str]] = []
    starts: list[int] = []
    start = 1
    try:
        for record in reader:
            records.append(record)
            starts.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{label}: line {start}: not valid csv ({error}); quote fields as in RFC 4180, or save the file as tsv, "
            "which is read without quoting."
        ) from error
    while records and not records[-1]:
        records.pop()
    return _from_records(records, starts, data, label)


def parse_tsv(data: bytes, label: str) -> Table:
    """Parse tab-separated values with a header line; quotes are text, and a field holds no tab and no line end."""
    lines = _lines(decode(data, label))
    return _from_records([line.split("\t") for line in lines], list(range(1, len(lines) + 1)), data, label)


def parse_jsonl(data: bytes, label: str) -> Table:
    """Parse one JSON object per line; a key that a line lacks is a missing value."""
    rows: list[dict[str, Any]] = []
    lines = _lines(decode(data, label))
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line, strict=False)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{label}: line {number}: not valid JSON ({error.msg} at character {error.pos}); "
                "write one object a line."
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{label}: line {number}: a JSON {type(row).__name__}, not an object; write one object a line."
            )
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(label, columns, tuple(range(1, len(rows) + 1)), hashlib.sha256(data).hexdigest())


def parse_parquet(data: bytes, label: str) -> Table:
    """Parse a parquet file; its nulls are missing values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{label}: not a readable parquet file ({_first_line(error)}); write it again.") from error
    return Table(label, arrow_columns(table), None, hashlib.sha256(data).hexdigest())


FORMATS: dict[str, Callable[[bytes, str], Table]] = {
    ".csv": parse_csv,
    ".tsv": parse_tsv,
    ".jsonl": parse_jsonl,
    ".json": parse_jsonl,
    ".parquet": parse_parquet,
}
"""File ending -> parser of the file's bytes."""


def arrow_columns(table: pa.Table) -> dict[str, list[Any]]:
    """Python values of an arrow table's columns.

    A float of less than 64 bits becomes the shortest decimal that stands for it (3.6, not 3.5999999046325684), so that
    a copy which stores scores in float32 gives the numbers that were written in the first place.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_float16(column.type) or pa.types.is_float32(column.type):
            narrow = column.type.to_pandas_dtype()
            columns[name] = [None if value is None else float(str(narrow(value))) for value in column.to_pylist()]
        else:
            columns[name] = column.to_pylist()
    return columns


def _from_records(records: list[list[str]], starts: list[int], data: bytes, label: str) -> Table:
    """Columns out of a header record and data records of the same number of fields."""
    if not records:
        raise DataError(f"{label}: the file is empty; the first line must name the columns.")
    header, body = records[0], records[1:]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{label}: line 1 names the column {twice[0]!r} twice; rename one of them.")
    for record, line in zip(body, starts[1:], strict=False):
        if len(record) != len(header):
            if len(header) == 1 and ";" in header[0]:
                raise DataError(f"{label}: the columns are separated by semicolons; write them with commas or tabs.")
            raise DataError(
                f"{label}: line {line} has {len(record)} fields, the header has {len(header)} "
                f"({', '.join(header)}); correct the line."
            )
    columns = {name: [record[index] for record in body] for index, name in enumerate(header)}
    return Table(label, columns, tuple(starts[1 : len(records)]), hashlib.sha256(data).hexdigest())


def decode(data: bytes, label: str) -> str:
    """Text of UTF-8 bytes without the byte order mark; DataError at the first byte that is not UTF-8."""
    offset = len(_BOM) if data.startswith(_BOM) else 0
    try:
        return data[offset:].decode("utf-8")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{label}: the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8.") from error
        place = offset + error.start
        line = data.count(b"\n", 0, place) + 1
        raise DataError(
            f"{label}: line {line}: byte 0x{data[place]:02x} at offset {place} is not UTF-8; convert the file, e.g. "
            "iconv -f WINDOWS-1252 -t UTF-8."
        ) from error


def _lines(text: str) -> list[str]:
    """Lines without their ends (``\\n`` or ``\\r\\n``); blank lines at the end of the file are left out."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _lines_with_ends(text: str) -> Iterator[str]:
    """Lines with their ``\\n``, the only character that ends one."""
    for line in text.split("\n"):
        yield line + "\n"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
