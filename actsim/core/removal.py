"""What removing single weights and whole neurons does to D, beside what the first-order estimate says it does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.core.batch import Batch
from actsim.core.linears import LinearMap
from actsim.core.objectives import Objective, log_prob, next_token, widened
from actsim.core.passes import ScoredModel, run_pass
from actsim.core.precision import to_float64
from actsim.core.scoring import Pattern
from actsim.core.scoring.reference import pattern_of
from actsim.core.trace import Trace

SIGNED = Pattern(absolute=False, weighted=True)
"""w ∂D/∂w with its sign."""

TOP_TOKEN_OBJECTIVES: dict[Objective, Callable[[Tensor], Tensor]] = {
    next_token: lambda logits: logits,
    log_prob: lambda logits: logits.log_softmax(dim=1),
}
"""Objectives that read the likeliest token -> their value for every token. The token stays that of the model as it
is: a removal that makes another token likelier is measured on the old one, as the gradient is."""


@dataclass(frozen=True)
class Removal:
    """A weight or a neuron (a row of W; its bias stays), what its removal is estimated to do, and what it does.

    Attributes:
        linear: the map.
        row: output unit i.
        column: input unit j; None for a neuron.
        estimate: |w ∂D/∂w|, or |Σ_j w_ij ∂D/∂w_ij| for a neuron: the first-order estimate of the removal.
        absolute_sum: Σ_j |w_ij ∂D/∂w_ij|, as the paper's scores add up; the estimate itself for a weight.
        change: |D(s, w) - D(s, 0)|.
        readouts: D of the unchanged model.
    """

    linear: LinearMap
    row: int
    column: int | None
    estimate: Float[np.ndarray, " texts"]
    absolute_sum: Float[np.ndarray, " texts"]
    change: Float[np.ndarray, " texts"]
    readouts: Float[np.ndarray, " texts"]


@contextmanager
def removed(linear: LinearMap, row: int, column: int | None = None) -> Iterator[None]:
    """While open, one weight of a map (one row, where ``column`` is None) is zero; the same bits come back."""
    place = (row, slice(None) if column is None else column)
    weight = linear.weight
    saved = weight[place].clone()
    try:
        weight[place] = 0.0
        yield
    finally:
        weight[place] = saved


def measure_removals(
    target: ScoredModel,
    batch: Batch,
    objective: Objective,
    *,
    weights_per_layer: int,
    neurons_per_layer: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Removal], list[Removal]]:
    """Draw weights and neurons of every layer, estimate their removal from one gradient, and measure it one by one.

    Args:
        target: the model, in float32 or wider; unchanged afterwards.
        batch: the texts; every removal is one forward pass over them.
        objective: the read-out D; a token that it reads is held, see TOP_TOKEN_OBJECTIVES.
        weights_per_layer: sample size, see ``Sample``.
        neurons_per_layer: sample size.
        rng: draws the samples.
        progress: told of every removal that is measured, and of how many there are.

    Returns:
        The weights and the neurons, in the order of maps and units.
    """
    samples = [
        Sample(target.maps, weights_per_layer, rng, by_row=False),
        Sample(target.maps, neurons_per_layer, rng, by_row=True),
    ]

    def take(trace: Trace) -> None:
        for sample in samples:
            sample.take(trace)

    result = run_pass(target, batch, objective, take)
    readout = _fixed_readout(target, objective, result.readout.top_token)
    unchanged = _evaluate(target, batch, readout)

    drawn_samples = [sample.drawn() for sample in samples]
    total, done = sum(map(len, drawn_samples)), itertools.count()
    report = progress or (lambda _done, _total: None)
    report(next(done), total)

    def measure(drawn: Drawn) -> Removal:
        with removed(drawn.linear, drawn.row, drawn.column):
            change = np.abs(_evaluate(target, batch, readout) - unchanged)
        report(next(done), total)
        return Removal(
            drawn.linear, drawn.row, drawn.column, drawn.estimate, drawn.absolute_sum, change, readouts=unchanged
        )

    weights, neurons = ([measure(drawn) for drawn in sample] for sample in drawn_samples)
    return weights, neurons


@dataclass(frozen=True)
class Drawn:
    """A weight or a neuron of the sample with its estimates, see ``Removal``."""

    linear: LinearMap
    row: int
    column: int | None
    estimate: Float[np.ndarray, " texts"]
    absolute_sum: Float[np.ndarray, " texts"]


class Sample:
    """Draws weights or neurons of every layer as the traces come: half uniformly, half in proportion to the estimate.

    Most weights do next to nothing, and a uniform draw alone would compare rounding. In proportion means without
    replacement, by the smallest E / A with E exponential and A the mean estimate over the texts (Efraimidis &
    Spirakis 2006); what the estimate says does nothing is drawn uniformly only.

    Args:
        maps: the model's linear maps.
        size: how many are drawn in each layer; all of them, where there are fewer.
        rng: every map draws from its own child, so that the order in which traces arrive does not matter.
        by_row: draw neurons, not weights.
    """

    def __init__(self, maps: Sequence[LinearMap], size: int, rng: np.random.Generator, *, by_row: bool) -> None:
        self._size, self._by_row = size, by_row
        self._place: dict[int, int] = {}
        for place, linear in enumerate(maps):
            self._place.setdefault(id(linear.parameter), place)
        self._generators = dict(zip(self._place, rng.spawn(len(self._place)), strict=True))
        self._uniform: dict[int, Int[np.ndarray, " units"]] = {}
        for layer in dict.fromkeys(linear.layer for linear in maps):
            own = {key: maps[place] for key, place in self._place.items() if maps[place].layer == layer}
            counts = {key: m.weight.shape[0] if by_row else m.weight.numel() for key, m in own.items()}
            self._uniform |= _uniform_draw(counts, math.ceil(size / 2), rng)
        self._pools: dict[int, list[tuple[float, int, int, Drawn]]] = {}

    def take(self, trace: Trace) -> None:
        """Take the trace of one map, all texts."""
        key, layer = id(trace.map.parameter), trace.map.layer
        texts = range(trace.sentences)
        mean = sum((self._estimates(trace, text)[0] for text in texts), np.zeros(1)) / len(texts)
        with np.errstate(divide="ignore"):
            order = self._generators[key].exponential(size=mean.shape) / mean
        order[self._uniform[key]] = -1.0  # drawn already, so ahead of all others
        nearest = np.argpartition(order, min(self._size, len(order)) - 1)[: self._size]
        nearest = nearest[np.isfinite(order[nearest])]
        values = [[part[nearest] for part in self._estimates(trace, text)] for text in texts]
        estimate, absolute_sum = (np.stack(parts, axis=1) for parts in zip(*values, strict=True))
        pool = self._pools.setdefault(layer, [])
        for position, unit in enumerate(nearest.tolist()):
            row, column = (unit, None) if self._by_row else divmod(unit, trace.map.weight.shape[1])
            drawn = Drawn(trace.map, row, column, estimate[position], absolute_sum[position])
            pool.append((float(order[unit]), self._place[key], unit, drawn))
        self._pools[layer] = sorted(pool, key=lambda entry: entry[:3])[: self._size]

    def drawn(self) -> list[Drawn]:
        """The sample, in the order of maps and units."""
        entries = [entry for pool in self._pools.values() for entry in pool]
        return [entry[3] for entry in sorted(entries, key=lambda entry: entry[1:3])]

    def _estimates(self, trace: Trace, text: int) -> tuple[np.ndarray, np.ndarray]:
        """Estimate and absolute sum of every weight or neuron of one map, float64; one pattern at a time is formed."""
        terms = to_float64(pattern_of(trace, text, SIGNED))
        if self._by_row:
            return terms.sum(dim=1).abs().numpy(), terms.abs().sum(dim=1).numpy()
        estimates = terms.abs().flatten().numpy()
        return estimates, estimates


def _uniform_draw(counts: dict[int, int], size: int, rng: np.random.Generator) -> dict[int, Int[np.ndarray, " units"]]:
    """``size`` of all units without replacement, as unit numbers within each of the counted sets."""
    total = sum(counts.values())
    drawn = np.sort(rng.choice(total, min(size, total), replace=False))
    ends = np.cumsum(list(counts.values()))
    return {
        key: drawn[(drawn >= end - count) & (drawn < end)] - (end - count)
        for (key, count), end in zip(counts.items(), ends, strict=True)
    }


class _Recording:
    """A causal model that keeps the logits of its last call."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.logits = torch.empty(0)

    def __call__(self, **inputs: Any) -> Any:
        output = self._model(**inputs)
        self.logits = output.logits
        return output

    def get_output_embeddings(self) -> Any:
        return self._model.get_output_embeddings()


@dataclass(frozen=True)
class _RecordingTarget:
    """Stands for a causal model in front of an objective."""

    model: _Recording
    pooling: None = None


def _fixed_readout(
    target: ScoredModel, objective: Objective, top_token: Tensor | None
) -> Callable[[Batch, slice], Tensor]:
    """D as a function of a batch and of which texts it holds; of the held token, where D is a token's."""
    if objective not in TOP_TOKEN_OBJECTIVES:
        return lambda batch, _texts: objective(target, batch).values
    assert top_token is not None
    held, value = top_token.unsqueeze(1), TOP_TOKEN_OBJECTIVES[objective]

    def of_the_held_token(batch: Batch, texts: slice) -> Tensor:
        recording = _Recording(target.model)
        objective(_RecordingTarget(recording), batch)
        return value(widened(recording.logits).squeeze(1)).gather(1, held[texts]).squeeze(1)

    return of_the_held_token


@torch.no_grad()
def _evaluate(
    target: ScoredModel, batch: Batch, readout: Callable[[Batch, slice], Tensor]
) -> Float[np.ndarray, " texts"]:
    """D of every text, float64."""
    texts = len(batch.labels)
    if target.batchable:
        values = readout(batch, slice(0, texts))
    else:
        values = torch.cat([readout(batch.part(text, text + 1), slice(text, text + 1)) for text in range(texts)])
    return to_float64(values).numpy()
