"""Random traces of one linear map, and what their patterns are by numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from actsim.core.capture import Trace
from actsim.core.linears import LinearMap

Array = NDArray[np.float64]


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
    """
    linear.module.to(dtype)
    d_out, d_in = linear.weight.shape
    inputs = draw((len(lengths), max(lengths), d_in), seed, levels)
    grads = draw((len(lengths), max(lengths), d_out), seed + 1000, levels)
    if same:
        inputs, grads = inputs[:1].expand_as(inputs).clone(), grads[:1].expand_as(grads).clone()
    valid = torch.arange(max(lengths)).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    grads = grads * valid.unsqueeze(2) * scale
    return Trace(linear, inputs.to(dtype), grads.to(dtype), valid, scale)


def pattern_by_numpy(trace: Trace, sentence: int, *, absolute: bool = True, weighted: bool = True) -> Array:
    """P of one sentence: a sum of outer products over its tokens, one after the other."""
    grads = trace.grads[sentence].double().numpy() / trace.scale
    inputs = trace.inputs[sentence].double().numpy()
    total = np.zeros(tuple(trace.map.weight.shape))
    for row in np.flatnonzero(trace.valid[sentence].numpy()):
        total += np.outer(grads[row], inputs[row])
    if weighted:
        total = total * trace.map.weight.double().numpy()
    return np.abs(total) if absolute else total
