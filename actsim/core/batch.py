"""Tokenised sentences side by side, padded on the right, and which sentences go side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Tokens = tuple[int, ...]
"""The token ids of one sentence, special tokens included."""

PADDING = 0.05
"""Share of padding among a batch's tokens that it is divided to stay below."""

MOST_PARTS, LEAST_PART = 6, 160
"""Parts of a batch at most, and padded tokens of a part at least: below, matrix products lose more than padding costs.
"""


class Prompt(tuple[int, ...]):
    """Tokens of a sentence inside a template; equal to another one only where the text stands in the same place.

    Attributes:
        texts: the positions of the sentence, first and last plus one, once or twice; the last is read.
    """

    texts: tuple[tuple[int, int], ...]

    def __new__(cls, ids: Iterable[int], texts: Iterable[tuple[int, int]]) -> Prompt:
        """Ids of the whole prompt, and where the text stands in them."""
        prompt = super().__new__(cls, ids)
        prompt.texts = tuple(texts)
        return prompt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompt) and tuple(self) == tuple(other) and self.texts == other.texts

    def __ne__(self, other: object) -> bool:  # tuple has one of its own
        return not self == other

    def __hash__(self) -> int:
        return hash((tuple(self), self.texts))

    def __reduce__(self) -> tuple[Any, ...]:
        return Prompt, (tuple(self), self.texts)


@dataclass(frozen=True)
class Batch:
    """Token ids and attention mask of some sentences; ``labels`` name them in error messages.

    ``text_mask`` is True at the tokens that are read where sentences stand inside a template: those of the sentence
    itself, at its last occurrence. None where they stand alone.
    """

    input_ids: Int[Tensor, "sentences tokens"]
    attention_mask: Int[Tensor, "sentences tokens"]
    labels: tuple[str, ...]
    text_mask: Bool[Tensor, "sentences tokens"] | None = None

    @property
    def lengths(self) -> Int[Tensor, " sentences"]:
        """Number of tokens of each sentence, padding not counted."""
        return self.attention_mask.sum(dim=1)

    @property
    def valid(self) -> Bool[Tensor, "sentences tokens"]:
        """True at the sentences' own tokens, False at padding."""
        return self.attention_mask.bool()

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The lengths as numbers; on a device this waits for it, once."""
        return tuple(self.lengths.tolist())

    def part(self, first: int, last: int) -> Batch:
        """Sentences ``first`` … ``last`` - 1 alone, padded to the longest of them."""
        rows, columns = slice(first, last), slice(0, max(self.sizes[first:last]))
        text = None if self.text_mask is None else self.text_mask[rows, columns]
        return Batch(self.input_ids[rows, columns], self.attention_mask[rows, columns], self.labels[rows], text)

    def parts(self, most_tokens: int | None = None) -> list[Batch]:
        """The batch in order as consecutive parts: of at most ``most_tokens`` padded tokens each, see ``fill``, or
        as few as keep padding low, see ``divide``."""
        ends = divide(self.sizes) if most_tokens is None else fill(self.sizes, most_tokens)
        return [self.part(first, last) for first, last in pairwise((0, *ends))]

    @property
    def text(self) -> Bool[Tensor, "sentences tokens"]:
        """True at the sentences' own tokens: neither padding nor template."""
        return self.valid if self.text_mask is None else self.text_mask


def pad(
    sequences: Sequence[Tokens], labels: Sequence[str], *, pad_token: int, device: str | torch.device = "cpu"
) -> Batch:
    """Stack token sequences of different lengths, padded on the right with ``pad_token`` under a zero mask."""
    longest = max(len(sequence) for sequence in sequences)
    input_ids = torch.full((len(sequences), longest), pad_token, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        input_ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, : len(sequence)] = 1
    text_mask = _text_mask(sequences, mask)
    text_mask = None if text_mask is None else text_mask.to(device)
    return Batch(input_ids.to(device), mask.to(device), tuple(labels), text_mask)


def _text_mask(sequences: Sequence[Tokens], mask: Tensor) -> Tensor | None:
    """Where the text of each prompt is read; None where no sequence is a prompt."""
    if not any(isinstance(sequence, Prompt) for sequence in sequences):
        return None
    text_mask = mask.bool()
    for row, sequence in enumerate(sequences):
        if isinstance(sequence, Prompt):
            start, stop = sequence.texts[-1]
            text_mask[row, :start] = text_mask[row, stop:] = False
    return text_mask


@dataclass(frozen=True)
class PairBatch:
    """Some pairs and the distinct sentences they are made of.

    Attributes:
        pairs: positions of the pairs in the data set.
        sentences: the distinct token sequences, each computed once, short ones first.
        sides: for every pair the positions in ``sentences`` of its two sides.
    """

    pairs: tuple[int, ...]
    sentences: tuple[Tokens, ...]
    sides: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Tokens of the sentences, padding not counted."""
        return sum(map(len, self.sentences))

    def halves(self) -> tuple[PairBatch, ...]:
        """The pairs in their order as two batches of about as many tokens; one of a single pair as it is."""
        if len(self.pairs) == 1:
            return (self,)
        before, after = self._tokens_up_to(self.sides), self._tokens_up_to(self.sides[::-1])[::-1]
        cut = min(range(1, len(self.pairs)), key=lambda cut: max(before[cut - 1], after[cut]))
        return self._part(0, cut), self._part(cut, len(self.pairs))

    def _tokens_up_to(self, sides: Sequence[tuple[int, int]]) -> list[int]:
        """Tokens of the distinct sentences of the first pair, of the first two, and so on."""
        seen: dict[int, int] = {}
        totals = []
        for pair in sides:
            seen |= {sentence: len(self.sentences[sentence]) for sentence in pair}
            totals.append(sum(seen.values()))
        return totals

    def _part(self, first: int, last: int) -> PairBatch:
        """Pairs ``first`` … ``last`` - 1 and their sentences."""
        kept = sorted({sentence for pair in self.sides[first:last] for sentence in pair})
        place = {sentence: number for number, sentence in enumerate(kept)}
        sides = tuple((place[a], place[b]) for a, b in self.sides[first:last])
        return PairBatch(self.pairs[first:last], tuple(self.sentences[sentence] for sentence in kept), sides)


def plan_batches(pairs: Sequence[tuple[Tokens, Tokens]], batch_tokens: int) -> list[PairBatch]:
    """Group pairs into batches of at most ``batch_tokens`` tokens of distinct sentences (one pair at least).

    A pure function of its arguments. Pairs that share sentences stand together, so that few sentences are computed in
    more than one batch; what is not connected goes by the length of its longest sentence. Pairs are taken in turn
    until the budget is passed; padding, which ``divide`` keeps low, is not counted.
    """
    batches: list[PairBatch] = []
    taken: list[int] = []
    distinct: dict[Tokens, None] = {}
    tokens = 0

    def close() -> None:
        sentences = sorted(distinct, key=len)
        place = {sentence: number for number, sentence in enumerate(sentences)}
        sides = tuple((place[pairs[position][0]], place[pairs[position][1]]) for position in taken)
        batches.append(PairBatch(tuple(taken), tuple(sentences), sides))
        taken.clear()
        distinct.clear()

    for position in _arranged(pairs):
        new = dict.fromkeys(side for side in pairs[position] if side not in distinct)
        if taken and tokens + sum(map(len, new)) > batch_tokens:
            close()
            tokens, new = 0, dict.fromkeys(pairs[position])
        distinct |= new
        tokens += sum(map(len, new))
        taken.append(position)
    if taken:
        close()
    return batches


def plan_sequences(sequences: Sequence[Tokens], batch_tokens: int) -> list[tuple[int, ...]]:
    """Positions of the sequences in batches of at most ``batch_tokens`` padded tokens (one at least), short ones first.

    Which sequences share a batch depends on their tokens alone, not on their order.
    """
    order = by_length(sequences)
    ends = fill([len(sequences[position]) for position in order], batch_tokens)
    return [order[first:last] for first, last in pairwise((0, *ends))]


def by_length(sequences: Sequence[Tokens]) -> tuple[int, ...]:
    """Positions of the sequences, short ones first; those of one length in an order that is their tokens' alone."""
    return tuple(sorted(range(len(sequences)), key=lambda position: (len(sequences[position]), sequences[position])))


def padded_tokens(batch: PairBatch) -> int:
    """Tokens that the model computes, padding included."""
    lengths = [len(sentence) for sentence in batch.sentences]
    return sum((last - first) * max(lengths[first:last]) for first, last in pairwise((0, *divide(lengths))))


def _arranged(pairs: Sequence[tuple[Tokens, Tokens]]) -> list[int]:
    """Positions of the pairs: those connected by sentences together, breadth first, shorter ones before longer."""
    holders: dict[Tokens, list[int]] = {}
    for position, pair in enumerate(pairs):
        for side in dict.fromkeys(pair):
            holders.setdefault(side, []).append(position)
    connected: list[list[int]] = []
    seen = [False] * len(pairs)
    for start in range(len(pairs)):
        if seen[start]:
            continue
        seen[start] = True
        members = [start]
        for position in members:
            for side in pairs[position]:
                for neighbour in holders.pop(side, ()):
                    if not seen[neighbour]:
                        seen[neighbour] = True
                        members.append(neighbour)
        connected.append(members)

    def lengths(members: list[int]) -> tuple[int, int, int]:
        own = [len(side) for position in members for side in pairs[position]]
        return max(own), min(own), members[0]

    return [position for members in sorted(connected, key=lengths) for position in members]


def group_batches(batches: Sequence[PairBatch], pairs_per_part: int) -> list[list[PairBatch]]:
    """Consecutive batches in parts of at least ``pairs_per_part`` pairs (the last may be smaller)."""
    parts: list[list[PairBatch]] = [[]]
    for batch in batches:
        if sum(len(member.pairs) for member in parts[-1]) >= pairs_per_part:
            parts.append([])
        parts[-1].append(batch)
    return [part for part in parts if part]


def fill(lengths: Sequence[int], most_tokens: int) -> tuple[int, ...]:
    """Where a batch is divided into consecutive parts of at most ``most_tokens`` padded tokens, or of one sentence
    that is longer: the end of each part. Each takes as many sentences as fit."""
    ends: list[int] = []
    first = 0
    for position in range(1, len(lengths)):
        if (position + 1 - first) * max(lengths[first : position + 1]) > most_tokens:
            ends.append(position)
            first = position
    return (*ends, len(lengths)) if lengths else ()


def divide(lengths: Sequence[int]) -> tuple[int, ...]:
    """Where a batch is divided into parts that go through the model one after the other: the end of each part.

    The fewest parts, of at least LEAST_PART padded tokens each and at most MOST_PARTS, with less than PADDING padding;
    where that cannot be had, those with the least. Parts are consecutive and end where the length changes: ``lengths``
    are to be in order.
    """
    whole = len(lengths)
    stops = [stop for stop in range(1, whole) if lengths[stop] != lengths[stop - 1]] + [whole]
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    chosen: tuple[int, tuple[int, ...]] = (whole * max(lengths), (whole,))
    for _ in range(MOST_PARTS):
        further: dict[int, tuple[int, tuple[int, ...]]] = {}
        for first, (tokens, ends) in best.items():
            longest, start = 0, first
            for stop in (stop for stop in stops if stop > first):
                longest, start = max(longest, *lengths[start:stop]), stop
                part = longest * (stop - first)
                if part >= LEAST_PART and tokens + part < further.get(stop, chosen)[0]:
                    further[stop] = (tokens + part, (*ends, stop))
        best = further
        chosen = best.pop(whole, chosen)
        if sum(lengths) > (1 - PADDING) * chosen[0]:
            break
    return chosen[1]
