"""Score parts: the columns of a part, its file, and the proof that a file is the part it claims to be.

A part holds the pairs of one batch group, one row per pair:

    pair                         int32           index into the PairSet
    <measure>                    list<float64>   one value per group (layer, kind); null where the score is undefined
    hidden_mean, hidden_last     list<float64>   one value per layer (baselines)
    embedding                    float64         cosine of the model's own sentence embeddings (baseline)
    tokens_a, tokens_b           int32           tokens scored
    truncated_a, truncated_b     bool            whether the sentence was cut
    readout_a, readout_b         float64         the read-out D of each sentence
    top_token_a, top_token_b     int32           next-token read-out: the token whose logit was taken
    margin_a, margin_b           float64         its logit minus the runner-up's

The file is ``part-00003-<first 16 hex digits of its SHA-256>.parquet``; its schema metadata has the run's digest and
the part's number. Equal rows give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actsim.errors import NumericError, ResumeError
from actsim.store.files import list_directory, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

PARTS_FOLDER = "parts"
WHOLE_LAYER = "all"
HIDDEN_BASELINES = ("hidden_mean", "hidden_last")
EMBEDDING_BASELINE = "embedding"

_REQUIRED = {
    "pair": "int32",
    "tokens_a": "int32",
    "tokens_b": "int32",
    "truncated_a": "bool",
    "truncated_b": "bool",
    "readout_a": "double",
    "readout_b": "double",
}
_OPTIONAL = {
    EMBEDDING_BASELINE: "double",
    "top_token_a": "int32",
    "top_token_b": "int32",
    "margin_a": "double",
    "margin_b": "double",
}
_NULLABLE = (EMBEDDING_BASELINE, "margin_a", "margin_b")
READOUT_COLUMNS = tuple(name for name in (*_REQUIRED, *_OPTIONAL) if name not in ("pair", EMBEDDING_BASELINE))

_FILE_NAME = re.compile(r"part-(\d{5,})-([0-9a-f]{16})\.parquet")


class DamagedPart(Exception):
    """A file that is not the part its name says; the message is the reason."""


def part_number(path: Path) -> int | None:
    """The number in a part file's name, None for any other name."""
    match = _FILE_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def part_name(number: int, data: bytes) -> str:
    """The file name of part ``number`` with the content ``data``."""
    return f"part-{number:05d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"


def encode_parquet(table: pa.Table) -> bytes:
    """A parquet file's bytes, the same for the same table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class Layout(ABC):
    """What the parts of one run have in common, whatever their rows are: their files, and the proof of what they are.

    Attributes:
        digest: of the run's configuration.
        groups: the (layer, kind) that the run has numbers for, by layer.
        counts: number of rows of each part.
    """

    digest: str
    groups: tuple[tuple[int, str], ...]
    counts: tuple[int, ...]

    @property
    @abstractmethod
    def key(self) -> tuple[str, ...]:
        """The columns that tell rows apart and that rows are sorted by."""

    @abstractmethod
    def check(self, number: int, table: pa.Table) -> None:
        """Raise ValueError unless columns, types, nulls and keys of ``table`` are those of part ``number``."""

    @abstractmethod
    def normalise(self, number: int, table: pa.Table) -> pa.Table:
        """``table`` in the one form in which part ``number`` is stored; raises as ``check``, NumericError for values
        that are not finite."""

    @abstractmethod
    def plan(self) -> Sequence[Sequence[Any]]:
        """The keys of the rows of each part, ready for JSON."""

    @abstractmethod
    def is_whole(self, table: pa.Table) -> bool:
        """Whether the rows of all parts together, sorted, are those of the run, each once."""

    @property
    def n_rows(self) -> int:
        """Number of rows of the whole run."""
        return sum(self.counts)

    def plan_digest(self) -> str:
        """Hexadecimal SHA-256 of which rows are in which part."""
        return hashlib.sha256(json.dumps(self.plan()).encode()).hexdigest()

    def sort(self, table: pa.Table) -> pa.Table:
        """``table`` in the order of its keys."""
        return table.sort_by([(name, "ascending") for name in self.key]).combine_chunks()

    def encode(self, number: int, table: pa.Table) -> tuple[str, bytes]:
        """File name and content of part ``number``; raises as ``normalise`` does."""
        stored = self.normalise(number, table).replace_schema_metadata(self._metadata(number))
        data = encode_parquet(stored)
        return part_name(number, data), data

    def decode(self, path: Path, data: bytes) -> pa.Table:
        """The rows of the part file ``path`` with the content ``data``.

        Raises:
            DamagedPart: the content is not what the name promises, or belongs to another run.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = part_number(path)
        if number is None or number >= len(self.counts):
            raise DamagedPart(f"this run has no part of that number, only {len(self.counts)} parts from 0")
        if part_name(number, data) != path.name:
            raise DamagedPart("its checksum does not fit its name")
        try:
            table = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise DamagedPart("it is not a parquet file") from error
        carried = table.schema.metadata or {}
        if any(carried.get(key) != value for key, value in self._metadata(number).items()):
            raise DamagedPart("it carries another run's digest or another part's number")
        try:
            self.check(number, table)
        except ValueError as error:
            raise DamagedPart(str(error)) from error
        return table.replace_schema_metadata(None)

    def _metadata(self, number: int) -> dict[bytes, bytes]:
        return {b"actsim.digest": self.digest.encode(), b"actsim.part": str(number).encode()}


@dataclass(frozen=True)
class PartLayout(Layout):
    """What every part of a run over sentence pairs must look like.

    Attributes:
        measures: names of the score columns; each row has a value per group, of a layer ``"all"`` first.
        part_pairs: the pairs of each part, or None for a reader, who has the counts alone.
    """

    measures: tuple[str, ...]
    part_pairs: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        layers = [layer for layer, _ in self.groups]
        first = [kind for index, (layer, kind) in enumerate(self.groups) if layer not in layers[:index]]
        if not layers or layers != sorted(layers) or len(set(self.groups)) < len(self.groups) or set(first) != {"all"}:
            raise ValueError(f"groups must be distinct (layer, kind), by layer and 'all' first, got {self.groups}")
        if self.part_pairs is not None:
            pairs = sorted(pair for part in self.part_pairs for pair in part)
            if not pairs or pairs != list(range(len(pairs))) or not all(self.part_pairs):
                raise ValueError("the parts must split the pairs 0 … n-1, n > 0, into sets that are not empty")

    @property
    def key(self) -> tuple[str, ...]:
        """The pair."""
        return ("pair",)

    def plan(self) -> list[list[int]]:
        """The pairs of each part."""
        assert self.part_pairs is not None
        return [list(pairs) for pairs in self.part_pairs]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have groups, counted from 1."""
        return tuple(dict.fromkeys(layer for layer, _ in self.groups))

    def widths(self) -> dict[str, int]:
        """The list columns a part can have, and the number of values in each of their rows."""
        return dict.fromkeys(self.measures, len(self.groups)) | dict.fromkeys(HIDDEN_BASELINES, len(self.layers))

    def normalise(self, number: int, table: pa.Table) -> pa.Table:
        """``table`` in the one form in which part ``number`` is stored: columns and rows in order, NaN as null.

        Raises:
            ValueError: names, types, lengths or pairs are not those of the part.
            NumericError: a value is infinite, or NaN where no null is allowed; names the pair and the column.
        """
        import pyarrow as pa

        self.check(number, table)
        order = [
            name for name in (*_REQUIRED, *self.measures, *HIDDEN_BASELINES, *_OPTIONAL) if name in table.schema.names
        ]
        table = self.sort(table.select(order))
        widths = self.widths()
        columns = [_finite(table, name, widths.get(name, 1)) for name in order]
        return pa.table(columns, names=order)

    def check(self, number: int, table: pa.Table) -> None:
        """Raise ValueError unless names, types, list lengths, nulls and pairs of ``table`` are those of the part."""
        import pyarrow.compute as pc

        self._check_columns(table)
        for name, width in self.widths().items():
            if name in table.schema.names and pc.any(pc.not_equal(pc.list_value_length(table[name]), width)).as_py():
                raise ValueError(f"part {number}: column {name} must have {width} values in every row")
        for name in table.schema.names:
            if name not in _NULLABLE and table[name].null_count:
                raise ValueError(f"part {number}: column {name} has a missing row")
        found = sorted(table["pair"].to_pylist())
        if self.part_pairs is None:
            fits = len(found) == self.counts[number]
        else:
            fits = found == sorted(self.part_pairs[number])
        if not fits:
            raise ValueError(
                f"part {number}: {len(found)} rows that are not the {self.counts[number]} pairs of the part"
            )

    def is_whole(self, table: pa.Table) -> bool:
        """Whether every pair is there once."""
        return table["pair"].to_pylist() == list(range(self.n_rows))

    def _check_columns(self, table: pa.Table) -> None:
        lists = dict.fromkeys(self.widths(), "list<double>")
        allowed = _REQUIRED | lists | _OPTIONAL
        types = {field.name: type_name(field.type) for field in table.schema}
        if len(types) < len(table.schema.names):
            raise ValueError(f"a column occurs twice: {', '.join(table.schema.names)}")
        if missing := [name for name in (*_REQUIRED, *self.measures) if name not in types]:
            raise ValueError(f"columns are missing: {', '.join(missing)}")
        wrong = [f"{name} {kind}" for name, kind in types.items() if allowed.get(name) != kind]
        if wrong:
            expected = ", ".join(f"{name} {kind}" for name, kind in allowed.items())
            raise ValueError(f"unexpected columns: {', '.join(wrong)}; allowed: {expected}")


def type_name(kind: pa.DataType) -> str:
    """A column's type as it is written here: ``int32``, ``double``, ``list<double>``."""
    import pyarrow as pa

    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def _finite(table: pa.Table, name: str, width: int) -> Any:
    """Column ``name`` with NaN as null; raises NumericError for what no score can be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name]
    whole = pa.concat_arrays(column.chunks)
    is_list = pa.types.is_list(whole.type)
    values = whole.flatten() if is_list else whole
    if not pa.types.is_floating(values.type):
        return column
    nan_allowed = is_list or name in _NULLABLE
    bad = pc.is_inf(values) if nan_allowed else pc.invert(pc.is_finite(values))
    position = pc.index(bad, True).as_py()
    if position >= 0:
        pair = table["pair"][position // width].as_py()
        raise NumericError(f"pair {pair}, column {name}: {values[position].as_py()} is not a finite number.")
    return nan_as_null(whole, width if is_list else None)


def nan_as_null(column: pa.Array, width: int | None) -> pa.Array:
    """Doubles, or lists of ``width`` doubles each, with NaN as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column if width is None else column.flatten()
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if width is None:
        return values
    return pa.ListArray.from_arrays(pa.array(range(0, len(column) * width + 1, width), pa.int32()), values)


def scan_parts(directory: Path, layout: Layout) -> tuple[dict[int, pa.Table], list[tuple[Path, str]]]:
    """Read and verify every part file of the run in ``directory``.

    Returns:
        The rows of the valid parts by number, and (file, reason) of those that must be computed again or are one
        too many. Files that are not named like a part are passed over.
    """
    valid: dict[int, pa.Table] = {}
    rejected: list[tuple[Path, str]] = []
    columns: list[str] | None = None
    for path in list_directory(directory / PARTS_FOLDER):
        number = part_number(path)
        if number is None:
            continue
        try:
            table = layout.decode(path, read_bytes(path))
        except DamagedPart as error:
            rejected.append((path, str(error)))
            continue
        if number in valid:
            rejected.append((path, "another valid file holds the same part"))
        elif columns is not None and table.schema.names != columns:
            rejected.append((path, "its columns are not those of the other parts"))
        else:
            columns = table.schema.names
            valid[number] = table
    return valid, rejected


def join_parts(parts: Mapping[int, pa.Table], layout: Layout) -> pa.Table:
    """All rows, sorted by their key.

    Raises:
        ResumeError: a part is missing, or a row does not occur exactly once.
    """
    import pyarrow as pa

    n_parts = len(layout.counts)
    if missing := [number for number in range(n_parts) if number not in parts]:
        shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise ResumeError(f"parts missing: {len(missing)} of {n_parts} ({shown}); run the same command again.")
    table = layout.sort(pa.concat_tables(parts[number] for number in range(n_parts)))
    if not layout.is_whole(table):
        raise ResumeError(f"the parts do not hold each of {layout.n_rows} rows exactly once; start over with --fresh.")
    return table
