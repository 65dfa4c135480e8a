"""Objectives: the scalar read-out D(s) of each sentence, whose gradient the patterns are made of.

Every objective is a function ``(target, batch) -> ReadOut``. The read-outs of a batch are summed, never averaged,
before the one backward call, so that each sentence's gradient is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from actsim.config import OBJECTIVES as OBJECTIVE_NAMES
from actsim.core.batch import Batch
from actsim.errors import ModelError, NumericError
from actsim.registry import Registry


@runtime_checkable
class Target(Protocol):
    """What an objective needs of a loaded model."""

    @property
    def model(self) -> Any:
        """The transformer, called with ``input_ids`` and ``attention_mask``."""
        ...

    @property
    def pooling(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Token states and mask -> sentence vectors (encoders), or None."""
        ...


@dataclass(frozen=True)
class ReadOut:
    """D of every sentence, with its graph, and what is worth keeping beside it.

    Attributes:
        values: D, float32 or wider, [sentences].
        top_token: id of the largest next-token logit (``next-token`` and ``log-prob``).
        margin: its logit minus the runner-up's, in logits.
        pooled: pooled last hidden state (encoders), [sentences, width], detached.
    """

    values: Float[Tensor, " sentences"]
    top_token: Int[Tensor, " sentences"] | None = None
    margin: Float[Tensor, " sentences"] | None = None
    pooled: Float[Tensor, "sentences width"] | None = None


Objective = Callable[[Target, Batch], ReadOut]

OBJECTIVES = {
    family: Registry("objective", {name: f"{__name__}:{name.replace('-', '_')}" for name in names})
    for family, names in OBJECTIVE_NAMES.items()
}
"""Objectives by model family: names, in their order, to the functions below that are called like them."""
CAUSAL_OBJECTIVES, ENCODER_OBJECTIVES = OBJECTIVES["causal"], OBJECTIVES["encoder"]

LEAST_TOKENS = {"nll": 2}
"""Tokens without which an objective has no read-out; those not named need one."""


def widened(values: Tensor) -> Tensor:
    """Float32, or float64 where the values already are."""
    return values if values.dtype == torch.float64 else values.float()


@contextmanager
def _head_sees(head: nn.Module, select: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, the language-model head gets ``select(hidden)`` only, so no other logit is ever formed.

    Whatever the model does after its head (soft-capping, scaling) still applies.
    """

    def narrow(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (select(args[0]), *args[1:])

    handle = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


def _logits(target: Target, batch: Batch, select: Callable[[Tensor], Tensor]) -> Tensor:
    head = target.model.get_output_embeddings()
    if head is None:
        raise ModelError(
            f"{type(target.model).__name__} has no language-model head, which this objective reads; "
            "use a causal language model or the objective embedding-norm."
        )
    with _head_sees(head, select):
        output = target.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    return widened(output.logits)


def _last_logits(target: Target, batch: Batch) -> Float[Tensor, "sentences vocabulary"]:
    """Logits at each sentence's last own token."""
    rows = torch.arange(len(batch.labels), device=batch.input_ids.device)
    last = batch.lengths - 1

    def at_the_end(hidden: Tensor) -> Tensor:
        return hidden[rows.to(hidden.device), last.to(hidden.device)].unsqueeze(1)

    return _logits(target, batch, at_the_end).squeeze(1)


def _top(logits: Float[Tensor, "sentences vocabulary"]) -> tuple[Tensor, Tensor]:
    """Index of the largest logit (the lowest id where several are equal) and its lead over the next."""
    with torch.no_grad():
        top_token = logits.argmax(dim=1)
        best_two = logits.topk(2, dim=1).values
    return top_token, best_two[:, 0] - best_two[:, 1]


def next_token(target: Target, batch: Batch) -> ReadOut:
    """D = max_v z_v, the largest next-token logit at the last token (the paper's read-out for causal models)."""
    logits = _last_logits(target, batch)
    top_token, margin = _top(logits)
    values = logits.gather(1, top_token.unsqueeze(1)).squeeze(1)
    return ReadOut(values, top_token=top_token, margin=margin)


def log_prob(target: Target, batch: Batch) -> ReadOut:
    """D = max_v log softmax(z)_v, the log-probability of the likeliest next token."""
    logits = _last_logits(target, batch)
    top_token, margin = _top(logits)
    values = logits.log_softmax(dim=1).gather(1, top_token.unsqueeze(1)).squeeze(1)
    return ReadOut(values, top_token=top_token, margin=margin)


def log_sum_exp(target: Target, batch: Batch) -> ReadOut:
    """D = log Σ_v exp z_v, the log-partition of the next-token distribution."""
    return ReadOut(_last_logits(target, batch).logsumexp(dim=1))


def nll(target: Target, batch: Batch) -> ReadOut:
    """D = -Σ_t log p(x_t | x_<t), the sentence's negative log-likelihood in nats, summed over its tokens.

    The first token is given, not predicted. In a template the sum runs over the tokens of the sentence alone, at its
    last occurrence, each given all that stands before it.

    Raises:
        NumericError: a sentence of a single token has no predicted token.
    """
    predicted = batch.text[:, 1:]
    for label, count in zip(batch.labels, predicted.sum(dim=1).tolist(), strict=True):
        if count < 1:
            raise NumericError(
                f"{label}: one token only, and the objective nll needs two; use the objective next-token."
            )
    sentence, position = predicted.nonzero(as_tuple=True)
    following = batch.input_ids[sentence, position + 1]

    def predicting(hidden: Tensor) -> Tensor:
        return hidden[sentence.to(hidden.device), position.to(hidden.device)].unsqueeze(0)

    logits = _logits(target, batch, predicting).squeeze(0)
    token_nll = torch.nn.functional.cross_entropy(logits, following.to(logits.device), reduction="none")
    values = token_nll.new_zeros(len(batch.labels)).index_add(0, sentence.to(logits.device), token_nll)
    return ReadOut(values)


def embedding_norm(target: Target, batch: Batch) -> ReadOut:
    """D = ‖pool(h_L)‖₂, the length of the pooled last hidden state, before any Normalize module."""
    if target.pooling is None:
        raise ModelError(
            f"{type(target.model).__name__} was loaded as a causal language model, which has no sentence pooling; "
            "use the objective next-token or nll, or load it as an encoder."
        )
    hidden = target.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    pooled = target.pooling(widened(hidden), batch.attention_mask.to(hidden.device))
    return ReadOut(torch.linalg.vector_norm(pooled, dim=1), pooled=pooled.detach())
