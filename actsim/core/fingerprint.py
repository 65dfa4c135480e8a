"""Compact fingerprints of sentences: vectors that stand for patterns too large to keep, for all-pairs work."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from actsim.core.consumers import NeuronSums, WholeLayers
from actsim.core.linears import LinearMap
from actsim.core.precision import to_float64
from actsim.core.scoring import Pattern, backend
from actsim.core.sketch import CountSketch
from actsim.core.trace import Trace


@dataclass(frozen=True)
class Fingerprint:
    """Neuron sums of one sentence's pattern: for every map the row sums Σ_j P_ij, then the column sums Σ_i P_ij.

    Attributes:
        layers: layer -> the sums of its maps one after the other, float64 [Σ (d_out + d_in)].
        maps: layer -> (map name, d_out, d_in) in the order of the vector.
    """

    layers: Mapping[int, Float[Tensor, " units"]]
    maps: Mapping[int, tuple[tuple[str, int, int], ...]]

    def cosine(self, other: Fingerprint) -> dict[int, float]:
        """Cosine of the two fingerprints, layer by layer: an approximation of the patterns' own cosine."""
        return {
            layer: float(torch.nn.functional.cosine_similarity(vector, other.layers[layer], dim=0))
            for layer, vector in self.layers.items()
        }


def assemble(maps: Sequence[LinearMap], sums: Mapping[str, tuple[Tensor, Tensor]], sentences: int) -> list[Fingerprint]:
    """One Fingerprint per sentence out of the sums of a ``NeuronSums`` consumer.

    A map whose trace never came (the read-out does not depend on it) has zeros.
    """
    fingerprints = []
    for sentence in range(sentences):
        vectors: dict[int, list[Tensor]] = {}
        layout: dict[int, list[tuple[str, int, int]]] = {}
        for linear in maps:
            d_out, d_in = linear.weight.shape
            if linear.name in sums:
                rows, columns = sums[linear.name]
                vector = torch.cat([rows[sentence], columns[sentence]]).double()
            else:
                vector = torch.zeros(d_out + d_in, dtype=torch.float64)
            vectors.setdefault(linear.layer, []).append(vector)
            layout.setdefault(linear.layer, []).append((linear.name, d_out, d_in))
        fingerprints.append(
            Fingerprint(
                {layer: torch.cat(parts) for layer, parts in vectors.items()},
                {layer: tuple(names) for layer, names in layout.items()},
            )
        )
    return fingerprints


class LayerVectors(Protocol):
    """A consumer that makes one vector per sentence and layer."""

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        ...

    def vectors(self, sentences: int) -> dict[int, Float[Tensor, "sentences entries"]]:
        """Layer -> vectors, float64 on the CPU; dense, or sparse COO where most entries are zero.

        A sentence that activates nothing in a layer has zeros there.
        """
        ...


UNIT_SIDES = {"rows": (0,), "columns": (1,), "neurons": (0, 1)}
"""Which axes of a weight the sums of a kind of unit vector run along: its output units, its input units, or both."""


class UnitVectors:
    """Row sums Σ_j P_ij, column sums Σ_i P_ij, or both, of a layer's maps one after the other.

    Args:
        maps: the linear maps that are looked at.
        pattern: which pattern.
        sides: a key of UNIT_SIDES.
        scorer: name of the scoring backend.
    """

    def __init__(self, maps: Sequence[LinearMap], pattern: Pattern, sides: str, scorer: str = "tiled") -> None:
        self._maps = maps
        self._taken = UNIT_SIDES[sides]
        self._consumer = NeuronSums(pattern, scorer)

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        self._consumer(trace)

    def vectors(self, sentences: int) -> dict[int, Float[Tensor, "sentences units"]]:
        """Layer -> sums; a map whose trace never came has zeros."""
        layers: dict[int, list[Tensor]] = {}
        for linear in self._maps:
            sums = self._consumer.sums.get(linear.name)
            for side in self._taken:
                units = linear.weight.shape[side]
                part = torch.zeros((sentences, units), dtype=torch.float64) if sums is None else sums[side]
                layers.setdefault(linear.layer, []).append(part)
        return {layer: torch.cat(parts, dim=1) for layer, parts in layers.items()}


class SketchedPatterns:
    """The whole pattern of a layer folded to ``buckets`` numbers, each map by a CountSketch of its own.

    Args:
        maps: the linear maps that are looked at.
        pattern: which pattern.
        buckets: length of a layer's vector.
        seed: which foldings are drawn; vectors of different seeds cannot be compared.
        scorer: name of the scoring backend.
    """

    def __init__(
        self, maps: Sequence[LinearMap], pattern: Pattern, buckets: int, seed: int, scorer: str = "tiled"
    ) -> None:
        self._pattern, self._backend, self._buckets = pattern, backend(scorer), buckets
        self._layers = sorted({linear.layer for linear in maps})
        self._foldings = {
            linear.name: CountSketch.draw(buckets, random.Random(f"{seed} {linear.name}")) for linear in maps
        }
        self._sums: dict[int, Tensor] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        folded = self._backend.sketch(trace, self._pattern, self._foldings[trace.map.name])
        layer = trace.map.layer
        self._sums[layer] = self._sums[layer] + folded if layer in self._sums else folded

    def vectors(self, sentences: int) -> dict[int, Float[Tensor, "sentences buckets"]]:
        """Layer -> folded patterns."""
        nothing = torch.zeros((sentences, self._buckets), dtype=torch.float64)
        return {layer: self._sums.get(layer, nothing) for layer in self._layers}


class TopParameters:
    """The ⌈f n⌉ most activated of a layer's n parameters, as sparse vectors with an entry per parameter.

    Args:
        maps: the linear maps that are looked at.
        pattern: which pattern; an absolute one.
        fraction: f.
        binary: entries are 1, so that a cosine is |S₁ ∩ S₂| / k, the overlap; else they are P.
        scorer: name of the scoring backend.
    """

    def __init__(
        self, maps: Sequence[LinearMap], pattern: Pattern, fraction: float, binary: bool, scorer: str = "tiled"
    ) -> None:
        self._pattern, self._backend = pattern, backend(scorer)
        self._fraction, self._binary = fraction, binary
        self._sizes = parameters_by_layer(maps)
        self._layers = WholeLayers(maps, self._take)
        self._found: dict[int, Tensor] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        self._layers(trace)

    def vectors(self, sentences: int) -> dict[int, Float[Tensor, "sentences parameters"]]:
        """Layer -> sparse vectors; a set may be smaller than k where fewer parameters are activated at all."""
        self._layers.close()
        return {
            layer: self._found.get(layer, torch.zeros((sentences, size), dtype=torch.float64, layout=torch.sparse_coo))
            for layer, size in self._sizes.items()
        }

    def _take(self, traces: Sequence[Trace]) -> None:
        sets = self._backend.top_sets(traces, self._pattern, self._fraction)
        found = [self._backend.activated(trace, self._pattern, own) for trace, own in zip(traces, sets, strict=True)]
        sentence, index, value = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
        activated = value > 0
        place = torch.stack([sentence[activated], index[activated]])
        entries = torch.ones_like(value[activated]) if self._binary else value[activated]
        layer = traces[0].map.layer
        size = (traces[0].sentences, self._sizes[layer])
        vectors = torch.sparse_coo_tensor(place, to_float64(entries), size, check_invariants=False)
        self._found[layer] = vectors.coalesce()


def parameters_by_layer(maps: Sequence[LinearMap]) -> dict[int, int]:
    """Layer -> number of parameters of its maps; those that several maps share count once."""
    sizes: dict[int, int] = {}
    for linear in {id(linear.parameter): linear for linear in reversed(maps)}.values():
        sizes[linear.layer] = sizes.get(linear.layer, 0) + linear.weight.numel()
    return dict(sorted(sizes.items()))


def fold(vectors: Mapping[int, Tensor], longest: int, seed: int) -> dict[int, Float[Tensor, "sentences entries"]]:
    """Dense vectors: those of more than ``longest`` entries folded to that many by a CountSketch, others unchanged.

    Args:
        vectors: layer -> vectors, dense or sparse COO.
        longest: entries of a layer at most.
        seed: which foldings are drawn.
    """
    folded = {}
    for layer, values in vectors.items():
        if values.shape[1] <= longest:
            folded[layer] = values.to_dense() if values.is_sparse else values
            continue
        folding = CountSketch.draw(longest, random.Random(f"{seed} layer {layer}"))
        folded[layer] = _fold_sparse(values, folding) if values.is_sparse else folding.fold(values)
    return folded


def _fold_sparse(values: Tensor, folding: CountSketch) -> Float[Tensor, "sentences buckets"]:
    sentence, index = values.indices()
    bucket, sign = folding.hashes(index)
    folded = torch.zeros((len(values), folding.buckets), dtype=values.dtype)
    return folded.index_put_((sentence, bucket), values.values() * sign, accumulate=True)


def join(vectors: Mapping[int, Tensor]) -> Float[Tensor, "sentences entries"]:
    """The layers' vectors, each of length 1, one after the other and divided by √L: float32, of length 1.

    The inner product of two of them, and their cosine, is the mean over the L layers of the layers' cosines. A layer
    that is zero stays zero: it adds nothing to the inner product. Dense, or sparse COO if every layer is.
    """
    scale = len(vectors) ** -0.5
    return torch.cat([_unit(layer) * scale for layer in vectors.values()], dim=1).float()


def _unit(values: Tensor) -> Tensor:
    """Rows of length 1; zero rows stay zero."""
    if not values.is_sparse:
        return torch.nn.functional.normalize(values, dim=1, eps=torch.finfo(values.dtype).tiny)
    values = values.coalesce()
    lengths = torch.zeros(len(values), dtype=values.dtype).index_add_(0, values.indices()[0], values.values().square())
    entries = values.values() / lengths.sqrt()[values.indices()[0]]
    return torch.sparse_coo_tensor(values.indices(), entries, values.shape, is_coalesced=True, check_invariants=False)
