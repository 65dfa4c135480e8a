"""Count-sketch: a long vector folded to a short one, inner products kept on average."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

PRIME = 2**31 - 1
"""Hashes are polynomials over this field; a product of two of its elements fits into 63 bits."""


@dataclass(frozen=True)
class CountSketch:
    """A folding S of vectors with up to PRIME entries to ``buckets`` numbers (Charikar, Chen and Farach-Colton 2002).

    Entry i goes to bucket h(i) with the sign s(i); h is pairwise, s four-wise independent. Over the draw of h and s

        E ⟨Sp, Sq⟩ = ⟨p, q⟩        Var ⟨Sp, Sq⟩ ≤ (‖p‖² ‖q‖² + ⟨p, q⟩²) / buckets

    so the standard error of a cosine c is at most √((1 + c²) / buckets).

    Attributes:
        buckets: length of the folded vector.
        place: the two coefficients of the polynomial behind h, highest power first.
        parity: the four coefficients of the polynomial behind s.
    """

    buckets: int
    place: tuple[int, ...]
    parity: tuple[int, ...]

    @classmethod
    def draw(cls, buckets: int, generator: random.Random) -> CountSketch:
        """One of the family."""
        coefficients = [generator.randrange(PRIME) for _ in range(6)]
        return cls(buckets, tuple(coefficients[:2]), tuple(coefficients[2:]))

    def hashes(self, index: Int[Tensor, " entries"]) -> tuple[Int[Tensor, " entries"], Int[Tensor, " entries"]]:
        """h(i) in 0 … buckets - 1 and s(i), which is 1 or -1."""
        return _polynomial(self.place, index) % self.buckets, 1 - 2 * (_polynomial(self.parity, index) & 1)

    def fold(self, values: Float[Tensor, "vectors entries"], first: int = 0) -> Float[Tensor, "vectors buckets"]:
        """S applied to vectors whose entries ``first``, ``first`` + 1, … are ``values``, the others zero."""
        index = torch.arange(first, first + values.shape[1], device=values.device)
        bucket, sign = self.hashes(index)
        folded = values.new_zeros((len(values), self.buckets))
        return folded.scatter_add_(1, bucket.expand_as(values), values * sign)


def _polynomial(coefficients: tuple[int, ...], index: Tensor) -> Tensor:
    value = torch.zeros_like(index)
    for coefficient in coefficients:
        value = (value * index + coefficient) % PRIME
    return value
