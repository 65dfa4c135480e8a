"""Hand-made models of a few linear maps, for what no transformer of ``tiny_models`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actsim.core.batch import Batch, pad
from actsim.core.linears import LinearMap
from actsim.core.objectives import ReadOut

WIDTH = 6
VOCABULARY = 11


class Body(nn.Module):
    """Embedded tokens [sentences, tokens, WIDTH] through ``steps``, a function of the maps by name and the states."""

    def __init__(self, names: tuple[str, ...], steps: Callable[[nn.ModuleDict, Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.maps = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names})
        self.steps = steps
        self.double().requires_grad_(False)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.steps(self.maps, self.embedding(input_ids))


@dataclass
class Toy:
    """What a pass needs of a model."""

    model: Body
    maps: tuple[LinearMap, ...]
    blocks: tuple[nn.Module, ...] = ()
    batchable: bool = True
    pooling: None = None


def toy(names: tuple[str, ...], steps: Callable[[nn.ModuleDict, Tensor], Tensor], *, batchable: bool = True) -> Toy:
    """A toy whose maps are all in layer 1, each of a kind of its own."""
    model = Body(names, steps)
    maps = tuple(LinearMap(f"maps.{name}", model.maps[name], 1, name) for name in names)
    return Toy(model, maps, batchable=batchable)


def squares(target: Toy, batch: Batch) -> ReadOut:
    """D = half the sum of squares of the model's output at the sentence's own tokens."""
    states = target.model(batch.input_ids) * batch.attention_mask.unsqueeze(2)
    return ReadOut(states.square().sum(dim=(1, 2)) / 2)


def batch_of(*lengths: int) -> Batch:
    """Sentences of the given lengths, called s0, s1, …"""
    tokens = [tuple((3 * row + step) % VOCABULARY for step in range(length)) for row, length in enumerate(lengths)]
    return pad(tokens, [f"s{row}" for row in range(len(tokens))], pad_token=0)


def gradients(target: Toy, batch: Batch, sentence: int) -> dict[str, Tensor]:
    """∂D/∂W of every map for one sentence by plain autograd; zeros where D does not depend on it."""
    weights = {linear.name: linear.module.weight for linear in target.maps}
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        values = squares(target, batch.part(sentence, sentence + 1)).values
        found = torch.autograd.grad(values.sum(), list(weights.values()), allow_unused=True)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    return {
        name: torch.zeros_like(weight) if grad is None else grad
        for (name, weight), grad in zip(weights.items(), found, strict=True)
    }
