"""Compact fingerprints of sentences: how strongly each unit of each linear map is activated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from actsim.core.linears import LinearMap


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
