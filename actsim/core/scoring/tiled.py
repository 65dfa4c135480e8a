"""Exact sums without ever holding a pattern: form a tile of rows of Gᵀ X for all sentences, reduce it, discard it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.core.objectives import widened
from actsim.core.precision import carry, to_float64, widest_float
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, top_count
from actsim.core.sketch import CountSketch
from actsim.core.trace import Trace

TILE_BYTES = 8 * 2**20
"""Size of a tile over all sentences of the batch: it stays in a CPU's last-level cache; see docs/performance.md."""

PREFIX_BITS = 12
"""Leading bits of a float32 (sign dropped, exponent and 4 of the mantissa) that one histogram bin stands for."""


@dataclass(frozen=True)
class Tile:
    """The patterns of all sentences on rows ``first`` … of one map."""

    first: int
    values: Float[Tensor, "sentences rows d_in"]


def tiles(trace: Trace, pattern: Pattern) -> Iterator[Tile]:
    """The patterns of all sentences, tile by tile; a tile's memory is used again for the next.

    Rows of padding have zero gradients and add nothing, so they are not taken out.
    """
    segments = trace.operands()
    weight = widened(trace.map.weight)
    (d_out, d_in), like = weight.shape, segments[0].inputs
    step = min(d_out, max(1, TILE_BYTES // (trace.sentences * d_in * like.element_size())))
    buffer = like.new_empty((trace.sentences, step, d_in))
    for first in range(0, d_out, step):
        rows = min(step, d_out - first)
        values = buffer if rows == step else like.new_empty((trace.sentences, rows, d_in))
        for segment, own in zip(segments, values.split([len(part.lengths) for part in segments]), strict=True):
            torch.bmm(segment.grads[:, :, first : first + rows].transpose(1, 2), segment.inputs, out=own)
        if pattern.weighted:
            values.mul_(weight[first : first + rows])
        if pattern.absolute:
            values.abs_()
        yield Tile(first, values)


def pair_moments(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, need: Needs, sets: ActivatedSets | None = None
) -> Float[Tensor, "pairs moments"]:
    """The moments of each pair of sentences at one map, float64, in the order of MOMENTS.

    Sums within a tile are float32 (float64 for a float64 model), sums over tiles float64.
    """
    device, total = trace.device, torch.zeros((len(pairs), len(MOMENTS)), dtype=torch.float64)
    sums = torch.zeros(total.shape, dtype=widest_float(device), device=device)
    left, right = pairs.to(device).unbind(dim=1)
    for tile in tiles(trace, pattern):
        flat = tile.values.flatten(1)
        a, b = flat[left], flat[right]
        if need.products:
            squares = torch.linalg.vecdot(flat, flat)
            sums[:, 0] += torch.linalg.vecdot(a, b)
            sums[:, 1] += squares[left]
            sums[:, 2] += squares[right]
        if need.minima:
            totals = flat.sum(dim=1)
            sums[:, 3] += totals[left]
            sums[:, 4] += totals[right]
            sums[:, 5] += torch.minimum(a, b).sum(dim=1)
        if sets is not None:
            inside = members(tile, sets)
            counts = inside.sum(dim=1)
            sums[:, 6] += counts[left]
            sums[:, 7] += counts[right]
            sums[:, 8] += (inside[left] & inside[right]).sum(dim=1)
        carry(sums, total)
    return total + to_float64(sums)


def gram(trace: Trace, pattern: Pattern) -> Float[Tensor, "sentences sentences"]:
    """Σ P_a P_b of every two sentences at one map, float64: a tile, seen as [sentences, parameters], times itself.

    Sums within a tile are float32 (float64 for a float64 model), sums over tiles float64.
    """
    total = torch.zeros((trace.sentences, trace.sentences), dtype=torch.float64)
    sums = torch.zeros(total.shape, dtype=widest_float(trace.device), device=trace.device)
    for tile in tiles(trace, pattern):
        flat = tile.values.flatten(1)
        sums += flat @ flat.T
        carry(sums, total)
    total += to_float64(sums)
    return (total + total.T) / 2


def members(tile: Tile, sets: ActivatedSets) -> Tensor:
    """Membership of the tile's parameters in each sentence's activated set, [sentences, parameters]."""
    values = tile.values.flatten(1)
    threshold = sets.threshold.to(values).unsqueeze(1)
    inside = values > threshold
    ties = values == threshold
    if bool(ties.any()):
        first = sets.offset + tile.first * tile.values.shape[2]
        index = first + torch.arange(values.shape[1], device=values.device)
        inside |= ties & (index < sets.tie_limit.to(values.device).unsqueeze(1))
    return inside


def neuron_sums(
    trace: Trace, pattern: Pattern
) -> tuple[Float[Tensor, "sentences d_out"], Float[Tensor, "sentences d_in"]]:
    """Σ_j P_ij and Σ_i P_ij of each sentence: how strongly each output and each input unit is activated."""
    rows, columns = [], torch.zeros((), device=trace.device)
    for tile in tiles(trace, pattern):
        rows.append(tile.values.sum(dim=2))
        columns = columns + tile.values.sum(dim=1)
    return torch.cat(rows, dim=1), columns


def pair_neurons(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern
) -> tuple[Float[Tensor, "pairs d_out"], Float[Tensor, "pairs d_in"]]:
    """Row and column sums of P_a ⊙ P_b of each pair: which units the common activation sits in."""
    left, right = pairs.to(trace.device).unbind(dim=1)
    rows, columns = [], torch.zeros((), device=trace.device)
    for tile in tiles(trace, pattern):
        common = tile.values[left] * tile.values[right]
        rows.append(common.sum(dim=2))
        columns = columns + common.sum(dim=1)
    return torch.cat(rows, dim=1), columns


def sketch(trace: Trace, pattern: Pattern, folding: CountSketch) -> Float[Tensor, "sentences buckets"]:
    """The pattern of each sentence, row after row, folded to a few numbers; float32 in a tile, float64 over tiles."""
    device, d_in = trace.device, trace.map.weight.shape[1]
    total = torch.zeros((trace.sentences, folding.buckets), dtype=torch.float64)
    sums = torch.zeros(total.shape, dtype=widest_float(device), device=device)
    for tile in tiles(trace, pattern):
        sums += folding.fold(tile.values.flatten(1), first=tile.first * d_in)
        carry(sums, total)
    return total + to_float64(sums)


def activated(trace: Trace, pattern: Pattern, sets: ActivatedSets) -> tuple[Tensor, Tensor, Tensor]:
    """The activated parameters: sentence, index (that of the flat weight plus ``sets.offset``) and value of each.

    Sentence by sentence, indices ascending.
    """
    d_in = trace.map.weight.shape[1]
    found = []
    for tile in tiles(trace, pattern):
        sentence, place = members(tile, sets).nonzero(as_tuple=True)
        found.append((sentence, sets.offset + tile.first * d_in + place, tile.values.flatten(1)[sentence, place]))
    sentence, index, value = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = sentence.argsort(stable=True)
    return sentence[order], index[order], value[order]


def abs_sum(trace: Trace, pattern: Pattern, total: Float[Tensor, "d_out d_in"]) -> None:
    """Add Σ_s |P_s| over the sentences of the trace to ``total``.

    |W ⊙ Gᵀ X| is |W| ⊙ |Gᵀ X|, so the weight is multiplied once, after the sum over the sentences.
    """
    weight = widened(trace.map.weight)
    for tile in tiles(trace, Pattern(absolute=True, weighted=False)):
        own = slice(tile.first, tile.first + tile.values.shape[1])
        sums = tile.values.sum(dim=0)
        total[own] += weight[own].abs() * sums if pattern.weighted else sums


def top_sets(traces: Sequence[Trace], pattern: Pattern, fraction: float) -> list[ActivatedSets]:
    """The ⌈f n⌉ largest of each sentence's n parameters over ``traces``, ties by index; one entry per trace.

    A first pass over the tiles counts a log-histogram (bins are the leading bits of the float32 value), which tells
    the bin that holds each sentence's k-th largest value; a second pass collects that bin alone, and the k-th
    largest and its rank among equals are found in it exactly.
    """
    sizes = [trace.map.weight.numel() for trace in traces]
    offsets = [sum(sizes[:position]) for position in range(len(sizes))]
    k = top_count(fraction, sum(sizes))
    bins, above = _bin_of_rank(_histogram(traces, pattern), k)
    thresholds, limits = _rank_within_bin(traces, pattern, offsets, bins, k - above)
    return [ActivatedSets(thresholds, limits, offset) for offset in offsets]


def log_bin(values: Tensor) -> Tensor:
    """Bin of a log-histogram of non-negative values: monotone in the value, 2^(PREFIX_BITS - 8) bins per octave."""
    return values.float().view(torch.int32) >> (31 - PREFIX_BITS)


def _histogram(traces: Sequence[Trace], pattern: Pattern) -> Int[Tensor, "sentences bins"]:
    sentences, device = traces[0].sentences, traces[0].device
    width = 1 << PREFIX_BITS
    counts = torch.zeros(sentences * width, dtype=torch.int64, device=device)
    shift = torch.arange(sentences, device=device).unsqueeze(1) * width
    for trace in traces:
        for tile in tiles(trace, pattern):
            counts += torch.bincount((log_bin(tile.values.flatten(1)) + shift).flatten(), minlength=sentences * width)
    return counts.view(sentences, width)


def _bin_of_rank(counts: Int[Tensor, "sentences bins"], k: int) -> tuple[Tensor, Tensor]:
    """The bin of each sentence's k-th largest value, and how many values lie in higher bins."""
    from_top = counts.flip(1).cumsum(dim=1)
    position = (from_top < k).sum(dim=1)
    above = torch.where(position > 0, from_top.gather(1, (position - 1).clamp(min=0).unsqueeze(1)).squeeze(1), 0)
    return counts.shape[1] - 1 - position, above


def _rank_within_bin(
    traces: Sequence[Trace], pattern: Pattern, offsets: Sequence[int], bins: Tensor, ranks: Tensor
) -> tuple[Float[Tensor, " sentences"], Int[Tensor, " sentences"]]:
    """Value and flat index + 1 of the ``ranks``-th largest value of each sentence's bin, ties by index."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for trace, offset in zip(traces, offsets, strict=True):
        for tile in tiles(trace, pattern):
            values = tile.values.flatten(1)
            sentence, index = (log_bin(values) == bins.unsqueeze(1)).nonzero(as_tuple=True)
            found.append((sentence, values[sentence, index], index + offset + tile.first * tile.values.shape[2]))
    sentence, values, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = values.argsort(descending=True, stable=True)
    order = order[sentence[order].argsort(stable=True)]
    in_bin = torch.bincount(sentence, minlength=len(bins))
    chosen = order[in_bin.cumsum(0) - in_bin + ranks - 1]
    return values[chosen], index[chosen] + 1
