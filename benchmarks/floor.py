"""The least time that exact scores can take on a machine: FLOPs over the measured rate of a large matrix product, and
on a GPU bytes of weights over the measured memory bandwidth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from actsim.core.batch import Tokens
from benchmarks.machine import synchronise
from benchmarks.shapes import Counts

PRODUCTS_PER_PASS = 3
"""Forward, backward to the activations, and the weight gradient: 2·T·P FLOPs each."""

RATE_SIZE = {"cuda": 4096, "cpu": 2048}
"""Edge of the square matrices whose product gives the rate."""
BANDWIDTH_BYTES = 2 * 2**30
REPEATS = 7
CALLS = {"cuda": 10, "cpu": 1}
"""Calls per repeat; several on a GPU, where one is so short that launching it and waiting for it would count."""


def sentence_flops(tokens: int, counts: Counts) -> int:
    """6·T·P, and for a causal model 2·V·d for the head at the one position that is read.

    Attention scores, norms, and the comparison of the patterns are left out, so the floor is on the low side.
    """
    return 2 * PRODUCTS_PER_PASS * tokens * counts.scored + 2 * counts.head


def pairs_flops(pairs: Sequence[tuple[Tokens, Tokens]], counts: Counts) -> int:
    """FLOPs of all sentences of ``pairs``, padding not counted."""
    return sum(sentence_flops(len(sentence), counts) for pair in pairs for sentence in pair)


@dataclass(frozen=True)
class Rates:
    """What the machine was measured to do, in this process, with this type and these threads.

    Attributes:
        flops: FLOP per second of a large matrix product.
        bandwidth: bytes read and written per second by a large copy on the GPU; None on a CPU.
    """

    flops: float
    bandwidth: float | None

    def seconds(self, flops: float) -> float:
        """The floor of so many FLOPs."""
        return flops / self.flops

    def seconds_to_read(self, weight_bytes: float, batches: int) -> float | None:
        """The floor of reading the weights once per batch."""
        return None if self.bandwidth is None else weight_bytes * batches / self.bandwidth


def measure_rates(dtype: torch.dtype, device: torch.device) -> Rates:
    """Median rate of a matrix product of random matrices and, on a GPU, of a copy."""
    size = RATE_SIZE[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    flops = 2 * size**3 / _median_seconds(lambda: torch.mm(left, right, out=product), device)
    return Rates(flops, _bandwidth(device) if device.type == "cuda" else None)


def _bandwidth(device: torch.device) -> float:
    source = torch.empty(BANDWIDTH_BYTES, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    return 2 * BANDWIDTH_BYTES / _median_seconds(lambda: target.copy_(source), device)


def _median_seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    run()
    calls, seconds = CALLS[device.type], []
    for _ in range(REPEATS):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(calls):
            run()
        synchronise(device)
        seconds.append((time.perf_counter() - start) / calls)
    return statistics.median(seconds)
