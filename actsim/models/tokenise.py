"""Sentences as token ids, cut to a stated number of tokens, with what was cut known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actsim.core.batch import Tokens
from actsim.errors import DataError


@dataclass(frozen=True)
class Tokenised:
    """Token ids of each sentence, and which sentences were cut."""

    tokens: tuple[Tokens, ...]
    truncated: tuple[bool, ...]


def tokenise(tokenizer: Any, texts: Sequence[str], labels: Sequence[str], max_tokens: int) -> Tokenised:
    """Token ids with the tokenizer's own special tokens, at most ``max_tokens`` of them.

    Raises:
        DataError: a sentence has no token at all; names it by its label.
    """
    whole = tokenizer(list(texts), add_special_tokens=True, truncation=False, padding=False, verbose=False)["input_ids"]
    tokens, truncated = [], []
    for text, label, ids in zip(texts, labels, whole, strict=True):
        if not ids:
            raise DataError(f"{label}: the sentence {text!r} has no token in this model's vocabulary; remove the pair.")
        cut = len(ids) > max_tokens
        if cut:
            ids = tokenizer(text, add_special_tokens=True, truncation=True, max_length=max_tokens)["input_ids"]
        tokens.append(tuple(ids))
        truncated.append(cut)
    return Tokenised(tuple(tokens), tuple(truncated))
