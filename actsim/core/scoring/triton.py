"""Exact sums on a GPU: tiles of Gᵀ X are formed in registers, reduced and never written; see ``kernels``.

Values carry the trace's ``scale``, a power of two: thresholds are multiplied by it, and moments divided by it in
float64, so that what float16 needs the scale for stays in range. Rows of padding have zero gradients, so a sentence is
its rows up to the last valid one. The tiles' sums are added up in float64 and in a fixed order, without atomics: a
repeated call gives the same bits.

The units' sums are no hot path and are ``tiled``'s, as are sums over sentences, Gram matrices, for which a tile of all
sentences has to be there at once, and everything for float64 models, which Triton does not multiply on every device.
Long texts of pairs stay here: ``tiled`` would multiply them in float32, many times slower than half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, kernels, tiled, top_count
from actsim.core.scoring.kernels import DIGIT_BITS
from actsim.core.scoring.tiled import abs_sum, activated, gram, neuron_sums, pair_neurons, sketch
from actsim.core.trace import Trace
from actsim.errors import UsageError

__all__ = ["abs_sum", "activated", "gram", "neuron_sums", "pair_moments", "pair_neurons", "sketch", "top_sets"]

PROGRAMS = 8
"""Programs wanted per multiprocessor; small maps reach it by sharing the pairs out."""

SHORTEST_RUN = 4
"""Pairs per program at least: fetching the tile of W costs about as much as one pair."""

SUM_TOGETHER = not kernels.INTERPRETED
"""The interpreter is very slow at reducing several tiles together."""


@dataclass(frozen=True)
class Operands:
    """What the kernels read of a trace.

    Attributes:
        inputs: X of all sentences, one after another, their padding included.
        grads: G likewise.
        weight: W, a strided view where the module stores it transposed.
        spans: first row of each sentence, and its number of rows up to the last valid one, int32.
        longest: the largest number of rows, at least 1.
    """

    inputs: Float[Tensor, "rows d_in"]
    grads: Float[Tensor, "rows d_out"]
    weight: Float[Tensor, "d_out d_in"]
    spans: Int[Tensor, "sentences 2"]
    longest: int

    @classmethod
    def of(cls, trace: Trace) -> Operands:
        """The operands of ``trace``; nothing is copied unless a tensor is not contiguous."""
        inputs = [segment.inputs.to(trace.dtype).flatten(0, 1) for segment in trace.segments]
        grads = [segment.grads.to(trace.dtype).flatten(0, 1) for segment in trace.segments]
        starts, first = [], 0
        for segment in trace.segments:
            sentences, rows, _ = segment.inputs.shape
            starts += [first + rows * sentence for sentence in range(sentences)]
            first += rows * sentences
        return cls(
            inputs=inputs[0].contiguous() if len(inputs) == 1 else torch.cat(inputs),
            grads=grads[0].contiguous() if len(grads) == 1 else torch.cat(grads),
            weight=trace.map.weight,
            spans=torch.tensor([starts, trace.lengths], dtype=torch.int32).T.contiguous().to(trace.device),
            longest=max(1, *trace.lengths),
        )

    @property
    def single(self) -> bool:
        """Whether the products are of single precision."""
        return self.inputs.dtype == torch.float32

    @property
    def tiles(self) -> Sequence[Any]:
        """Tile sizes for the operands' type."""
        return kernels.FLOAT_TILES if self.single else kernels.HALF_TILES

    def tile_count(self, tile: Mapping[str, Any]) -> int:
        """Number of tiles of W."""
        d_out, d_in = self.weight.shape
        return _share(d_out, tile["BLOCK_OUT"]) * _share(d_in, tile["BLOCK_IN"])

    def run_length(self, items: int) -> int:
        """How many items (pairs or sentences) a program goes through, so that the device is filled."""
        device = self.inputs.device
        processors = 1 if kernels.INTERPRETED else torch.cuda.get_device_properties(device).multi_processor_count
        shares = _share(PROGRAMS * processors, self.tile_count(self.tiles[0].kwargs))
        return _share(items, max(1, min(shares, items // SHORTEST_RUN)))

    def arguments(self) -> dict[str, Any]:
        """The arguments that the kernels have in common."""
        most = kernels.FLOAT_TOKENS if self.single else kernels.HALF_TOKENS
        step = min(most, max(kernels.LEAST_TOKENS, 1 << (self.longest - 1).bit_length()))
        return {
            "inputs": self.inputs,
            "grads": self.grads,
            "weight": self.weight,
            "d_out": self.weight.shape[0],
            "d_in": self.weight.shape[1],
            "w_out": self.weight.stride(0),
            "w_in": self.weight.stride(1),
            "BLOCK_T": step,
            "ONE_STEP": self.longest <= step,
            "enable_fp_fusion": True,
        }


def pair_moments(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, need: Needs, sets: ActivatedSets | None = None
) -> Float[Tensor, "pairs moments"]:
    """The moments of each pair of sentences at one map, float64, in the order of MOMENTS.

    Values and their sums within a tile are float32, sums over tiles float64. float64 models go to ``tiled``.

    Raises:
        UsageError: the trace does not lie on a CUDA device.
    """
    if _left_to_tiled(trace):
        return tiled.pair_moments(trace, pairs, pattern, need, sets)
    if len(pairs) == 0:
        return torch.zeros((0, len(MOMENTS)), dtype=torch.float64)
    operands = Operands.of(trace)
    pairs = pairs.to(trace.device)
    spans = operands.spans[pairs]
    thresholds, limits = (spans, spans) if sets is None else _bounds(trace, sets, pairs)
    run = operands.run_length(len(pairs))
    most_tiles = max(operands.tile_count(tile.kwargs) for tile in operands.tiles)
    by_tile = torch.zeros((most_tiles, len(pairs), len(MOMENTS)), dtype=torch.float32, device=pairs.device)
    with torch.cuda.device_of(by_tile):
        kernels.tuned(operands.single)[lambda tile: (operands.tile_count(tile), _share(len(pairs), run))](
            spans=spans,
            thresholds=thresholds,
            tie_limits=limits,
            by_tile=by_tile,
            n_pairs=len(pairs),
            run=run,
            ABSOLUTE=pattern.absolute,
            WEIGHTED=pattern.weighted,
            PRODUCTS=need.products,
            MINIMA=need.minima,
            SETS=sets is not None,
            TOGETHER=SUM_TOGETHER,
            **operands.arguments(),
        )
    units = [trace.scale**2] * 3 + [trace.scale] * 3 + [1.0] * 3
    return by_tile.sum(dim=0, dtype=torch.float64).cpu() / torch.tensor(units, dtype=torch.float64)


def top_sets(traces: Sequence[Trace], pattern: Pattern, fraction: float) -> list[ActivatedSets]:
    """The ⌈f n⌉ largest of each sentence's n parameters over ``traces``, ties by index; one entry per trace.

    The k-th largest value is found digit by digit: a pass over the tiles counts, for each sentence, the next digit of
    the float32's bits among the values that share the digits settled so far. Where more values equal it than belong
    to the set, the index of the last that does is found in the same way. Values are formed exactly as
    ``pair_moments`` forms them, so that it counts k of them. Absolute patterns only.

    Raises:
        UsageError: the traces do not lie on a CUDA device.
    """
    if any([_left_to_tiled(trace) for trace in traces]):
        return tiled.top_sets(traces, pattern, fraction)
    sizes = [trace.map.weight.numel() for trace in traces]
    offsets = [sum(sizes[:position]) for position in range(len(sizes))]
    scale = max(trace.scale for trace in traces)
    device = traces[0].device
    count = partial(_digit_counts, traces, offsets, pattern, scale)
    rank = torch.full((traces[0].sentences,), top_count(fraction, sum(sizes)), dtype=torch.int64, device=device)
    bits = index = torch.zeros_like(rank)
    for shift in (DIGIT_BITS, 0):
        counts = count(bits, shift)
        digit, rank = _digit_of_rank(counts.flip(1), rank)
        digit = counts.shape[1] - 1 - digit
        bits = (bits << DIGIT_BITS) + digit
    limit = torch.full_like(rank, sum(sizes))
    equal = counts.gather(1, digit.unsqueeze(1)).squeeze(1)
    if bool((equal > rank).any()):
        for shift in reversed(range(0, sum(sizes).bit_length(), DIGIT_BITS)):
            digit, rank = _digit_of_rank(count(index, shift, bits), rank)
            index = (index << DIGIT_BITS) + digit
        limit = index + 1
    threshold = bits.to(torch.int32).view(torch.float32).double() / scale
    return [ActivatedSets(threshold, limit, offset) for offset in offsets]


def _share(whole: int, parts: int) -> int:
    """``whole / parts``, rounded up."""
    return -(-whole // parts)


def _left_to_tiled(trace: Trace) -> bool:
    """Whether the kernels do not take the trace's type (float64) or size (an index within a map is an int32)."""
    if trace.device.type != "cuda" and not kernels.INTERPRETED:
        raise UsageError(f"the scoring backend 'triton' needs a CUDA device, got {trace.device.type}; choose 'tiled'.")
    return trace.dtype == torch.float64 or trace.map.weight.numel() >= 2**31


def _bounds(trace: Trace, sets: ActivatedSets, pairs: Int[Tensor, "pairs 2"]) -> tuple[Tensor, Tensor]:
    """Thresholds in the trace's scale, and tie limits counted from the map's first parameter, [pairs, 2] each."""
    thresholds = (sets.threshold.to(pairs.device, torch.float64) * trace.scale).float()
    limits = (sets.tie_limit.to(pairs.device) - sets.offset).clamp(0, trace.map.weight.numel()).to(torch.int32)
    return thresholds[pairs], limits[pairs]


def _digit_counts(
    traces: Sequence[Trace],
    offsets: Sequence[int],
    pattern: Pattern,
    scale: float,
    prefixes: Int[Tensor, " sentences"],
    shift: int,
    bits_of: Int[Tensor, " sentences"] | None = None,
) -> Int[Tensor, "sentences digits"]:
    """Occurrences of each digit among the keys that begin with ``prefixes``: bits of the values in units of 1 / scale,
    or, where ``bits_of`` is given, indices of the values with these bits."""
    sentences = len(prefixes)
    counts = torch.zeros((sentences, 1 << DIGIT_BITS), dtype=torch.int64, device=prefixes.device)
    for trace, offset in zip(traces, offsets, strict=True):
        operands = Operands.of(trace)
        tile, run = operands.tiles[0], operands.run_length(sentences)
        with torch.cuda.device_of(counts):
            kernels.count_digits[(operands.tile_count(tile.kwargs), _share(sentences, run))](
                spans=operands.spans,
                prefixes=prefixes,
                bits_of=prefixes if bits_of is None else bits_of,
                counts=counts,
                n_sentences=sentences,
                run=run,
                gain=scale / trace.scale,
                offset=offset,
                shift=shift,
                WEIGHTED=pattern.weighted,
                BY_INDEX=bits_of is not None,
                DIGIT_BITS=DIGIT_BITS,
                **operands.arguments(),
                **tile.all_kwargs(),
            )
    return counts


def _digit_of_rank(counts: Int[Tensor, "sentences digits"], rank: Int[Tensor, " sentences"]) -> tuple[Tensor, Tensor]:
    """The digit that the ``rank``-th key has, counted from digit 0, and the key's rank among those of this digit."""
    reached = counts.cumsum(dim=1)
    digit = (reached < rank.unsqueeze(1)).sum(dim=1)
    before = (reached - counts).gather(1, digit.unsqueeze(1)).squeeze(1)
    return digit, rank - before
