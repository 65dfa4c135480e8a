"""Sentences as token ids, cut to a stated number of tokens, with what was cut known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actsim.config import PLAIN
from actsim.core.batch import Batch, Prompt, Tokens, pad
from actsim.errors import DataError, UsageError
from actsim.models.controls import shuffle, special_tokens
from actsim.models.prompts import Template, tokenise_prompts

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


def tokenise_for(model: LoadedModel, texts: Sequence[str], labels: Sequence[str], scoring: Scoring) -> Tokenised:
    """Sentences as ``model`` reads them: in the template of ``scoring``, cut to its length, in a control's order.

    Raises:
        UsageError: a template for an encoder; see also ``tokenise_prompts``.
        DataError: a sentence has no token at all; names it by its label.
    """
    check_template(model, scoring)
    if scoring.template == PLAIN:
        found = tokenise(model.tokenizer, texts, labels, scoring.max_tokens)
    else:
        template = Template.of(scoring.template)
        prompts, truncated = tokenise_prompts(model.tokenizer, template, texts, labels, scoring.max_tokens)
        found = Tokenised(tuple(prompts), tuple(truncated))
    return Tokenised(tuple(in_control_order(model, tokens) for tokens in found.tokens), found.truncated)


def check_template(model: LoadedModel, scoring: Scoring) -> None:
    """Raise UsageError where ``scoring`` has a template and the model is an encoder."""
    if scoring.template != PLAIN and model.family != "causal":
        raise UsageError(
            f"template {scoring.template!r}: {model.source['name']} was loaded as {model.family}, and templates are "
            "for causal language models; leave --template out."
        )


def in_control_order(model: LoadedModel, tokens: Tokens) -> Tokens:
    """The tokens as they are; for a control with shuffled tokens in its order, special tokens in place.

    In a template the sentence alone is shuffled, wherever it stands.
    """
    if model.control is None or model.control.name != "shuffled-tokens":
        return tokens
    seed, fixed = model.control.seed, special_tokens(model.tokenizer)
    if isinstance(tokens, Prompt):
        return Prompt(shuffle(tokens, seed, fixed, tokens.texts), tokens.texts)
    return shuffle(tokens, seed, fixed)


def sentence_batch(model: LoadedModel, texts: Sequence[str], scoring: Scoring) -> Batch:
    """Sentences side by side, in order, cut as ``scoring`` says, in its template.

    Raises:
        UsageError: an empty sentence, or a template that the model cannot be given.
    """
    labels = [f"sentence {number}" for number in range(1, len(texts) + 1)]
    for label, text in zip(labels, texts, strict=True):
        if not text.strip():
            raise UsageError(f"{label} is empty; give a text.")
    tokens = tokenise_for(model, texts, labels, scoring).tokens
    return pad(tokens, labels, pad_token=model.pad_token, device=model.device)
