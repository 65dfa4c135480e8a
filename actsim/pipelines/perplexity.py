"""Perplexity of a causal language model on a long text, as Wanda and the paper print it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from actsim.config import DEFAULT_BATCH_TOKENS
from actsim.core.token_loss import window_losses
from actsim.errors import DataError, NumericError, UsageError
from actsim.models.tokenizer import resolve_max_tokens

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

SHORTEST_CONTEXT = 2

Progress = Callable[[int, int], None]
"""Told how many windows are done, and of how many."""


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood over all predicted tokens.

    Attributes:
        perplexity: the figure.
        nll: the mean, in nats a token.
        context: tokens of a window.
        windows: how many there are.
        predicted: tokens that were predicted: all of the windows but the first of each.
        tokens: of the text, special tokens included.
        left_over: tokens at its end that fill no window, and are left out.
        window_nll: the mean of each window.
    """

    perplexity: float
    nll: float
    context: int
    windows: int
    predicted: int
    tokens: int
    left_over: int
    window_nll: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"window_nll": list(self.window_nll)}


@dataclass(frozen=True, eq=False)
class Windows:
    """A text cut into whole windows that do not see each other.

    Attributes:
        ids: token ids.
        tokens: of the text, special tokens included.
    """

    ids: Int[Tensor, "windows context"]
    tokens: int


def cut_windows(
    loaded: LoadedModel, text: str, *, context: int | None = None, first_tokens: int | None = None
) -> Windows:
    """Tokenise ``text`` as one and cut it: what is left at its end belongs to no window.

    The tokenizer's special tokens stand where it puts them around the whole text, not around each window.

    Args:
        loaded: a causal language model.
        text: at least one window long.
        context: tokens of a window; default what the model takes.
        first_tokens: of the text alone the first so many tokens; default all.

    Raises:
        UsageError: an encoder, or a context that the model does not take.
        DataError: the text has not a single window.
    """
    length = _context(loaded, context)
    ids = loaded.tokenizer(text, verbose=False)["input_ids"][:first_tokens]
    count = len(ids) // length
    if not count:
        raise DataError(
            f"the text has {len(ids)} tokens, and one window has {length}; give more text or a smaller --context."
        )
    return Windows(torch.tensor(ids[: count * length]).reshape(count, length), len(ids))


def mean_losses(
    loaded: LoadedModel,
    windows: Windows,
    *,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    progress: Progress | None = None,
) -> list[float]:
    """The mean negative log-likelihood of the predicted tokens of every window, in nats.

    Every window has context - 1 predicted tokens, so that the mean over windows is the mean over tokens.

    Args:
        loaded: a causal language model.
        windows: from ``cut_windows``, of the same tokenizer.
        batch_tokens: tokens that go side by side, at least one window.
        progress: told of every batch.

    Raises:
        NumericError: a window's likelihood is not finite; names it.
    """
    count, context = windows.ids.shape
    losses: list[float] = []
    report = progress or (lambda _done, _total: None)
    report(0, count)
    for part in windows.ids.split(max(1, batch_tokens // context)):
        losses += window_losses(loaded.model, part.to(loaded.device)).tolist()
        report(len(losses), count)
    wrong = next((place for place, loss in enumerate(losses, start=1) if not math.isfinite(loss)), None)
    if wrong is not None:
        raise NumericError(f"window {wrong}: the likelihood is not finite in {loaded.dtype}; use --dtype float32.")
    return [loss / (context - 1) for loss in losses]


def perplexity(
    loaded: LoadedModel,
    text: str,
    *,
    context: int | None = None,
    first_tokens: int | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
    progress: Progress | None = None,
) -> Perplexity:
    """Perplexity of ``text`` in windows. Figures with different contexts are not comparable.

    Args:
        loaded, text, context, first_tokens: see ``cut_windows``.
        batch_tokens, progress: see ``mean_losses``.

    Raises:
        UsageError, DataError: see ``cut_windows``.
        NumericError: see ``mean_losses``.
    """
    windows = cut_windows(loaded, text, context=context, first_tokens=first_tokens)
    losses = mean_losses(loaded, windows, batch_tokens=batch_tokens, progress=progress)
    count, length = windows.ids.shape
    mean = math.fsum(losses) / count
    return Perplexity(
        perplexity=math.exp(mean),
        nll=mean,
        context=length,
        windows=count,
        predicted=count * (length - 1),
        tokens=windows.tokens,
        left_over=windows.tokens - count * length,
        window_nll=tuple(losses),
    )


def _context(loaded: LoadedModel, requested: int | None) -> int:
    """Tokens of a window.

    Raises:
        UsageError: see ``perplexity``.
    """
    if loaded.family != "causal":
        raise UsageError(
            f"{loaded.source['name']} was loaded as {loaded.family}: perplexity is of causal language models; give one."
        )
    if requested is not None and requested < SHORTEST_CONTEXT:
        raise UsageError(f"--context must be at least {SHORTEST_CONTEXT}, got {requested}.")
    return resolve_max_tokens(requested, loaded.model, loaded.tokenizer, option="--context")
