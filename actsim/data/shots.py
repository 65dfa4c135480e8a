"""Solved examples in front of a question: where they come from, and which of them a question gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actsim.data.corpora import Corpus
from actsim.data.corpus_files import read_split, require_columns, row_of
from actsim.data.files import Table
from actsim.data.prompt_forms import PromptForm, Row
from actsim.errors import DataError

SET_ASIDE = 4
"""One in so many rows is kept for solved examples where they come from the split that is sampled."""


@dataclass(frozen=True)
class SolvedExamples:
    """Rows that solved examples are drawn from.

    Attributes:
        corpus: the corpus's name.
        form: how its rows are asked and answered.
        rows: the rows.
        aside: those row numbers of the sampled split that are set aside for examples, and are not sampled.
        source: where the rows are from, for the manifest.
    """

    corpus: str
    form: PromptForm
    rows: tuple[Row, ...]
    aside: frozenset[int]
    source: dict[str, Any]

    def drawer(self, count: int, seed: int) -> Callable[[Row, int], list[Row]]:
        """A function from a row and its number to its examples, which depend on the seed and the number alone.

        Raises:
            DataError (the function): fewer than ``count`` examples are there for the row.
        """
        group = self.form.group
        by_group: dict[Any, list[Row]] = {}
        for row in self.rows:
            by_group.setdefault(row[group] if group else None, []).append(row)

        def draw(row: Row, number: int) -> list[Row]:
            fit = by_group.get(row[group] if group else None, [])
            if len(fit) < count:
                shared = f" with {group} {row[group]!r}" if group else ""
                raise DataError(
                    f"{self.corpus}: {count} solved examples wanted, {len(fit)} available{shared}; "
                    "give a smaller --shots."
                )
            order = np.random.default_rng((seed, number))
            return [fit[place] for place in order.choice(len(fit), size=count, replace=False)]

        return draw


def solved_examples(
    corpus: Corpus, form: PromptForm, split: str, table: Table, seed: int, folder: Path | None
) -> SolvedExamples:
    """The rows of the corpus's split for examples, or a quarter of ``table``, drawn by ``seed`` and set aside.

    Args:
        corpus: its declaration.
        form: its prompt form.
        split: the split that is sampled.
        table: its rows.
        seed: by which rows are set aside.
        folder: the data directory; None for the hub.

    Raises:
        UsageError, DataError: as ``read_split``; or a column or value is missing.
    """
    columns = (*form.columns, *form.answer_columns)
    if corpus.shot_split not in (None, split):
        other, source = read_split(corpus, str(corpus.shot_split), folder)
        require_columns(other, columns)
        rows = tuple(row_of(other, number) for number in range(len(other)))
        return SolvedExamples(corpus.name, form, rows, frozenset(), {"split": corpus.shot_split, **source})
    require_columns(table, columns)
    aside = np.random.default_rng(seed).permutation(len(table))[: len(table) // SET_ASIDE].tolist()
    rows = tuple(row_of(table, number) for number in sorted(aside))
    return SolvedExamples(corpus.name, form, rows, frozenset(aside), {"split": split, "set_aside": len(aside)})
