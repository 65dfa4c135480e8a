"""What the Triton backend must compute, held against the float64 reference.

Run by test_triton.py in a process of its own: Triton's interpreter has to be chosen before Triton is imported. With
TRITON_INTERPRET=1 the kernels run on the CPU, otherwise on the first CUDA device.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import pytest
import tiny_traces
import torch
from tiny_traces import changed, trace_of
from torch import nn

from actsim.core.linears import LinearMap
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, kernels, reference, tiled, triton
from actsim.core.trace import Trace, unused

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-5, torch.bfloat16: 5e-5}
"""Relative to the sums of absolute terms. The reference has the same half-precision numbers, so that only sums round;
tensor cores round theirs towards zero."""

PATTERNS = [Pattern(absolute, weighted) for absolute in (True, False) for weighted in (True, False)]
EVERYTHING = Needs(products=True, minima=True)


def doubled(trace: Trace) -> Trace:
    """The trace with the same numbers in float64, on the CPU."""
    linear = replace(trace.map, module=copy.deepcopy(trace.map.module).double().cpu())
    return changed(trace, inputs=lambda x: x.double().cpu(), grads=lambda g: g.double().cpu(), map=linear)


def placed(trace: Trace) -> Trace:
    """The trace on the device under test."""
    trace.map.module.to(DEVICE)
    return changed(trace, inputs=lambda x: x.to(DEVICE), grads=lambda g: g.to(DEVICE))


def all_pairs(sentences: int) -> torch.Tensor:
    return torch.combinations(torch.arange(sentences), with_replacement=True)


def assert_equals_reference(
    trace: Trace,
    *,
    pairs: torch.Tensor | None = None,
    pattern: Pattern | None = None,
    sets: ActivatedSets | None = None,
) -> None:
    pattern = pattern or Pattern()
    pairs = all_pairs(trace.sentences) if pairs is None else pairs
    expected = reference.pair_moments(doubled(trace), pairs, pattern, EVERYTHING, sets)
    size = reference.pair_moments(doubled(trace), pairs, replace(pattern, absolute=True), EVERYTHING)
    size[:, 0] = (size[:, 1] * size[:, 2]).sqrt()  # what rounding of Σ P_a P_b is relative to
    size[:, 5] = torch.maximum(size[:, 3], size[:, 4])
    found = triton.pair_moments(placed(trace), pairs, pattern, EVERYTHING, sets)
    assert found.dtype == torch.float64
    assert found.device.type == "cpu"
    tolerance = TOLERANCE[trace.dtype]
    assert bool(((found - expected).abs() <= tolerance * size)[:, :6].all()), (found - expected) / size
    assert torch.equal(found[:, 6:], expected[:, 6:])


def same_sets(trace: Trace, threshold: float, tie_limit: int = 0, offset: int = 0) -> ActivatedSets:
    sentences = trace.sentences
    return ActivatedSets(
        torch.full((sentences,), threshold, dtype=torch.float64), torch.full((sentences,), tie_limit), offset
    )


def test_the_kernels_run_where_this_run_says() -> None:
    assert kernels.INTERPRETED == INTERPRETED, "Triton was imported before TRITON_INTERPRET was set"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (3, 150), (140, 5), (65, 129)], ids=str)
def test_odd_sizes_and_ragged_sentences(size: tuple[int, int], dtype: torch.dtype) -> None:
    assert_equals_reference(tiny_traces.make_trace(tiny_traces.make_map(*size), [1, 17, 5], dtype=dtype))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_every_pattern(pattern: Pattern) -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(33, 21), [4, 9], dtype=torch.float32)
    assert_equals_reference(trace, pattern=pattern)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_sentences_of_one_token(dtype: torch.dtype) -> None:
    assert_equals_reference(tiny_traces.make_trace(tiny_traces.make_map(20, 40), [1, 1, 1], dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "lengths"),
    [(torch.float16, [64, 16]), (torch.bfloat16, [65, 1, 130]), (torch.float32, [33, 64]), (torch.float32, [32, 7])],
    ids=str,
)
def test_texts_at_and_beyond_one_step(dtype: torch.dtype, lengths: list[int]) -> None:
    assert_equals_reference(tiny_traces.make_trace(tiny_traces.make_map(18, 24), lengths, dtype=dtype))


def test_only_what_is_needed_is_computed() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(6, 7), [2, 3], dtype=torch.float32)
    pairs = torch.tensor([[0, 1]])
    found = triton.pair_moments(placed(trace), pairs, Pattern(), Needs(products=True, minima=False))
    assert bool((found[:, :3] > 0).all())
    assert torch.equal(found[:, 3:], torch.zeros(1, 6, dtype=torch.float64))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("threshold", "tie_limit", "offset"), [(4.0, 0, 0), (0.0, 0, 0), (3.0, 130, 100)])
def test_sets_above_a_threshold(dtype: torch.dtype, threshold: float, tie_limit: int, offset: int) -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(9, 11, levels=2), [3, 1, 6], dtype=dtype, levels=2)
    assert_equals_reference(trace, sets=same_sets(trace, threshold, tie_limit, offset))


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9, 1.0])
def test_top_fraction_with_ties_over_several_maps(fraction: float) -> None:
    sizes = [(9, 11), (70, 5), (4, 40)]
    traces = [
        tiny_traces.make_trace(
            tiny_traces.make_map(*size, seed=seed, levels=1), [2, 1, 3], seed=seed, dtype=torch.float16, levels=1
        )
        for seed, size in enumerate(sizes)
    ]
    expected = reference.top_sets([doubled(trace) for trace in traces], Pattern(), fraction)
    found = triton.top_sets([placed(trace) for trace in traces], Pattern(), fraction)
    for trace, own, theirs in zip(traces, found, expected, strict=True):
        assert own.offset == theirs.offset
        assert torch.equal(own.threshold.cpu(), theirs.threshold)
        counts = triton.pair_moments(trace, all_pairs(3), Pattern(), Needs(products=False), own)
        assert torch.equal(
            counts,
            reference.pair_moments(doubled(trace), all_pairs(3), Pattern(), Needs(products=False), theirs),
        )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_top_fraction_counts_exactly_k_of_rounded_values(dtype: torch.dtype) -> None:
    made = [
        tiny_traces.make_trace(tiny_traces.make_map(*size, seed=seed), [5, 1, 20], seed=seed, dtype=dtype)
        for seed, size in enumerate([(30, 50), (70, 20)])
    ]

    def counts(scorer: ModuleType, traces: Sequence[Trace]) -> torch.Tensor:
        arguments = [all_pairs(3), Pattern(), Needs(products=False)]
        sets = scorer.top_sets(traces, Pattern(), 0.037)
        return torch.stack(
            [scorer.pair_moments(trace, *arguments, own) for trace, own in zip(traces, sets, strict=True)]
        ).sum(dim=0)[:, 6:]

    expected, found = counts(reference, [doubled(trace) for trace in made]), counts(triton, [placed(t) for t in made])
    assert torch.equal(found[:, :2], torch.full((6, 2), 108.0, dtype=torch.float64))  # ⌈0.037 x 2900⌉
    assert bool(((found - expected)[:, 2].abs() <= 2).all())


class StoredTransposed(nn.Module):
    """A map whose weight is stored as [d_in, d_out]."""

    def __init__(self, d_out: int, d_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(tiny_traces.draw((d_in, d_out), 5), requires_grad=False)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_transposed_weights_are_read_in_place(dtype: torch.dtype) -> None:
    linear = LinearMap("map", StoredTransposed(35, 70), 1, "qkv", transposed=True)
    assert linear.weight.stride() == (1, 35)
    assert_equals_reference(tiny_traces.make_trace(linear, [4, 2], dtype=dtype))


@pytest.mark.parametrize("scale", [2.0**10, 2.0**-3])
def test_scale_is_divided_out(scale: float) -> None:
    linear = tiny_traces.make_map(12, 13, levels=2)
    trace = tiny_traces.make_trace(linear, [3, 5, 1], dtype=torch.float16, scale=scale, levels=2)
    assert_equals_reference(trace, sets=same_sets(trace, 6.0, 40))


def test_scale_saves_what_float32_squares_would_lose() -> None:
    linear = tiny_traces.make_map(10, 10)
    trace = tiny_traces.make_trace(linear, [3, 2], dtype=torch.float32)
    small = changed(trace, grads=lambda g: g * 2.0**-70 * 2.0**60, scale=2.0**60)
    assert_equals_reference(small)


def test_top_fraction_does_not_depend_on_the_scale() -> None:
    linear = tiny_traces.make_map(12, 13)
    plain = placed(tiny_traces.make_trace(linear, [3, 5], dtype=torch.float32))
    scaled = changed(plain, grads=lambda g: g * 2.0**10, scale=2.0**10)
    nothing = replace(plain, segments=(unused(plain, 2),))
    other = placed(tiny_traces.make_trace(linear, [3, 5], seed=2, dtype=torch.float32))
    expected, found = (triton.top_sets([trace, nothing, other], Pattern(), 0.05) for trace in (plain, scaled))
    for own, theirs in zip(found, expected, strict=True):
        assert torch.equal(own.threshold, theirs.threshold)
        assert torch.equal(own.tie_limit, theirs.tie_limit)


def test_a_pair_is_the_same_alone_and_among_others() -> None:
    trace = placed(
        tiny_traces.make_trace(tiny_traces.make_map(40, 30), [6, 2, 9, 9, 1], dtype=torch.float32, same=True)
    )
    pairs = torch.cat([all_pairs(5), all_pairs(5).flip(1)])  # 30 pairs in several runs, (i, i) among them
    together = triton.pair_moments(trace, pairs, Pattern(), EVERYTHING)
    alone = torch.cat([triton.pair_moments(trace, pair[None], Pattern(), EVERYTHING) for pair in pairs])
    assert torch.equal(together, alone)
    own = pairs[:, 0] == pairs[:, 1]
    assert torch.equal(together[own, 0], together[own, 1])
    assert torch.equal(together[own, 3], together[own, 5])


def test_rows_of_several_uses_side_by_side() -> None:
    linear = tiny_traces.make_map(14, 22)
    first = tiny_traces.make_trace(linear, [3, 6, 1], seed=1, dtype=torch.float32)
    second = tiny_traces.make_trace(linear, [3, 6, 1], seed=2, dtype=torch.float32)
    inputs, grads = (
        torch.cat([getattr(trace.segments[0], name) for trace in (first, second)], dim=1)
        for name in ("inputs", "grads")
    )
    assert_equals_reference(trace_of(linear, inputs, grads, (grads != 0).any(dim=2)))


def test_sentences_of_several_passes() -> None:
    linear = tiny_traces.make_map(14, 22)
    assert_equals_reference(tiny_traces.make_trace(linear, [3, 6, 1, 7, 2], dtype=torch.float32, parts=3))


def test_a_sentence_without_rows_has_a_zero_pattern() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4, 3], dtype=torch.float32)
    empty = replace(trace, segments=(*trace.segments, unused(trace, 1)))
    assert_equals_reference(empty, sets=same_sets(empty, 0.0, 5))


def test_no_pairs() -> None:
    trace = placed(tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4], dtype=torch.float32))
    none = torch.zeros((0, 2), dtype=torch.int64)
    assert triton.pair_moments(trace, none, Pattern(), EVERYTHING).shape == (0, len(MOMENTS))


def test_views_and_mixed_types() -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(16, 18), [4, 7], dtype=torch.float32)
    strided = changed(trace, inputs=lambda x: x.mT.contiguous().mT, grads=lambda g: g.half())
    assert not strided.segments[0].inputs.is_contiguous()
    assert_equals_reference(strided)


def test_two_runs_give_the_same_bits() -> None:
    trace = placed(tiny_traces.make_trace(tiny_traces.make_map(65, 129), [7, 12, 3], dtype=torch.bfloat16))
    sets = triton.top_sets([trace], Pattern(), 0.1)[0]
    first, second = (triton.pair_moments(trace, all_pairs(3), Pattern(), EVERYTHING, sets) for _ in range(2))
    assert torch.equal(first, second)


def test_double_precision_is_left_to_tiled() -> None:
    trace = placed(tiny_traces.make_trace(tiny_traces.make_map(8, 9), [4, 3]))
    sets, theirs = (scorer.top_sets([trace], Pattern(), 0.2)[0] for scorer in (triton, tiled))
    assert torch.equal(sets.threshold, theirs.threshold)
    arguments: Sequence = (trace, all_pairs(2), Pattern(), EVERYTHING, sets)
    assert torch.equal(triton.pair_moments(*arguments), tiled.pair_moments(*arguments))


def test_sums_taken_together_are_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tiny_traces.make_trace(tiny_traces.make_map(2, 3), [2, 1], dtype=torch.float32)
    monkeypatch.setattr(triton, "SUM_TOGETHER", True)
    assert_equals_reference(trace, pairs=torch.tensor([[0, 1]]))
