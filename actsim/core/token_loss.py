"""The negative log-likelihood that a causal language model gives to windows of running text."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from actsim.core.objectives import widened
from actsim.core.precision import to_float64


@torch.no_grad()
def window_losses(model: Any, windows: Int[Tensor, "windows context"]) -> Float[Tensor, " windows"]:
    """-Σ_t log p(x_t | x_1 … x_{t-1}) of each window over its tokens 2 … T, in nats, float64 on the CPU.

    The first token of a window is not predicted. Log-probabilities are float32 or wider.
    """
    logits = widened(model(input_ids=windows, use_cache=False).logits[:, :-1])
    losses = cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten().to(logits.device), reduction="none")
    return to_float64(losses).reshape(len(windows), -1).sum(dim=1)
