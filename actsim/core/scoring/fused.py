"""The tiled backend with its reductions compiled into one pass over a tile; the same sums up to rounding.

A tile of Gᵀ X is read once: weighted, made absolute, and reduced to the moments of every pair without being written.
Needs a C++ compiler (``is_available``). Compiling takes some seconds, once per combination of moments, and is cached by
torch between processes; activated sets are left to the tiled backend.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import shutil
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from actsim.core.capture import Trace
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, tiled
from actsim.core.scoring.tiled import gradient_tiles, neuron_sums, pair_neurons, top_sets

LOG = logging.getLogger("actsim")

__all__ = ["is_available", "neuron_sums", "pair_moments", "pair_neurons", "top_sets"]


def pair_moments(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, need: Needs, sets: ActivatedSets | None = None
) -> Float[Tensor, "pairs moments"]:
    """The moments of each pair of sentences at one map, float64, in the order of MOMENTS."""
    if sets is not None:
        return tiled.pair_moments(trace, pairs, pattern, need, sets)
    sums = torch.zeros((len(pairs), len(MOMENTS)), dtype=torch.float64)
    left, right = (side.contiguous() for side in pairs.unbind(dim=1))
    reduce = _compiled()
    for tile in gradient_tiles(trace, pattern):
        weight = None if tile.weight is None else tile.weight.contiguous()
        found = reduce(
            tile.values,
            weight,
            left,
            right,
            absolute=pattern.absolute,
            products=need.products,
            minima=need.minima,
        )
        for column, values in found.items():
            sums[:, column] += values
    return sums


def reduce_tile(
    values: Float[Tensor, "sentences rows d_in"],
    weight: Float[Tensor, "rows d_in"] | None,
    left: Int[Tensor, " pairs"],
    right: Int[Tensor, " pairs"],
    *,
    absolute: bool,
    products: bool,
    minima: bool,
) -> dict[int, Float[Tensor, " pairs"]]:
    """Position in MOMENTS -> that moment of each pair within a tile; compiled, one pass over the tile."""
    patterns = values if weight is None else values * weight
    if absolute:
        patterns = patterns.abs()
    a, b = patterns[left], patterns[right]
    sums: dict[int, Tensor] = {}
    if products:
        sums |= {0: (a * b).sum((1, 2)), 1: (a * a).sum((1, 2)), 2: (b * b).sum((1, 2))}
    if minima:
        sums |= {3: a.sum((1, 2)), 4: b.sum((1, 2)), 5: torch.minimum(a, b).sum((1, 2))}
    return sums


@functools.cache
def _compiled() -> Callable[..., dict[int, Tensor]]:
    return torch.compile(inspect.unwrap(reduce_tile), dynamic=True)  # without the shape checks that tests wrap around


@functools.cache
def is_available() -> bool:
    """Whether this machine can compile: tried once on a small tile, and logged where it fails."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        LOG.info("no C++ compiler (%s): scoring without compiled reductions, with the same results", compiler)
        return False
    pairs = torch.tensor([0, 2]), torch.tensor([1, 3])
    try:
        _compiled()(torch.ones(4, 3, 40), torch.ones(3, 40), *pairs, absolute=True, products=True, minima=False)
    except (TorchDynamoException, InductorError) as error:
        LOG.info("%s cannot compile (%s): scoring without compiled reductions", compiler, type(error).__name__)
        return False
    return True
