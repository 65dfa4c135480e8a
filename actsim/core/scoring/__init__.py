"""Scoring backends: modules with one set of functions, which make sums of a trace's activation patterns.

- ``reference`` materialises every pattern, one sentence at a time: the readable truth.
- ``tiled`` forms a tile of the patterns of all sentences, reduces it and discards it.
- ``fused`` forms and reduces small blocks in registers, by compiled code (CPUs with a C++ compiler).
- ``triton`` does so in the registers of a CUDA device, without padding and in the model's type (extra ``gpu``).

Functions of a backend (P is a sentence's pattern at one linear map, [d_out, d_in]):

- ``pair_moments(trace, pairs, pattern, need, sets)``: the additive moments of each pair, see MOMENTS
- ``gram(trace, pattern)``: Σ P_a P_b of every two sentences, [sentences, sentences]
- ``neuron_sums(trace, pattern)``: Σ_j P_ij and Σ_i P_ij of each sentence
- ``pair_neurons(trace, pairs, pattern)``: the same of P_a ⊙ P_b of each pair
- ``abs_sum(trace, pattern, total)``: Σ_s |P_s| over the sentences, added to ``total``
- ``sketch(trace, pattern, folding)``: each sentence's pattern folded by a ``CountSketch``
- ``activated(trace, pattern, sets)``: the parameters of each sentence's activated set, and their values
- ``top_sets(traces, pattern, fraction)``: the threshold of each sentence's largest parameters over several maps
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

from jaxtyping import Float, Int
from torch import Tensor

from actsim.errors import UsageError

MOMENTS = ("dot", "square_a", "square_b", "sum_a", "sum_b", "minimum", "count_a", "count_b", "count_both")
"""Σ P_a P_b, Σ P_a², Σ P_b², Σ P_a, Σ P_b, Σ min(P_a, P_b), |S_a|, |S_b|, |S_a ∩ S_b|, in this order. They add up over
tiles, linear maps and devices."""

BACKENDS = ("tiled", "fused", "triton", "reference")


@dataclass(frozen=True)
class Pattern:
    """Which of the four patterns is formed: absolute or signed, weighted by W or the gradient alone."""

    absolute: bool = True
    weighted: bool = True


@dataclass(frozen=True)
class Needs:
    """Which moments are wanted; the others stay zero.

    Attributes:
        products: dot and squares (cosine).
        minima: sums and minimum (Ruzicka).
    """

    products: bool = True
    minima: bool = False


@dataclass(frozen=True)
class ActivatedSets:
    """The activated set of each sentence at one linear map: {i : P_i > t, or P_i = t and i < tie_limit}.

    Attributes:
        threshold: t of each sentence, at least 0.
        tie_limit: flat index i, counted over the maps of the layer in order, below which a value equal to t belongs.
        offset: flat index of this map's first parameter.
    """

    threshold: Float[Tensor, " sentences"]
    tie_limit: Int[Tensor, " sentences"]
    offset: int = 0


def top_count(fraction: float, parameters: int) -> int:
    """k = ⌈f n⌉ for the decimal number f that ``fraction`` is written as: 7 of 100 for 0.07, whose double is larger."""
    return math.ceil(Fraction(repr(fraction)) * parameters)


def backend(name: str) -> ModuleType:
    """The scoring module called ``name``."""
    if name not in BACKENDS:
        raise UsageError(f"unknown scoring backend {name!r}; known: {', '.join(BACKENDS)}.")
    return importlib.import_module(f"actsim.core.scoring.{name}")


def default_backend(device: str, dtype: str = "float32") -> str:
    """The backend of a run, chosen once, before its first pass.

    Args:
        device: where the model lives, e.g. ``cpu`` or ``cuda:0``.
        dtype: the model's type.

    Returns:
        ``triton`` on CUDA devices where it is installed; ``fused`` on a CPU with a working C++ compiler, but for
        float64; else ``tiled``.
    """
    if device.startswith("cuda"):
        return "triton" if importlib.util.find_spec("triton") is not None else "tiled"
    if device == "cpu" and dtype != "float64" and backend("fused").is_available():
        return "fused"
    return "tiled"
