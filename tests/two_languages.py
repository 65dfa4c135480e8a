"""A tiny Llama in which two languages have parameters of their own, so that what they share is known: nothing."""

from __future__ import annotations

import numpy as np
import torch

FIRST_WORDS, SECOND_WORDS = range(5, 25), range(25, 45)
"""Two languages: token ids whose embeddings lie in the first half of the width, or in the second."""

SIDES = {"q": ("heads", "width"), "k": ("heads", "width"), "v": ("heads", "width"), "o": ("width", "heads")}
SIDES |= {"gate": ("mlp", "width"), "up": ("mlp", "width"), "down": ("width", "mlp")}
"""What the rows and the columns of a map are."""


def in_first_half(side: str, size: int) -> torch.Tensor:
    """Which units are the first language's: half of the width, of the MLP, and of each head of 8."""
    part = 8 if side == "heads" else size
    return torch.arange(size) % part < part // 2


def blocks_of(kind: str, weight: torch.Tensor) -> torch.Tensor:
    """1 where rows and columns are the first language's, 2 where they are the second's, else 0."""
    rows, columns = (in_first_half(side, size) for side, size in zip(SIDES[kind], weight.shape, strict=True))
    rows = rows.unsqueeze(1)
    return (rows & columns).int() + 2 * (~rows & ~columns).int()


def plant(model) -> None:
    """A Llama of two halves that do not touch: every matrix has a block for each language, and zeros elsewhere."""
    half = model.config.hidden_size // 2
    embedding = model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[FIRST_WORDS, half:] = 0
        embedding[SECOND_WORDS, :half] = 0
        for name, module in model.model.layers.named_modules():
            if isinstance(module, torch.nn.Linear):
                kind = name.rpartition(".")[2].removesuffix("_proj")
                module.weight.mul_(blocks_of(kind, module.weight) > 0)


def sentences(words: range, seed: int) -> list[tuple[int, ...]]:
    return [tuple(np.random.default_rng((seed, row)).choice(words, 6).tolist()) for row in range(6)]
