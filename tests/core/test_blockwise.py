"""Blocks run by themselves give what the model gives, whatever arguments it passes; what cannot be is refused."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch import nn

from actsim.core.batch import Batch, pad
from actsim.core.blockwise import block_states
from actsim.errors import ModelError

FAMILIES = [*tiny_models.CAUSAL, *tiny_models.ENCODERS]


def batches_of(loaded, count: int = 3, tokens: int = 12) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    size = 2 if loaded.batchable else 1
    drawn = torch.randint(5, len(tiny_models.VOCABULARY), (count, size, tokens), generator=generator).tolist()
    return [pad([tuple(own) for own in batch], ["sample"] * size, pad_token=loaded.pad_token) for batch in drawn]


def output_of(block: nn.Module, model, batch: Batch) -> torch.Tensor:
    """The last output of a block in a forward pass of the whole model."""
    found = []
    handle = block.register_forward_hook(lambda _m, _a, out: found.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        model.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    handle.remove()
    return found[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_one_after_the_other_give_what_the_model_gives(family):
    loaded = tiny_models.loaded(family)
    batches = batches_of(loaded)
    states = block_states(loaded.model, loaded.blocks, batches)
    for block in range(loaded.n_layers):
        states.observe(block)
        states.advance(block)
    for batch, hidden in zip(batches, states.hidden, strict=True):
        assert torch.equal(hidden, output_of(loaded.blocks[-1], loaded.model, batch))


class Chain(nn.Module):
    """Blocks with something wrong between them."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.layers = nn.ModuleList(TwoArguments() for _ in range(2))
        self.wrong = wrong

    @property
    def base_model(self) -> nn.Module:
        return self

    def forward(self, input_ids, attention_mask):
        first, second = self.layers
        hidden = self.embedding(input_ids)
        if self.wrong == "order":
            return first(second(hidden, 1.0), 1.0)
        if self.wrong == "tokens":
            return second(first(hidden, hidden.sum()), 1.0)
        if self.wrong == "names":
            return second(hidden=first(hidden=hidden, other=1.0), other=1.0)
        return second(first(hidden, 1.0) + 1.0, 1.0)


class TwoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, hidden, other):
        return self.linear(hidden)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("order", "in the order 2, 1"),
        ("between", "what block 2 is given is not what the block before it gave"),
        ("tokens", "depends on the tokens"),
        ("names", "by name"),
    ],
)
def test_a_model_that_is_no_chain_of_blocks_is_refused_and_left_as_it_was(wrong, says):
    model = Chain(wrong)
    batches = [pad([(own, own + 1)], ["sample"], pad_token=0) for own in (1, 2)]
    with pytest.raises(ModelError, match=says):
        block_states(model, list(model.layers), batches)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
