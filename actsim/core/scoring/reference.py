"""The readable truth: every pattern is materialised, one sentence at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from actsim.core.objectives import widened
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, top_count
from actsim.core.sketch import CountSketch
from actsim.core.trace import Trace


def pattern_of(trace: Trace, sentence: int, pattern: Pattern) -> Float[Tensor, "d_out d_in"]:
    """P = |W ⊙ Gᵀ X| of one sentence (absolute, weighted), over the sentence's own rows."""
    inputs, grads = trace.sentence(sentence)
    values = grads.T @ inputs
    if pattern.weighted:
        values = widened(trace.map.weight) * values
    return values.abs() if pattern.absolute else values


def members(values: Float[Tensor, "d_out d_in"], sets: ActivatedSets, sentence: int) -> Bool[Tensor, "d_out d_in"]:
    """Which parameters belong to the sentence's activated set."""
    index = sets.offset + torch.arange(values.numel(), device=values.device).reshape(values.shape)
    threshold = sets.threshold[sentence]
    return (values > threshold) | ((values == threshold) & (index < sets.tie_limit[sentence]))


def pair_moments(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, need: Needs, sets: ActivatedSets | None = None
) -> Float[Tensor, "pairs moments"]:
    """The moments of each pair of sentences at one map, float64, in the order of MOMENTS."""
    sums = torch.zeros((len(pairs), len(MOMENTS)), dtype=torch.float64)
    for row, (a, b) in enumerate(pairs.tolist()):
        p_a, p_b = pattern_of(trace, a, pattern), pattern_of(trace, b, pattern)
        if need.products:
            sums[row, :3] = torch.stack([(p_a * p_b).sum(), p_a.square().sum(), p_b.square().sum()])
        if need.minima:
            sums[row, 3:6] = torch.stack([p_a.sum(), p_b.sum(), torch.minimum(p_a, p_b).sum()])
        if sets is not None:
            in_a, in_b = members(p_a, sets, a), members(p_b, sets, b)
            sums[row, 6:] = torch.stack([in_a.sum(), in_b.sum(), (in_a & in_b).sum()])
    return sums


def gram(trace: Trace, pattern: Pattern) -> Float[Tensor, "sentences sentences"]:
    """Σ P_a P_b of every two sentences at one map, float64."""
    values = torch.stack([pattern_of(trace, sentence, pattern) for sentence in range(trace.sentences)]).double()
    return torch.einsum("aij,bij->ab", values, values).cpu()


def neuron_sums(
    trace: Trace, pattern: Pattern
) -> tuple[Float[Tensor, "sentences d_out"], Float[Tensor, "sentences d_in"]]:
    """Σ_j P_ij and Σ_i P_ij of each sentence: how strongly each output and each input unit is activated."""
    values = [pattern_of(trace, sentence, pattern) for sentence in range(trace.sentences)]
    return torch.stack([p.sum(dim=1) for p in values]), torch.stack([p.sum(dim=0) for p in values])


def pair_neurons(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern
) -> tuple[Float[Tensor, "pairs d_out"], Float[Tensor, "pairs d_in"]]:
    """Row and column sums of P_a ⊙ P_b of each pair: which units the common activation sits in."""
    common = [pattern_of(trace, a, pattern) * pattern_of(trace, b, pattern) for a, b in pairs.tolist()]
    return torch.stack([p.sum(dim=1) for p in common]), torch.stack([p.sum(dim=0) for p in common])


def sketch(trace: Trace, pattern: Pattern, folding: CountSketch) -> Float[Tensor, "sentences buckets"]:
    """The pattern of each sentence, row after row, times the matrix of the folding."""
    bucket, sign = folding.hashes(torch.arange(trace.map.weight.numel()))
    matrix = torch.nn.functional.one_hot(bucket, folding.buckets).double() * sign.unsqueeze(1)
    return torch.stack([pattern_of(trace, i, pattern).double().flatten() @ matrix for i in range(trace.sentences)])


def activated(trace: Trace, pattern: Pattern, sets: ActivatedSets) -> tuple[Tensor, Tensor, Tensor]:
    """The activated parameters: sentence, index (that of the flat weight plus ``sets.offset``) and value of each."""
    found = []
    for sentence in range(trace.sentences):
        values = pattern_of(trace, sentence, pattern)
        place = members(values, sets, sentence).flatten().nonzero().squeeze(1)
        found.append((torch.full_like(place, sentence), sets.offset + place, values.flatten()[place]))
    sentence_of, index, value = (torch.cat(parts) for parts in zip(*found, strict=True))
    return sentence_of, index, value


def abs_sum(trace: Trace, pattern: Pattern, total: Float[Tensor, "d_out d_in"]) -> None:
    """Add Σ_s |P_s| over the sentences of the trace to ``total``."""
    for sentence in range(trace.sentences):
        total += pattern_of(trace, sentence, pattern).abs()


def top_sets(traces: Sequence[Trace], pattern: Pattern, fraction: float) -> list[ActivatedSets]:
    """The ⌈f n⌉ largest of each sentence's n parameters over ``traces``, ties by index; one entry per trace."""
    sentences = traces[0].sentences
    sizes = [trace.map.weight.numel() for trace in traces]
    k = top_count(fraction, sum(sizes))
    thresholds, limits = [], []
    for sentence in range(sentences):
        values = torch.cat([pattern_of(trace, sentence, pattern).flatten() for trace in traces])
        ordered = torch.sort(values, descending=True, stable=True)
        thresholds.append(ordered.values[k - 1])
        limits.append(ordered.indices[k - 1] + 1)
    threshold, limit = torch.stack(thresholds), torch.stack(limits)
    offsets = [sum(sizes[:position]) for position in range(len(sizes))]
    return [ActivatedSets(threshold, limit, offset) for offset in offsets]
