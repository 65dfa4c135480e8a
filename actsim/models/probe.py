"""A trial forward pass: is every map called, and can the rows of its input be told apart by sentence?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actsim.core.linears import LinearMap
from actsim.errors import ModelError
from actsim.models.placement import input_device

PROBES = ((2, 5, 0), (3, 7, 2))
"""Sentences, tokens, and how many tokens of the last sentence are padding."""


def probe_rows(model: PreTrainedModel, maps: Sequence[LinearMap], *, max_tokens: int, pad_token: int) -> str | None:
    """Run small batches of two shapes through ``model`` and look at the input of every map.

    Args:
        model: the model, left as it was found.
        maps: the linear maps that will be scored.
        max_tokens: the probe is no longer than this.
        pad_token: id put under a zero mask.

    Returns:
        None where every call of every map sees ``[sentences, tokens, d]`` or ``[sentences · tokens, d]``; else one
        line that names the first map that does not.

    Raises:
        ModelError: maps that are never called: their weights are used some other way, or not at all.
    """
    note: str | None = None
    for sentences, tokens, padding in PROBES:
        length = min(tokens, max_tokens)
        padding = min(padding, length - 1)
        with _input_shapes(maps) as shapes:
            _forward(model, sentences, length, padding, pad_token)
        _refuse_uncalled(model, maps, shapes)
        note = note or _first_mixed(maps, shapes, sentences, length)
    return note


@contextmanager
def _input_shapes(maps: Sequence[LinearMap]) -> Iterator[dict[str, list[tuple[int, ...]]]]:
    """While open, note the shape of every map's input, call by call."""
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()))
        shapes.setdefault(name, []).append(tuple(inputs.shape))

    handles = []
    try:
        for linear in maps:
            hook = partial(note, linear.name)
            handles.append(linear.module.register_forward_pre_hook(hook, with_kwargs=True))
        yield shapes
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _forward(model: PreTrainedModel, sentences: int, tokens: int, padding: int, pad_token: int) -> None:
    input_ids = _ordinary_ids(model.config, sentences * tokens).reshape(sentences, tokens)
    mask = torch.ones_like(input_ids)
    if padding:
        input_ids[-1, -padding:] = pad_token
        mask[-1, -padding:] = 0
    base = model.base_model  # without the head: no logits are needed
    place = input_device(model)
    base(input_ids=input_ids.to(place), attention_mask=mask.to(place))


def _ordinary_ids(config: Any, count: int) -> Tensor:
    """``count`` token ids of the vocabulary, none of which the configuration gives a special meaning."""
    special = {value for key in ("pad", "bos", "eos", "cls", "sep") for value in _as_ids(config, f"{key}_token_id")}
    vocabulary = config.get_text_config().vocab_size
    ordinary = [token for token in range(min(vocabulary, count + len(special))) if token not in special]
    return torch.tensor([ordinary[index % len(ordinary)] for index in range(count)], dtype=torch.long)


def _as_ids(config: Any, key: str) -> tuple[int, ...]:
    value = getattr(config, key, None)
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _refuse_uncalled(model: nn.Module, maps: Sequence[LinearMap], shapes: dict[str, list[tuple[int, ...]]]) -> None:
    uncalled = [linear.name for linear in maps if linear.name not in shapes]
    if uncalled:
        more = f" and {len(uncalled) - 3} more" if len(uncalled) > 3 else ""
        raise ModelError(
            f"{type(model).__name__}: linear maps that a forward pass never calls: {', '.join(uncalled[:3])}{more}; "
            "their weights are used some other way or not at all, and would be missing from every score."
        )


def _first_mixed(
    maps: Sequence[LinearMap], shapes: dict[str, list[tuple[int, ...]]], sentences: int, tokens: int
) -> str | None:
    for linear in maps:
        for shape in shapes[linear.name]:
            if shape[:-1] not in ((sentences, tokens), (sentences * tokens,)):
                return (
                    f"{linear.name} sees rows of shape {list(shape)} for {sentences} sentences of {tokens} tokens, "
                    "which cannot be told apart by sentence: sentences run one at a time."
                )
    return None
