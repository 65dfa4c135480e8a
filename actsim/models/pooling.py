"""From token states to a sentence embedding: pooling modes and the modules that may follow them.

The definitions are those of sentence-transformers' ``Pooling``, ``Dense`` and ``Normalize`` modules
(https://sbert.net/docs/package_reference/sentence_transformer/models.html), whose embeddings they reproduce.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from actsim.registry import unknown_name

Hidden = Float[Tensor, "sentences tokens width"]
Mask = Int[Tensor, "sentences tokens"] | Bool[Tensor, "sentences tokens"]
Pooled = Float[Tensor, "sentences width"]


def cls_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """The state of the first unmasked token."""
    first = mask.int().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), first]


def max_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """max_t h_t over the unmasked tokens, per feature."""
    return hidden.masked_fill(~mask.bool().unsqueeze(-1), float("-inf")).amax(dim=1)


def mean_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """(1/T) Σ_t h_t over the T unmasked tokens."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def mean_sqrt_len_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """(1/√T) Σ_t h_t over the T unmasked tokens."""
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).sqrt()


def weighted_mean_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """Σ_t t h_t / Σ_t t over the unmasked tokens, t = 1 at the first of them (SGPT, arXiv 2202.08904)."""
    weights = (mask.to(hidden.dtype).cumsum(dim=1) * mask).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def last_token_pooling(hidden: Hidden, mask: Mask) -> Pooled:
    """The state of the last unmasked token."""
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


POOLING_MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": cls_pooling,
    "max": max_pooling,
    "mean": mean_pooling,
    "mean_sqrt_len_tokens": mean_sqrt_len_pooling,
    "weightedmean": weighted_mean_pooling,
    "lasttoken": last_token_pooling,
}
"""Modes by sentence-transformers' names, in the order in which it concatenates several."""


@dataclass(frozen=True)
class Pooling:
    """Pool with one mode, or with several whose results are concatenated.

    Raises:
        UsageError: a mode that is not known.
    """

    modes: tuple[str, ...] = ("mean",)

    def __post_init__(self) -> None:
        for mode in self.modes:
            if mode not in POOLING_MODES:
                raise unknown_name("pooling mode", mode, POOLING_MODES)

    @property
    def name(self) -> str:
        """The modes joined by ``+``: ``mean``, ``cls+mean``."""
        return "+".join(self.modes)

    def __call__(self, hidden: Hidden, mask: Mask) -> Float[Tensor, "sentences pooled"]:
        """Pool ``hidden``; every sentence needs at least one unmasked token. Differentiable."""
        return torch.cat([POOLING_MODES[mode](hidden, mask) for mode in self.modes], dim=1)


class Dense(nn.Module):
    """activation(x Wᵀ + b) on the pooled embedding."""

    def __init__(self, in_features: int, out_features: int, bias: bool, activation: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = activation

    def forward(self, pooled: Float[Tensor, "sentences d_in"]) -> Float[Tensor, "sentences d_out"]:
        """Apply the map and its activation."""
        return self.activation(self.linear(pooled))

    def extra_repr(self) -> str:
        """Sizes and activation, as they stand in the identity of a model."""
        return f"{self.linear.in_features} -> {self.linear.out_features}, {type(self.activation).__name__}"


class Normalize(nn.Module):
    """x / ‖x‖₂, sentence by sentence."""

    def forward(self, pooled: Float[Tensor, "sentences width"]) -> Float[Tensor, "sentences width"]:
        """Scale every embedding to length one."""
        return nn.functional.normalize(pooled, p=2, dim=-1)
