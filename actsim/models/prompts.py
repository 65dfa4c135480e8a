"""Sentences inside a template: token ids of the whole prompt, and which of them are the sentence's own."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actsim.config import SLOT
from actsim.core.batch import Prompt
from actsim.errors import DataError, UsageError

Span = tuple[int, int]
"""First position and last plus one."""


@dataclass(frozen=True)
class Template:
    """A text with one or two slots; what stands before, between and after them."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """Split a template's text at its slots."""
        return cls(tuple(text.split(SLOT)))

    def render(self, sentence: str) -> tuple[str, tuple[Span, ...]]:
        """The prompt, and the characters of it that are the sentence, once per slot."""
        prompt, spans = self.parts[0], []
        for part in self.parts[1:]:
            spans.append((len(prompt), len(prompt) + len(sentence)))
            prompt += sentence + part
        return prompt, tuple(spans)


def tokenise_prompts(
    tokenizer: Any, template: Template, texts: Sequence[str], labels: Sequence[str], max_tokens: int
) -> tuple[list[Prompt], list[bool]]:
    """Every text inside the template with the tokenizer's own special tokens, and which texts were cut.

    A prompt has at most ``max_tokens`` tokens; where it would have more, its text is cut, at the end of a token, and
    the template stays whole. A token that holds characters of the text and of the template belongs to the text.

    Raises:
        UsageError: the tokenizer is a slow one, or the template leaves no room for a text.
        DataError: a sentence has no token at all; names it by its label.
    """
    if not tokenizer.is_fast:
        raise UsageError(
            f"a template needs a fast tokenizer, which tells the characters of every token; {type(tokenizer).__name__} "
            "is a slow one. Leave --template out, or save the model with a tokenizer.json."
        )
    rendered = [template.render(text) for text in texts]
    prompts, truncated = [], []
    for text, label, prompt in zip(texts, labels, _encode(tokenizer, rendered), strict=True):
        cut = prompt is not None and len(prompt) > max_tokens
        if cut:
            prompt = _cut(tokenizer, template, text, max_tokens)
        if prompt is None:
            raise DataError(f"{label}: the sentence {text!r} has no token in this model's vocabulary; remove the pair.")
        prompts.append(prompt)
        truncated.append(cut)
    return prompts, truncated


def _encode(tokenizer: Any, rendered: Sequence[tuple[str, tuple[Span, ...]]]) -> list[Prompt | None]:
    """Prompts as token ids, with the positions of the texts; None where a text has no token."""
    encoded = tokenizer(
        [prompt for prompt, _ in rendered],
        add_special_tokens=True,
        truncation=False,
        padding=False,
        verbose=False,
        return_offsets_mapping=True,
    )
    found: list[Prompt | None] = []
    for (_, spans), ids, offsets in zip(rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        places = [_within(offsets, span) for span in spans]
        found.append(Prompt(ids, [(own[0], own[-1] + 1) for own in places]) if all(places) else None)
    return found


def _within(offsets: Sequence[Span], span: Span) -> list[int]:
    """Positions of the tokens that hold a character of the span; special tokens hold none."""
    return [place for place, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0]]


def _cut(tokenizer: Any, template: Template, text: str, max_tokens: int) -> Prompt:
    """The prompt of the longest beginning of the text, whole tokens of it, that fits."""
    offsets = tokenizer(text, add_special_tokens=False, verbose=False, return_offsets_mapping=True)["offset_mapping"]
    ends = sorted({stop for start, stop in offsets if stop > start})

    def prompt_of(count: int) -> Prompt | None:
        (prompt,) = _encode(tokenizer, [template.render(text[: ends[count - 1]])])
        return prompt

    def length(count: int) -> int:
        prompt = prompt_of(count)
        return 0 if prompt is None else len(prompt)

    for count in range(bisect.bisect_right(range(1, len(ends) + 1), max_tokens, key=length), 0, -1):
        prompt = prompt_of(count)
        if prompt is not None and len(prompt) <= max_tokens:
            return prompt
    raise UsageError(
        f"max_tokens {max_tokens}: the template {SLOT.join(template.parts)!r} leaves no room for the text "
        f"(with its first token the prompt has {length(1)}); give a larger --max-tokens or a shorter template."
    )
