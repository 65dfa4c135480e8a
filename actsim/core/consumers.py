"""Consumers: what is made of a linear map's trace the moment it arrives. A consumer holds state and calls one
backend function; evaluation, explanation and fingerprints differ in their consumer and in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.config import Scoring
from actsim.core.linears import LinearMap
from actsim.core.precision import to_float64
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, backend
from actsim.core.trace import Trace, unused
from actsim.errors import NumericError

NOISE_FLOOR = 1e-6
"""A kind's pattern below this share of its layer's, in norm or in sum, is rounding noise: it is zero. The keys and
queries of a one-token sentence come out as zero or as up to 1e-7 of the layer, by the shape of the batch."""

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
        self._gamma, self._top_fraction = scoring.gamma, scoring.top_fraction
        self._need = Needs(
            products="cosine" in scoring.measures or self._top_fraction is not None,
            minima="ruzicka" in scoring.measures,
        )
        self._complete_layers = WholeLayers(maps, self._add_with_top_sets)
        self._sums = torch.zeros((len(pairs), len(self.groups), len(MOMENTS)), dtype=torch.float64)

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        if self._top_fraction is None:
            self._add(trace, self._absolute_sets(trace))
        else:
            self._complete_layers(trace)

    def moments(self) -> Float[Tensor, "pairs groups moments"]:
        """The sums so far, kinds that are noise set to zero; layers that wait for a trace are closed without it."""
        self._complete_layers.close()
        return self._without_noise()

    def check(self, labels: Sequence[tuple[str, str]]) -> None:
        """Raise where the sums of a pair say nothing.

        A pattern that is all zero has no direction, which is an error for a whole layer. For a kind it is none (queries
        and keys of a one-token sentence): its scores are NaN. With γ alone an empty set is no error either.

        Args:
            labels: what messages call the two sentences of each pair.

        Raises:
            NumericError: a sum is not finite, or a layer's pattern is zero; names sentence and layer.
        """
        sums = self.moments()
        needed = {"square": self._need.products, "sum": self._need.minima}
        for side, letter in enumerate("ab"):
            for own in (own for own, wanted in needed.items() if wanted):
                column = sums[:, :, MOMENTS.index(f"{own}_{letter}")]
                _refuse_without_direction(column, self.groups, [pair[side] for pair in labels], "the pair")

    def _without_noise(self) -> Float[Tensor, "pairs groups moments"]:
        whole = [self._position[layer, "all"] for layer, _ in self.groups]
        sums = self._sums.clone()
        for own, floor, shared in (("square", NOISE_FLOOR**2, "dot"), ("sum", NOISE_FLOOR, "minimum")):
            for letter in "ab":
                column = MOMENTS.index(f"{own}_{letter}")
                noise = self._sums[:, :, column] < floor * self._sums[:, whole, column]
                sums[:, :, [column, MOMENTS.index(shared)]] *= ~noise.unsqueeze(2)
        return sums

    def _add_with_top_sets(self, traces: Sequence[Trace]) -> None:
        assert self._top_fraction is not None
        sets = self._backend.top_sets(traces, self._pattern, self._top_fraction)
        for trace, own in zip(traces, sets, strict=True):
            self._add(trace, own)

    def _absolute_sets(self, trace: Trace) -> ActivatedSets | None:
        if self._gamma is None:
            return None
        sentences = trace.sentences
        threshold = torch.full((sentences,), self._gamma, dtype=torch.float64)
        return ActivatedSets(threshold, torch.zeros(sentences, dtype=torch.int64))

    def _add(self, trace: Trace, sets: ActivatedSets | None) -> None:
        moments = self._backend.pair_moments(trace, self._pairs, self._pattern, self._need, sets)
        layer = trace.map.layer
        self._sums[:, self._position[layer, "all"]] += moments
        self._sums[:, self._position[layer, trace.map.kind]] += moments


class WholeLayers:
    """Keeps the traces of a layer until all of them have arrived, and then hands them on.

    Args:
        maps: the model's linear maps.
        take: called with the traces of a layer, in the order of its maps; a parameter that several maps share has one.
    """

    def __init__(self, maps: Sequence[LinearMap], take: Callable[[Sequence[Trace]], None]) -> None:
        self._in_layer, self._take = distinct_maps(maps), take
        self._waiting: dict[int, dict[int, Trace]] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        layer = trace.map.layer
        self._waiting.setdefault(layer, {})[id(trace.map.parameter)] = trace
        if len(self._waiting[layer]) == len(self._in_layer[layer]):
            self._hand_on(layer)

    def close(self) -> None:
        """Hand on what still waits; a map that the read-outs do not depend on gets a trace without rows."""
        for layer in list(self._waiting):
            self._hand_on(layer)

    def _hand_on(self, layer: int) -> None:
        arrived = self._waiting.pop(layer)
        like = next(iter(arrived.values()))
        self._take(
            [arrived.get(id(linear.parameter)) or _without_rows(linear, like) for linear in self._in_layer[layer]]
        )


class Gram:
    """Adds up Σ P_a P_b of every two sentences of a batch, by group: all cosines of the batch out of one pass.

    Args:
        maps: the linear maps whose traces will come; those of other maps are not taken.
        sentences: number of sentences of the batch.
        pattern: which pattern is formed.
        scorer: name of the scoring backend.
    """

    def __init__(self, maps: Sequence[LinearMap], sentences: int, pattern: Pattern, scorer: str = "tiled") -> None:
        self.groups = groups_of(maps)
        self._position = {group: position for position, group in enumerate(self.groups)}
        self._backend, self._pattern = backend(scorer), pattern
        self._products = torch.zeros((len(self.groups), sentences, sentences), dtype=torch.float64)

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        products = self._backend.gram(trace, self._pattern)
        self._products[self._position[trace.map.layer, "all"]] += products
        self._products[self._position[trace.map.layer, trace.map.kind]] += products

    def products(self) -> Float[Tensor, "groups sentences sentences"]:
        """The sums so far; the rows and columns of sentences whose kind is noise are zero, see NOISE_FLOOR."""
        squares = self._squares()
        whole = [self._position[layer, "all"] for layer, _ in self.groups]
        kept = squares >= NOISE_FLOOR**2 * squares[whole]
        return self._products * kept.unsqueeze(1) * kept.unsqueeze(2)

    def check(self, labels: Sequence[str]) -> None:
        """Raise where a sentence's pattern has no direction at a whole layer.

        Args:
            labels: what messages call the sentences.

        Raises:
            NumericError: a sum is not finite, or a layer's pattern is zero; names sentence and layer.
        """
        _refuse_without_direction(self._squares().T, self.groups, labels, "the sample")

    def _squares(self) -> Float[Tensor, "groups sentences"]:
        return self._products.diagonal(dim1=1, dim2=2)


class Together:
    """Hands each trace to several consumers, so that they share the pass.

    Args:
        consumers: each is called with every trace, in this order.
    """

    def __init__(self, consumers: Sequence[PairMoments]) -> None:
        self.consumers = tuple(consumers)

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        for consumer in self.consumers:
            consumer(trace)


class NeuronSums:
    """Row and column sums of each sentence's pattern at every map: a compact fingerprint of the sentence."""

    def __init__(self, pattern: Pattern, scorer: str = "tiled") -> None:
        self._backend, self._pattern = backend(scorer), pattern
        self.sums: dict[str, tuple[Float[Tensor, "sentences d_out"], Float[Tensor, "sentences d_in"]]] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        rows, columns = self._backend.neuron_sums(trace, self._pattern)
        self.sums[trace.map.name] = (to_float64(rows), to_float64(columns))


class PairNeurons:
    """Row and column sums of P_a ⊙ P_b at every map: where the common activation of a pair sits."""

    def __init__(self, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, scorer: str = "tiled") -> None:
        self._pairs, self._backend, self._pattern = pairs, backend(scorer), pattern
        self.sums: dict[str, tuple[Float[Tensor, "pairs d_out"], Float[Tensor, "pairs d_in"]]] = {}

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        rows, columns = self._backend.pair_neurons(trace, self._pairs, self._pattern)
        self.sums[trace.map.name] = (to_float64(rows), to_float64(columns))


def _refuse_without_direction(
    own: Float[Tensor, "sentences groups"], groups: Sequence[Group], labels: Sequence[str], unit: str
) -> None:
    """Raise NumericError where a sentence's sum over its pattern is not finite, or zero for a whole layer."""
    overflowed = ~torch.isfinite(own)
    if bool(overflowed.any()):
        sentence, group = overflowed.nonzero()[0].tolist()
        layer, kind = groups[group]
        raise NumericError(
            f"{labels[sentence]}: layer {layer} ({kind}): the sums over the pattern are not finite; "
            "use --dtype float64."
        )
    zero = (own == 0) & torch.tensor([kind == "all" for _, kind in groups])
    if bool(zero.any()):
        sentence, group = zero.nonzero()[0].tolist()
        raise NumericError(
            f"{labels[sentence]}: layer {groups[group][0]}: no parameter is activated, so the pattern has no "
            f"direction: the read-out does not depend on this layer; choose another objective or leave {unit} out."
        )


def distinct_maps(maps: Sequence[LinearMap]) -> dict[int, list[LinearMap]]:
    """The maps of each layer, the first one only of those that share a parameter: they arrive as one trace."""
    distinct: dict[int, LinearMap] = {}
    for linear in maps:
        distinct.setdefault(id(linear.parameter), linear)
    layers: dict[int, list[LinearMap]] = {}
    for linear in distinct.values():
        layers.setdefault(linear.layer, []).append(linear)
    return layers


def _without_rows(linear: LinearMap, like: Trace) -> Trace:
    """The trace of a map that the read-outs do not depend on."""
    bare = Trace(linear, like.segments)
    return Trace(linear, (unused(bare, like.sentences),))
