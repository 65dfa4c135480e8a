"""Pairs and other rows as a ``datasets.Dataset``, and a ``Dataset`` as pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actsim.data.checks import checked_pairs, choose_columns
from actsim.data.files import Table
from actsim.data.pairs import PairSet

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = {"id": "id", "a": "sentence1", "b": "sentence2", "gold": "score"}
"""Role -> column of a Dataset, by the names that mteb uses."""


def as_dataset(parts: Sequence[PairSet]) -> Dataset:
    """One Dataset with the pairs of all parts, one after the other; ids have the part's split in front."""
    from datasets import Dataset

    columns = {
        COLUMNS["id"]: [f"{part.split} {name}" for part in parts for name in part.ids],
        COLUMNS["a"]: [text for part in parts for text in part.sentences_a],
        COLUMNS["b"]: [text for part in parts for text in part.sentences_b],
        COLUMNS["gold"]: [float(score) for part in parts for score in part.gold],
    }
    return Dataset.from_dict(columns)


def pairs_of_dataset(dataset: Dataset, name: str, split: str) -> PairSet:
    """The rows of ``dataset`` as pairs; where it has no column ``id``, the row number is the id.

    Raises:
        DataError: a column is missing, or a row is unfit, see ``load_pairs``; names the row.
    """
    present = {column: list(dataset[column]) for column in COLUMNS.values() if column in dataset.column_names}
    table = Table(f"{name} {split}", present)
    chosen = choose_columns(table, {role: (column,) for role, column in COLUMNS.items()}, {})
    ids, texts_a, texts_b, gold = checked_pairs(table, chosen, None)
    return PairSet(
        name=name,
        split=split,
        ids=tuple(ids),
        rows=tuple(range(len(ids))),
        sentences_a=tuple(texts_a),
        sentences_b=tuple(texts_b),
        gold=gold,
        score_range=None,
        source={"kind": "dataset", "release": None},
        selection={"of": len(ids)},
    )


def rows_dataset(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """A Dataset with these rows, all of which have the same columns."""
    from datasets import Dataset

    return Dataset.from_list([dict(row) for row in rows])
