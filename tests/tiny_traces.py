"""Random traces of one linear map, and what their patterns are by numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from actsim.core.linears import LinearMap
from actsim.core.trace import Segment, Trace

Array = NDArray[np.float64]
Change = Callable[[torch.Tensor], torch.Tensor] | None


def make_map(
    d_out: int,
    d_in: int,
    *,
    seed: int = 0,
    name: str = "map",
    layer: int = 1,
    kind: str = "q",
    levels: int | None = None,
) -> LinearMap:
    """A linear map with random weights; whole numbers in -levels … levels where that is given."""
    module = nn.Linear(d_in, d_out, bias=False).requires_grad_(False)
    module.weight.copy_(draw((d_out, d_in), seed, levels))
    return LinearMap(name, module, layer, kind)


def draw(shape: Sequence[int], seed: int, levels: int | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.randint(-levels, levels + 1, tuple(shape), generator=generator).double()


def make_trace(
    linear: LinearMap,
    lengths: Sequence[int],
    *,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
    scale: float = 1.0,
    levels: int | None = None,
    same: bool = False,
    parts: int = 1,
) -> Trace:
    """Sentences of the given lengths side by side; padding has zero gradients, and anything as inputs.

    Args:
        linear: the map; its weight is brought to ``dtype``.
        lengths: number of rows of each sentence.
        seed: of the draw.
        dtype: of inputs, gradients and weight.
        scale: the gradients are multiplied by it.
        levels: whole numbers in -levels … levels, with many ties and zeros.
        same: all sentences of one length are equal.
        parts: number of segments, of as many sentences each as goes.
    """
    linear.module.to(dtype)
    d_out, d_in = linear.weight.shape
    inputs = draw((len(lengths), max(lengths), d_in), seed, levels)
    grads = draw((len(lengths), max(lengths), d_out), seed + 1000, levels)
    if same:
        inputs, grads = inputs[:1].expand_as(inputs).clone(), grads[:1].expand_as(grads).clone()
    valid = torch.arange(max(lengths)).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    grads = grads * valid.unsqueeze(2) * scale
    segments = [
        Segment.of(*own)
        for own in zip(
            *(whole.tensor_split(parts) for whole in (inputs.to(dtype), grads.to(dtype), valid)), strict=True
        )
    ]
    return Trace(linear, tuple(segments), scale)


def trace_of(
    linear: LinearMap, inputs: torch.Tensor, grads: torch.Tensor, valid: torch.Tensor | None = None, scale: float = 1.0
) -> Trace:
    """A trace of one segment; all rows are the sentences' own where ``valid`` is not given."""
    if valid is None:
        valid = torch.ones(inputs.shape[:2], dtype=torch.bool)
    return Trace(linear, (Segment.of(inputs, grads, valid),), scale)


def changed(trace: Trace, *, inputs: Change = None, grads: Change = None, **fields: Any) -> Trace:
    """The trace with a function of its inputs or gradients in their place, and other fields replaced."""
    segments = [
        replace(
            segment,
            inputs=segment.inputs if inputs is None else inputs(segment.inputs),
            grads=segment.grads if grads is None else grads(segment.grads),
        )
        for segment in trace.segments
    ]
    return replace(trace, segments=tuple(segments), **fields)


def pattern_by_numpy(trace: Trace, sentence: int, *, absolute: bool = True, weighted: bool = True) -> Array:
    """P of one sentence: a sum of outer products over its tokens, one after the other."""
    rows = [
        (inputs[:length], grads[:length])
        for segment in trace.segments
        for inputs, grads, length in zip(segment.inputs, segment.grads, segment.lengths, strict=True)
    ]
    total = np.zeros(tuple(trace.map.weight.shape))
    for x, g in zip(*rows[sentence], strict=True):
        total += np.outer(g.double().numpy() / trace.scale, x.double().numpy())
    if weighted:
        total = total * trace.map.weight.double().numpy()
    return np.abs(total) if absolute else total
