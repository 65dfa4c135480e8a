"""Samples and domains out of the words that the tiny models' tokenizer knows."""

from __future__ import annotations

from collections.abc import Sequence

import tiny_models

from actsim.core.batch import Tokens
from actsim.data.domains import Domain
from actsim.models.sampling import Samples

TEXTS = (
    *tiny_models.SENTENCES,
    "the small dog runs near the river",
    "three horses and a green boat on the river",
    "an old woman sings",
    "the train is slow",
)


def samples_of(name: str, tokens: Sequence[Tokens]) -> Samples:
    """Samples with these tokens, called s0, s1, …"""
    return Samples(
        domain=name,
        tokens=tuple(tokens),
        ids=tuple(f"s{number}" for number in range(len(tokens))),
        truncated=0,
        available=len(tokens),
        max_tokens=max(map(len, tokens)),
        seed=0,
        source={"name": name},
    )


def drawn(name: str = "tales", texts: Sequence[str] = TEXTS) -> Samples:
    """The texts, tokenised, in their order."""
    tokenizer = tiny_models.tokenizer()
    return samples_of(name, [tuple(tokenizer(text)["input_ids"]) for text in texts])


def domain(name: str, texts: Sequence[str] = TEXTS, *, packed: bool = False) -> Domain:
    """A domain of these texts."""
    ids = tuple(str(row) for row in range(len(texts)))
    return Domain(name, tuple(texts), ids, packed, None, 0, None, 0, {"kind": "file", "path": name})
