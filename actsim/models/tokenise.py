"""Sentences as token ids, cut to a stated number of tokens, with what was cut known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actsim.core.batch import Batch, Tokens, pad
from actsim.errors import DataError, UsageError

if TYPE_CHECKING:
    from actsim.config import Scoring
    from actsim.models.loading import LoadedModel


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


def sentence_batch(model: LoadedModel, texts: Sequence[str], scoring: Scoring) -> Batch:
    """Sentences side by side, in order, cut as ``scoring`` says.

    Raises:
        UsageError: an empty sentence.
    """
    labels = [f"sentence {number}" for number in range(1, len(texts) + 1)]
    for label, text in zip(labels, texts, strict=True):
        if not text.strip():
            raise UsageError(f"{label} is empty; give a text.")
    tokens = tokenise(model.tokenizer, texts, labels, scoring.max_tokens).tokens
    return pad(tokens, labels, pad_token=model.pad_token, device=model.device)
