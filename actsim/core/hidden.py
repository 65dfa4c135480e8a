"""Hidden states after every block, pooled as they pass: the baseline that costs nothing beside a scoring pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from actsim.core.batch import Batch
from actsim.core.objectives import widened


@dataclass
class HiddenStates:
    """Pooled hidden states after each block, in block order.

    Attributes:
        mean: mean over the sentence's own tokens (``Batch.text``), one [sentences, width] tensor per block.
        last: the state at the last token, a template's included, likewise.
    """

    mean: dict[int, Float[Tensor, "sentences width"]] = field(default_factory=dict)
    last: dict[int, Float[Tensor, "sentences width"]] = field(default_factory=dict)

    @classmethod
    def join(cls, parts: Sequence[HiddenStates]) -> HiddenStates | None:
        """The states of several passes, one after the other; None where there are none."""
        if not parts:
            return None
        return cls(
            {block: torch.cat([part.mean[block] for part in parts]) for block in parts[0].mean},
            {block: torch.cat([part.last[block] for part in parts]) for block in parts[0].last},
        )


@contextmanager
def capture_hidden(blocks: Sequence[nn.Module], batch: Batch) -> Iterator[HiddenStates]:
    """While open, pool the output of every block; a block that is used several times keeps its last use."""
    states = HiddenStates()
    mask = batch.text.unsqueeze(-1)
    rows = torch.arange(len(batch.labels), device=batch.input_ids.device)
    last = batch.lengths - 1

    def pool(block: int, _module: nn.Module, _args: Any, output: Any) -> None:
        hidden = widened((output[0] if isinstance(output, tuple) else output).detach())
        hidden = hidden.reshape(*batch.input_ids.shape, hidden.shape[-1])
        own = mask.to(hidden)
        states.mean[block] = (hidden * own).sum(dim=1) / own.sum(dim=1)
        states.last[block] = hidden[rows.to(hidden.device), last.to(hidden.device)]

    handles = []
    try:
        for index, block in enumerate(blocks):
            handles.append(block.register_forward_hook(partial(pool, index)))
        yield states
    finally:
        for handle in handles:
            handle.remove()
