"""Samples of a domain as token ids: drawn at random, without replacement, and cut or packed to a stated length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actsim.config import DEFAULT_SAMPLE_TOKENS, DEFAULT_SAMPLES
from actsim.core.batch import Tokens
from actsim.errors import DataError, ModelError, UsageError
from actsim.models.tokenise import in_control_order
from actsim.models.tokenizer import resolve_max_tokens

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

SEPARATOR = "\n"
"""What stands behind every text of running text that is packed."""

_PROBE = "a b"


class TextPool(Protocol):
    """What samples are drawn from; ``actsim.data.domains.Domain`` is one."""

    @property
    def name(self) -> str:
        """How the domain is called."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Its texts, in order."""

    @property
    def ids(self) -> tuple[str, ...]:
        """An id for every text."""

    @property
    def packed(self) -> bool:
        """Whether the texts are running text."""

    def identity(self) -> dict[str, Any]:
        """What makes it this pool and no other."""


@dataclass(frozen=True)
class Samples:
    """Samples of one domain, in the order in which they were drawn.

    Attributes:
        domain: the domain's name.
        tokens: the token ids of each sample, special tokens included.
        ids: where each sample comes from: the id of its text, or for packed text of its first and last one with the
            window's number, ``12..14 #3``.
        truncated: how many of the texts were cut; 0 for packed text.
        available: how many samples the domain has at this length.
        max_tokens: the most tokens of a sample; packed samples have exactly so many.
        seed: of the draw.
        source: the identity of the domain.
    """

    domain: str
    tokens: tuple[Tokens, ...]
    ids: tuple[str, ...]
    truncated: int
    available: int
    max_tokens: int
    seed: int
    source: dict[str, Any]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.tokens)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over ids and tokens in order."""
        digest = hashlib.sha256()
        for name, tokens in zip(self.ids, self.tokens, strict=True):
            digest.update(f"{name}\t{' '.join(map(str, tokens))}\n".encode())
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a manifest keeps of the samples: JSON-ready, and the same on every machine."""
        return {
            "domain": self.domain,
            "n": len(self),
            "available": self.available,
            "ids": list(self.ids),
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "tokens": sum(map(len, self.tokens)),
            "truncated": self.truncated,
            "fingerprint": self.fingerprint(),
            "source": self.source,
        }


def draw_samples(
    domain: TextPool,
    loaded: LoadedModel,
    *,
    samples: int = DEFAULT_SAMPLES,
    max_tokens: int = DEFAULT_SAMPLE_TOKENS,
    seed: int = 0,
    option: str = "--max-tokens",
) -> Samples:
    """Draw samples of a domain at random, without replacement; fewer samples with one seed are the first of more.

    A text that is too long loses tokens on the left, so that a question at its end survives; special tokens stay. Of
    running text every piece is tokenised with a newline behind it, all tokens are laid end to end, and divided into
    windows that are ``max_tokens`` long with their special tokens; windows are drawn, and what is left over at the end
    belongs to none.

    Args:
        domain: the pool of texts.
        loaded: the model whose tokenizer is used; where it is a control with shuffled tokens, they are shuffled.
        samples: how many.
        max_tokens: the most tokens of a sample, special tokens included.
        seed: of the draw.
        option: how messages call the length.

    Raises:
        UsageError: fewer than one sample, or a length that the model does not take.
        DataError: the domain has not so many samples, with both counts; or a text has no token at all.
        ModelError: the tokenizer does not put its special tokens around a text.
    """
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}.")
    length = resolve_max_tokens(max_tokens, loaded.model, loaded.tokenizer, option=option)
    frame = _Frame.of(loaded.tokenizer)
    room = length - len(frame.before) - len(frame.after)
    order = np.random.default_rng(seed)
    if domain.packed:
        bodies, ids, available = _windows(domain, loaded.tokenizer, samples, room, order, option)
    else:
        bodies, ids, available = _texts(domain, loaded.tokenizer, samples, order)
    return Samples(
        domain=domain.name,
        tokens=tuple(in_control_order(loaded, frame.around(body[-room:])) for body in bodies),
        ids=tuple(ids),
        truncated=sum(len(body) > room for body in bodies),
        available=available,
        max_tokens=length,
        seed=seed,
        source=domain.identity(),
    )


@dataclass(frozen=True)
class _Frame:
    """The special tokens that a tokenizer puts before and after a text."""

    before: Tokens
    after: Tokens

    @classmethod
    def of(cls, tokenizer: Any) -> _Frame:
        """Read off what surrounds a text; ModelError where the text is not found in between."""
        whole = tuple(tokenizer(_PROBE)["input_ids"])
        (body,) = _bodies(tokenizer, [_PROBE])
        for start in range(len(whole) - len(body) + 1):
            if whole[start : start + len(body)] == body:
                return cls(whole[:start], whole[start + len(body) :])
        raise ModelError(
            f"{type(tokenizer).__name__} does not put its special tokens around a text: {_PROBE!r} becomes {whole} "
            f"with them and {body} without, so samples cannot be cut; use a model with another tokenizer."
        )

    def around(self, body: Tokens) -> Tokens:
        """The tokens of a text between the special ones."""
        return (*self.before, *body, *self.after)


def _bodies(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Token ids of each text without special tokens."""
    encoded = tokenizer(list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False)
    return [tuple(ids) for ids in encoded["input_ids"]]


def _texts(
    domain: TextPool, tokenizer: Any, samples: int, order: np.random.Generator
) -> tuple[list[Tokens], list[str], int]:
    """A text a sample: tokens, ids, and how many there are in all."""
    available = len(domain.texts)
    _refuse_too_few(domain, samples, available, f"has {available} texts", "a smaller --samples")
    rows = order.permutation(available)[:samples].tolist()
    bodies = _bodies(tokenizer, [domain.texts[row] for row in rows])
    for row, body in zip(rows, bodies, strict=True):
        if not body:
            raise DataError(
                f"{domain.name}: the text {domain.ids[row]} has no token in this model's vocabulary; remove it."
            )
    return bodies, [domain.ids[row] for row in rows], available


def _windows(
    domain: TextPool, tokenizer: Any, samples: int, length: int, order: np.random.Generator, option: str
) -> tuple[list[Tokens], list[str], int]:
    """Windows of running text: tokens, ids, and how many there are in all."""
    pieces = _bodies(tokenizer, [text + SEPARATOR for text in domain.texts])
    stream = np.fromiter((token for piece in pieces for token in piece), dtype=np.int64)
    ends = list(accumulate(map(len, pieces)))
    available = len(stream) // length
    found = f"has {available} of {length} tokens ({len(stream)} tokens)"
    _refuse_too_few(domain, samples, available, found, f"a smaller --samples or {option}")
    drawn = order.permutation(available)[:samples].tolist()
    bodies = [tuple(stream[number * length : (number + 1) * length].tolist()) for number in drawn]
    first, last = (
        np.searchsorted(ends, [number * length + shift for number in drawn], side="right").tolist()
        for shift in (0, length - 1)
    )
    ids = [
        f"{domain.ids[start]}..{domain.ids[stop]} #{number}"
        for number, start, stop in zip(drawn, first, last, strict=True)
    ]
    return bodies, ids, available


def _refuse_too_few(domain: TextPool, wanted: int, available: int, found: str, ways: str) -> None:
    if wanted > available:
        raise DataError(f"{domain.name}: {wanted} samples wanted, the domain {found}; give {ways}, or more text.")
