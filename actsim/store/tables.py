"""Parts of runs over samples of domains: rows of named columns, told apart by their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actsim.errors import NumericError
from actsim.store.parts import Layout, nan_as_null, type_name

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Column:
    """One column of a part.

    Attributes:
        name: of the column.
        type: ``string``, ``int32``, ``int64``, ``double``, or ``list<…>`` of one of them.
        width: values in every row of a list.
        nullable: whether a value may be undefined: a NaN, stored as null. Doubles only.
    """

    name: str
    type: str
    width: int | None = None
    nullable: bool = False


@dataclass(frozen=True)
class TableLayout(Layout):
    """What every part of a run looks like whose rows are told apart by some of its columns.

    Attributes:
        columns: all columns, in order.
        keys: the names of those that tell rows apart.
        rows: the keys of the rows of each part, or None for a reader, who has the counts alone.
    """

    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    rows: tuple[tuple[Key, ...], ...] | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell rows apart."""
        return self.keys

    def plan(self) -> list[list[list[str | int]]]:
        """The keys of the rows of each part."""
        assert self.rows is not None
        return [[list(key) for key in part] for part in self.rows]

    def check(self, number: int, table: pa.Table) -> None:
        """Raise ValueError unless names, types, list lengths, nulls and keys of ``table`` are those of the part."""
        import pyarrow.compute as pc

        found = [(field.name, type_name(field.type)) for field in table.schema]
        wanted = [(column.name, column.type) for column in self.columns]
        if sorted(found) != sorted(wanted):
            raise ValueError(f"part {number}: columns {found} instead of {wanted}")
        for column in self.columns:
            values = table[column.name]
            if not column.nullable and values.null_count:
                raise ValueError(f"part {number}: column {column.name} has a missing row")
            if column.width is not None and pc.any(pc.not_equal(pc.list_value_length(values), column.width)).as_py():
                raise ValueError(f"part {number}: column {column.name} must have {column.width} values in every row")
        keys = Counter(self._keys_of(table))
        fits = len(keys) == table.num_rows == self.counts[number]
        if not fits or (self.rows is not None and keys != Counter(self.rows[number])):
            raise ValueError(f"part {number}: its rows are not the {self.counts[number]} of the part")

    def normalise(self, number: int, table: pa.Table) -> pa.Table:
        """``table`` in the one form in which part ``number`` is stored: columns and rows in order, NaN as null.

        Raises:
            ValueError: see ``check``.
            NumericError: a value is infinite, or NaN where it may not be undefined; names the row and the column.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        self.check(number, table)
        table = self.sort(table.select([column.name for column in self.columns]))
        columns = []
        for column in self.columns:
            values = table[column.name].combine_chunks()
            plain = values.flatten() if column.width is not None else values
            if pa.types.is_floating(plain.type):
                bad = pc.is_inf(plain) if column.nullable else pc.invert(pc.is_finite(plain))
                position = pc.index(bad, True).as_py()
                if position >= 0:
                    row = position // (column.width or 1)
                    raise NumericError(
                        f"{self._place(table, row)}, column {column.name}: {plain[position].as_py()} is not a finite "
                        "number; use --dtype float32."
                    )
                if column.nullable:
                    values = nan_as_null(values, column.width)
            columns.append(values)
        return pa.table(columns, names=[column.name for column in self.columns])

    def is_whole(self, table: pa.Table) -> bool:
        """Whether the rows of all parts differ in their keys; how many each part has is known."""
        return len(set(self._keys_of(table))) == table.num_rows

    def _keys_of(self, table: pa.Table) -> Iterator[tuple[Any, ...]]:
        return zip(*(table[name].to_pylist() for name in self.keys), strict=True)

    def _place(self, table: pa.Table, row: int) -> str:
        return ", ".join(f"{name} {table[name][row].as_py()}" for name in self.keys)
