"""Which columns hold the pairs, and whether every row of them is fit for a correlation."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actsim.data.files import Table
from actsim.errors import DataError, UsageError
from actsim.registry import unknown_name

ROLES = {"a": "first sentence", "b": "second sentence", "gold": "gold score", "id": "id"}
OPTIONAL_ROLES = ("id",)
MIN_PAIRS = 3
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def choose_columns(table: Table, known: Mapping[str, Sequence[str]], given: Mapping[str, str]) -> dict[str, str]:
    """The column of each role: the given one, else the only one with a known name.

    Args:
        table: the data.
        known: role -> names to look for; a role that is absent here is looked for only if given.
        given: role -> column name, from the user.

    Raises:
        UsageError: ``given`` has an unknown role, or one column for two roles.
        DataError: a column is not there, or two columns could be meant; lists the columns found.
    """
    for role in given:
        if role not in ROLES:
            raise unknown_name("column role", role, ROLES, "Pass e.g. --columns a=left,b=right,gold=score.")
    chosen: dict[str, str] = {}
    for role, what in ROLES.items():
        names = [given[role]] if role in given else list(known.get(role, ()))
        present = [name for name in names if name in table.columns]
        if len(present) > 1:
            both = " and ".join(repr(name) for name in present)
            raise DataError(f"{table.label}: columns {both} could each be the {what}. Pass --columns {role}=NAME.")
        if present:
            chosen[role] = present[0]
        elif role in given or role not in OPTIONAL_ROLES:
            raise DataError(
                f"{table.label}: no column {names[0]!r}; found {', '.join(table.columns) or 'none'}. "
                f"Pass --columns {role}=NAME."
            )
    for role, name in chosen.items():
        twins = [other for other in chosen if chosen[other] == name and other != role]
        if twins:
            raise UsageError(f"columns {role} and {twins[0]} are both {name!r}; give each a column of its own.")
    return chosen


def checked_pairs(
    table: Table, chosen: Mapping[str, str], score_range: tuple[float, float] | None
) -> tuple[list[str], list[str], list[str], NDArray[np.float64]]:
    """Ids, first sentences, second sentences and gold scores of all rows of a table.

    Args:
        table: the data.
        chosen: role -> column name; without an ``id`` the 0-based row number is the id.
        score_range: lowest and highest possible gold score, where they are declared.

    Raises:
        DataError: fewer than 3 rows; an empty or missing sentence, or one with a NUL character; a gold score that is
            missing, not a finite number, out of range, or the same in all rows; an id that two rows have. Names the
            first row concerned.
    """
    total = len(table)
    if total < MIN_PAIRS:
        raise DataError(f"{table.label}: {total} pairs; a correlation needs at least {MIN_PAIRS}. Add pairs.")
    ids: list[str] = []
    texts_a: list[str] = []
    texts_b: list[str] = []
    gold = np.empty(total)
    for row in range(total):
        texts_a.append(_text(table, row, "a", chosen["a"]))
        texts_b.append(_text(table, row, "b", chosen["b"]))
        gold[row] = _number(table, row, chosen["gold"])
        ids.append(_identifier(table, row, chosen["id"]) if "id" in chosen else str(row))
    _refuse_repeated(table, ids, chosen.get("id"))
    if score_range is not None:
        _check_range(table, gold, chosen["gold"], score_range)
    if gold.min() == gold.max():
        raise DataError(
            f"{table.label}: every gold score (column {chosen['gold']!r}) is {gold[0]:g}; "
            "a rank correlation needs scores that differ."
        )
    return ids, texts_a, texts_b, gold


def _text(table: Table, row: int, role: str, column: str) -> str:
    return checked_text(table.columns[column][row], table.where(row), f"the {ROLES[role]} (column {column!r})")


def checked_text(value: object, where: str, what: str) -> str:
    """``value`` when it is a text that a tokenizer can read and that is not blank.

    Args:
        value: what stands in the data.
        where: file and row, for the message.
        what: the text's part there, for the message.

    Raises:
        DataError: it is missing, blank, no text, or holds a NUL character or half of a surrogate pair.
    """
    if isinstance(value, str) and value.strip():
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise DataError(f"{where}: {what} has half of a surrogate pair; correct it.")
        if "\0" in value:
            raise DataError(f"{where}: {what} has a NUL character; remove it.")
        return value
    state = "missing" if value is None else "empty" if isinstance(value, str) else f"not text but {_kind(value)}"
    raise DataError(f"{where}: {what} is {state}; fill it or remove the row.")


def _number(table: Table, row: int, column: str) -> float:
    value = table.columns[column][row]
    number = math.nan
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value) if abs(value) <= sys.float_info.max else math.inf
    if math.isfinite(number):
        return number
    missing = value is None or (isinstance(value, str) and not value.strip())
    state = "missing" if missing else f"{value!r}, not a finite number"
    raise DataError(f"{table.where(row)}: the gold score (column {column!r}) is {state}; correct it or remove the row.")


def _identifier(table: Table, row: int, column: str) -> str:
    value = table.columns[column][row]
    if value is None or value == "":
        raise DataError(f"{table.where(row)}: the id (column {column!r}) is missing; fill it or rename the column.")
    return str(value)


def _refuse_repeated(table: Table, ids: Sequence[str], column: str | None) -> None:
    """DataError for an id that two rows have: a message or a result that names it would mean either."""
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if first.setdefault(name, row) != row:
            raise DataError(
                f"{table.where(row)}: the id {name!r} (column {column!r}) is that of data row {first[name] + 1} "
                "already; make the ids unique, or rename the column to number the rows instead."
            )


def _kind(value: object) -> str:
    return "a number" if isinstance(value, (int, float)) else f"of type {type(value).__name__}"


def _check_range(table: Table, gold: NDArray[np.float64], column: str, score_range: tuple[float, float]) -> None:
    """DataError for scores outside of the declared range, or plainly on a scale of 0 to 1 instead of it."""
    low, high = score_range
    outside = np.flatnonzero((gold < low) | (gold > high))
    if outside.size:
        row = int(outside[0])
        raise DataError(
            f"{table.where(row)}: the gold score (column {column!r}) is {gold[row]:g}, outside of {low:g} to {high:g}; "
            "use a copy with the original scores."
        )
    if gold.max() <= 1 < high:
        raise DataError(
            f"{table.label}: no gold score (column {column!r}) is above 1 on a scale of {low:g} to {high:g}: "
            f"this copy seems to be rescaled (score / {high:g}); use one with the original scores."
        )
