"""Sentence pairs with gold scores: found, checked row by row, and selected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actsim.data.checks import MIN_PAIRS, checked_pairs, choose_columns
from actsim.data.sources import find_table
from actsim.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class PairSet:
    """Sentence pairs of one split with their gold scores, in the order of the split.

    Attributes:
        name: the benchmark's name, or the file's.
        split: the split's name; ``"all"`` for a file.
        ids: the data set's own ids where it has some, else the row numbers as text.
        rows: 0-based row numbers in the split.
        sentences_a: first sentences, every character as in the data.
        sentences_b: second sentences.
        gold: float64 [n], not writeable.
        score_range: lowest and highest possible score, or None where it is not declared.
        source: ``kind`` (package, local, hub or file) and where the data came from: path or hub id, revision, release,
            sha256 of the file.
        selection: ``{"of": total}``, with ``limit`` and ``seed`` or ``first`` where only some of the rows were taken.
    """

    name: str
    split: str
    ids: tuple[str, ...]
    rows: tuple[int, ...]
    sentences_a: tuple[str, ...]
    sentences_b: tuple[str, ...]
    gold: NDArray[np.float64]
    score_range: tuple[float, float] | None
    source: dict[str, Any]
    selection: dict[str, int]

    def __post_init__(self) -> None:
        """Keep a copy of the gold scores that nobody can write to."""
        gold = np.array(self.gold, dtype=np.float64)
        gold.setflags(write=False)
        object.__setattr__(self, "gold", gold)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.ids)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over ids, texts and gold scores in order; equal exactly when all of these are."""
        digest = hashlib.sha256()
        for pair in zip(self.ids, self.sentences_a, self.sentences_b, self.gold.tolist(), strict=True):
            digest.update(json.dumps(pair).encode("ascii") + b"\n")
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a run's configuration keeps of the data: JSON-ready, and the same on every machine."""
        return {
            "name": self.name,
            "split": self.split,
            "release": self.source.get("release"),
            "selection": dict(self.selection),
            "n": len(self),
            "fingerprint": self.fingerprint(),
        }


def load_pairs(
    dataset: str,
    split: str | None = None,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    first: int | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    release: str | None = None,
    revision: str | None = None,
) -> PairSet:
    """Load sentence pairs with gold scores.

    The whole split is checked before anything is selected from it.

    Args:
        dataset: the name of a benchmark, or a path to a csv, tsv, jsonl or parquet file.
        split: a split of the benchmark; its default split when None.
        data_dir: folder with ``<benchmark's folder>/<split>.jsonl`` (or csv, tsv, parquet). By default what the
            environment variable ACTSIM_DATA_DIR says; where neither is given, benchmarks come from the hub.
        limit: take a random sample of so many pairs without replacement, in their order in the split; all of them if
            there are not more.
        first: take the first so many pairs.
        seed: of the random sample.
        columns: role (``a``, ``b``, ``gold``, ``id``) -> column name, where a column is not called by a known name.
        release: which release of the benchmark; a copy of another release is then an error.
        revision: a hub revision in place of the pinned one.

    Raises:
        UsageError: an unknown name, or options that do not go together.
        DataError: the data is missing or unfit: an empty or missing sentence, a gold score that is missing, not a
            number or out of range, fewer than 3 pairs, a constant gold score. Names the file and the row.
    """
    _check_selection(limit, first)
    source = find_table(dataset, split, data_dir=data_dir, release=release, revision=revision)
    chosen = choose_columns(source.table, source.known_columns, columns or {})
    ids, texts_a, texts_b, gold = checked_pairs(source.table, chosen, source.score_range)
    rows, selection = _select(len(gold), limit, first, seed)
    if np.unique(gold[rows]).size < 2:
        raise DataError(
            f"{source.table.label}: the {len(rows)} selected pairs all have the gold score {gold[rows[0]]:g}; "
            "select more pairs."
        )
    return PairSet(
        name=source.name,
        split=source.split,
        ids=tuple(ids[row] for row in rows),
        rows=tuple(rows),
        sentences_a=tuple(texts_a[row] for row in rows),
        sentences_b=tuple(texts_b[row] for row in rows),
        gold=gold[rows],
        score_range=source.score_range,
        source=source.record,
        selection=selection,
    )


def _check_selection(limit: int | None, first: int | None) -> None:
    if limit is not None and first is not None:
        raise UsageError(f"--limit {limit} and --first {first} exclude each other; give one of them.")
    for option, value in (("--limit", limit), ("--first", first)):
        if value is not None and value < MIN_PAIRS:
            raise UsageError(
                f"{option} must be at least {MIN_PAIRS}, got {value}: a correlation needs that many pairs."
            )


def _select(total: int, limit: int | None, first: int | None, seed: int) -> tuple[list[int], dict[str, int]]:
    """Row numbers in ascending order, and the record of how they were chosen."""
    if limit is not None and limit < total:
        rows = np.random.default_rng(seed).choice(total, size=limit, replace=False)
        return sorted(rows.tolist()), {"limit": limit, "seed": seed, "of": total}
    if first is not None and first < total:
        return list(range(first)), {"first": first, "of": total}
    return list(range(total)), {"of": total}
