"""Small pair sets out of the words that the tiny models' tokenizer knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tiny_models

from actsim.data.pairs import PairSet

OLD_DOG, YOUNG_CAT, BIRDS, WOMAN, MAN, BOAT = tiny_models.SENTENCES

PAIRS = (
    (OLD_DOG, YOUNG_CAT),
    (MAN, BOAT),
    (BIRDS, WOMAN),
    (OLD_DOG, "the old horse sleeps near the tree"),
    (BOAT, BOAT),
    (WOMAN, "the woman sings"),
    (YOUNG_CAT, OLD_DOG),
    ("horse", BOAT),
)
"""Lengths from one word to fifteen; one sentence with itself; sentences that occur several times."""


def pair_set(pairs: Sequence[tuple[str, str]] = PAIRS) -> PairSet:
    """The pairs with gold scores 0, 1, …, and their positions as ids."""
    rows = tuple(range(len(pairs)))
    return PairSet(
        name="tiny",
        split="all",
        ids=tuple(f"p{row}" for row in rows),
        rows=rows,
        sentences_a=tuple(a for a, _ in pairs),
        sentences_b=tuple(b for _, b in pairs),
        gold=np.arange(len(pairs), dtype=np.float64),
        score_range=None,
        source={"kind": "file"},
        selection={"of": len(pairs)},
    )
