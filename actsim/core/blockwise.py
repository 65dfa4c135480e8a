"""Hidden states moved from block to block, each called as the model itself calls it.

A real forward pass of one batch shows with which further arguments every block is called (masks, rotary embeddings, …)
and proves that a block's input is the output of the one before. Of the other batches the pass is stopped at the first
block, which must be called with the same arguments: sentences of one length, without padding. From there on blocks are
run by themselves, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from actsim.core.batch import Batch
from actsim.errors import ModelError


class _AtFirstBlock(Exception):
    """Stops a forward pass once the first block's input is known."""


@dataclass(frozen=True)
class Call:
    """What a block is given beside the hidden states, which are its first argument."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def run(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The block's hidden states after this call, made where the block lies, on the device of ``hidden``."""
        place = next(block.parameters()).device
        args, kwargs = tree_map_only(Tensor, lambda own: own.to(place), (self.args, dict(self.kwargs)))
        return _states(block(hidden.to(place), *args, **kwargs)).to(hidden.device)


@dataclass
class _Seen:
    """What a forward pass shows of its blocks, without keeping what flows between them.

    Attributes:
        order: the blocks, by position, as they are called.
        calls: of each of these.
        first: the input of the first call.
        last: the output of the latest call.
        strange: blocks whose input is not the output of the call before.
    """

    order: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    first: Tensor | None = None
    last: Tensor | None = None
    strange: list[int] = field(default_factory=list)


class BlockStates:
    """The hidden states of some batches in front of a block, and how every block is called.

    Args:
        blocks: the model's blocks.
        calls: those of each block; a block that several layers share has several.
        hidden: states of each batch in front of the first block.
    """

    def __init__(self, blocks: Sequence[nn.Module], calls: Sequence[Sequence[Call]], hidden: Sequence[Tensor]) -> None:
        self.hidden = list(hidden)
        self._blocks, self._calls = blocks, calls

    @torch.no_grad()
    def observe(self, block: int) -> None:
        """Run every batch through a block (by position) and forget what comes out."""
        for hidden in self.hidden:
            self._through(block, hidden)

    @torch.no_grad()
    def advance(self, block: int) -> None:
        """Run every batch through a block and go on with what comes out."""
        for place, hidden in enumerate(self.hidden):
            self.hidden[place] = self._through(block, hidden)

    def _through(self, block: int, hidden: Tensor) -> Tensor:
        for call in self._calls[block]:
            hidden = call.run(self._blocks[block], hidden)
        return hidden


@torch.no_grad()
def block_states(model: Any, blocks: Sequence[nn.Module], batches: Sequence[Batch]) -> BlockStates:
    """The states of every batch in front of the first block.

    Args:
        model: the transformer with its head or without; called without the head.
        blocks: its blocks.
        batches: of one shape, without padding.

    Raises:
        ModelError: blocks that are not called one after the other, that are given something else than the output of
            the one before, or whose other arguments depend on the tokens.
    """
    base = model.base_model
    seen = _watched(base, blocks, batches[0])
    _check_chain(model, blocks, seen)
    calls: list[list[Call]] = [[] for _ in blocks]
    for block, call in zip(seen.order, seen.calls, strict=True):
        calls[block].append(call)
    assert seen.first is not None
    hidden = [seen.first]
    for batch in batches[1:]:
        states, call = _in_front(base, blocks[0], batch)
        if not _same(call, calls[0][0]):
            raise ModelError(
                f"{type(model).__name__}: its blocks are given more than hidden states that depends on the tokens; "
                "such a model cannot be run block by block."
            )
        hidden.append(states)
    return BlockStates(blocks, calls, hidden)


def _in_front(base: nn.Module, first: nn.Module, batch: Batch) -> tuple[Tensor, Call]:
    """The first block's hidden states for a batch, and the rest of its call."""
    found: list[tuple[Tensor, Call]] = []

    def stop(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(_split(args, kwargs))
        raise _AtFirstBlock

    handle = first.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with suppress(_AtFirstBlock):
            base(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    finally:
        handle.remove()
    return found[0]


def _watched(base: nn.Module, blocks: Sequence[nn.Module], batch: Batch) -> _Seen:
    """Every call of every block in a forward pass."""
    seen = _Seen()

    def before(block: int, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, call = _split(args, kwargs)
        seen.order.append(block)
        seen.calls.append(call)
        if seen.last is None:
            seen.first = hidden
        elif not _same(seen.last, hidden):
            seen.strange.append(block)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        seen.last = _states(output)

    handles = []
    try:
        for number, block in enumerate(blocks):
            handles.append(block.register_forward_pre_hook(partial(before, number), with_kwargs=True))
            handles.append(block.register_forward_hook(after))
        base(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _check_chain(model: nn.Module, blocks: Sequence[nn.Module], seen: _Seen) -> None:
    """Raise ModelError unless the blocks are called in order, each on what the one before gave."""
    name = type(model).__name__
    if seen.order != sorted(seen.order) or set(seen.order) != set(range(len(blocks))):
        called = ", ".join(str(block + 1) for block in seen.order)
        raise ModelError(f"{name}: its blocks are called in the order {called}; one after the other is needed.")
    if seen.strange:
        raise ModelError(
            f"{name}: what block {seen.strange[0] + 1} is given is not what the block before it gave; such a model "
            "cannot be run block by block."
        )


def _split(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Call]:
    """The hidden states of a call, and the rest of it."""
    if not args:
        raise ModelError(
            f"a block is called with {', '.join(kwargs)} by name; hidden states have to be the first argument by place."
        )
    return args[0], Call(args[1:], dict(kwargs))


def _states(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _same(one: Any, other: Any) -> bool:
    """Whether two arguments are equal, tensors by their values, wherever they lie."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other.to(one.device))
    if isinstance(one, Call) and isinstance(other, Call):
        return _same(one.args, other.args) and _same(one.kwargs, other.kwargs)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)
