"""Consumers: what is made of a linear map's trace the moment it arrives. A consumer holds state and calls one
backend function; evaluation, explanation and fingerprints differ in their consumer and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.config import Scoring
from actsim.core.capture import Trace
from actsim.core.linears import LinearMap
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, backend

Group = tuple[int, str]
"""A layer (counted from 1) and a kind; the kind ``all`` stands for the whole layer."""


def groups_of(maps: Sequence[LinearMap]) -> list[Group]:
    """The groups of a model: layer by layer, ``all`` first, then the kinds in order of appearance."""
    groups: list[Group] = []
    for linear in maps:
        for group in ((linear.layer, "all"), (linear.layer, linear.kind)):
            if group not in groups:
                groups.append(group)
    return sorted(groups, key=lambda group: group[0])


class PairMoments:
    """Adds up the moments of pairs of sentences, by group.

    Absolute thresholds act as the trace arrives. A top fraction needs all maps of a layer: their traces are kept until
    the layer is complete, the thresholds found, and the patterns formed again.

    Args:
        maps: the model's linear maps.
        pairs: the sentences' positions in the batch.
        scoring: pattern, measures and thresholds.
        scorer: name of the scoring backend.
    """

    def __init__(
        self, maps: Sequence[LinearMap], pairs: Int[Tensor, "pairs 2"], scoring: Scoring, scorer: str = "tiled"
    ) -> None:
        self.groups = groups_of(maps)
        self._position = {group: position for position, group in enumerate(self.groups)}
        self._pairs, self._backend = pairs, backend(scorer)
        self._pattern = Pattern(scoring.absolute, scoring.weighted)
        self._need = Needs(products="cosine" in scoring.measures, minima="ruzicka" in scoring.measures)
        self._gamma, self._top_fraction = scoring.gamma, scoring.top_fraction
        self._order = {linear.name: position for position, linear in enumerate(maps)}
        self._maps_in_layer = _distinct_maps(maps)
        self._waiting: dict[int, list[Trace]] = {}
        self._sums = torch.zeros((len(pairs), len(self.groups), len(MOMENTS)), dtype=torch.float64)

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        if self._top_fraction is None:
            self._add(trace, self._absolute_sets(trace))
            return
        waiting = self._waiting.setdefault(trace.map.layer, [])
        waiting.append(trace)
        if len(waiting) == self._maps_in_layer[trace.map.layer]:
            self._complete(trace.map.layer)

    def moments(self) -> Float[Tensor, "pairs groups moments"]:
        """The sums so far; layers whose traces did not all arrive are closed with those that did."""
        for layer in list(self._waiting):
            self._complete(layer)
        return self._sums

    def _complete(self, layer: int) -> None:
        assert self._top_fraction is not None
        traces = sorted(self._waiting.pop(layer), key=lambda trace: self._order[trace.map.name])
        sets = self._backend.top_sets(traces, self._pattern, self._top_fraction)
        for trace, own in zip(traces, sets, strict=True):
            self._add(trace, own)

    def _absolute_sets(self, trace: Trace) -> ActivatedSets | None:
        if self._gamma is None:
            return None
        sentences = len(trace.inputs)
        threshold = torch.full((sentences,), self._gamma, dtype=torch.float64)
        return ActivatedSets(threshold, torch.zeros(sentences, dtype=torch.int64))

    def _add(self, trace: Trace, sets: ActivatedSets | None) -> None:
        moments = self._backend.pair_moments(trace, self._pairs, self._pattern, self._need, sets)
        layer = trace.map.layer
        self._sums[:, self._position[layer, "all"]] += moments
        self._sums[:, self._position[layer, trace.map.kind]] += moments


class NeuronSums:
    """Row and column sums of each sentence's pattern at every map: a compact fingerprint of the sentence."""

    def __init__(self, pattern: Pattern, scorer: str = "tiled") -> None:
        self._backend, self._pattern = backend(scorer), pattern
        self.sums: dict[str, tuple[Float[Tensor, "sentences d_out"], Float[Tensor, "sentences d_in"]]] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        rows, columns = self._backend.neuron_sums(trace, self._pattern)
        self.sums[trace.map.name] = (rows.double().cpu(), columns.double().cpu())


class PairNeurons:
    """Row and column sums of P_a ⊙ P_b at every map: where the common activation of a pair sits."""

    def __init__(self, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, scorer: str = "tiled") -> None:
        self._pairs, self._backend, self._pattern = pairs, backend(scorer), pattern
        self.sums: dict[str, tuple[Float[Tensor, "pairs d_out"], Float[Tensor, "pairs d_in"]]] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        rows, columns = self._backend.pair_neurons(trace, self._pairs, self._pattern)
        self.sums[trace.map.name] = (rows.double().cpu(), columns.double().cpu())


def _distinct_maps(maps: Sequence[LinearMap]) -> dict[int, int]:
    """Number of parameters per layer; maps that share a parameter arrive as one trace, under the first map's name."""
    first: dict[int, int] = {}
    for linear in maps:
        first.setdefault(id(linear.parameter), linear.layer)
    counts: dict[int, int] = {}
    for layer in first.values():
        counts[layer] = counts.get(layer, 0) + 1
    return counts
