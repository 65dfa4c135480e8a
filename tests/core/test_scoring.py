"""The scoring backends: the reference is what numpy says, and the tiled one is the reference."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from unittest import mock

import numpy as np
import oracle
import pytest
import tiny_traces
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.core.linears import LinearMap
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, backend, reference, tiled, top_count
from actsim.core.sketch import CountSketch
from actsim.core.trace import Trace
from actsim.errors import UsageError

ALL = Needs(products=True, minima=True)
PATTERNS = [Pattern(absolute, weighted) for absolute in (True, False) for weighted in (True, False)]
ONE_ROW_TILES = 1
"""A budget in bytes that no tile fits into: each tile is a single row."""

HALF_TOLERANCE = 1e-5
"""Both backends widen the same half-precision traces to float32, so only sums in float32 differ."""

sizes = st.integers(1, 13)
lengths = st.lists(st.integers(1, 6), min_size=1, max_size=5)
patterns = st.sampled_from(PATTERNS)
tile_bytes = st.sampled_from([ONE_ROW_TILES, 200, 700, 5000, tiled.TILE_BYTES])


def every_pair(sentences: int) -> torch.Tensor:
    """All pairs, each sentence with itself among them."""
    return torch.tensor([[a, b] for a in range(sentences) for b in range(sentences)])


def gamma_sets(gamma: float, sentences: int) -> ActivatedSets:
    threshold = torch.full((sentences,), gamma, dtype=torch.float64)
    return ActivatedSets(threshold, torch.zeros(sentences, dtype=torch.int64))


def moments_by_numpy(trace: Trace, pairs: torch.Tensor, pattern: Pattern, gamma: float) -> np.ndarray:
    options = {"absolute": pattern.absolute, "weighted": pattern.weighted}
    found = [tiny_traces.pattern_by_numpy(trace, sentence, **options) for sentence in range(trace.sentences)]
    rows = []
    for a, b in pairs.tolist():
        p, q = found[a], found[b]
        products = [(p * q).sum(), (p * p).sum(), (q * q).sum()]
        sums = [p.sum(), q.sum(), np.minimum(p, q).sum()]
        rows.append([*products, *sums, (p > gamma).sum(), (q > gamma).sum(), ((p > gamma) & (q > gamma)).sum()])
    return np.array(rows, dtype=np.float64)


@given(sizes, sizes, lengths, patterns, st.sampled_from([0.0, 0.3, 2.0, 1e9]))
@settings(max_examples=60)
def test_reference_is_numpy(d_out, d_in, rows, pattern, gamma):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), rows)
    pairs = every_pair(len(rows))
    got = reference.pair_moments(trace, pairs, pattern, ALL, gamma_sets(gamma, len(rows)))
    np.testing.assert_allclose(got.numpy(), moments_by_numpy(trace, pairs, pattern, gamma), rtol=1e-10, atol=1e-10)


@given(sizes, sizes, lengths, patterns, tile_bytes, st.sampled_from([0.0, 0.3, 2.0]), st.booleans())
@settings(max_examples=100)
def test_tiled_is_reference(d_out, d_in, rows, pattern, budget, gamma, same):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), rows, same=same)
    pairs, sets = every_pair(len(rows)), gamma_sets(gamma, len(rows))
    with mock.patch.object(tiled, "TILE_BYTES", budget):
        got = tiled.pair_moments(trace, pairs, pattern, ALL, sets)
        neurons = tiled.neuron_sums(trace, pattern)
        common = tiled.pair_neurons(trace, pairs, pattern)
    torch.testing.assert_close(got, reference.pair_moments(trace, pairs, pattern, ALL, sets), rtol=1e-10, atol=1e-10)
    for found, wanted in (
        (neurons, reference.neuron_sums(trace, pattern)),
        (common, reference.pair_neurons(trace, pairs, pattern)),
    ):
        for side, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(side, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("d_out", "d_in"), [(1, 1), (1, 300), (300, 1), (97, 64), (64, 97)])
@pytest.mark.parametrize("budget", [ONE_ROW_TILES, 7 * 97 * 8 * 3, tiled.TILE_BYTES])
def test_tall_and_wide_maps_in_several_tiles_and_a_remainder(d_out, d_in, budget):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), [3, 1, 4])
    with mock.patch.object(tiled, "TILE_BYTES", budget):
        tiles = [tile.values.shape[1] for tile in tiled.tiles(trace, Pattern())]
        got = tiled.pair_moments(trace, every_pair(3), Pattern(), ALL)
    assert sum(tiles) == d_out
    assert len(tiles) == d_out or budget > ONE_ROW_TILES
    want = reference.pair_moments(trace, every_pair(3), Pattern(), ALL)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


def test_a_tile_budget_that_does_not_divide_the_rows_leaves_a_shorter_last_tile():
    trace = tiny_traces.make_trace(tiny_traces.make_map(10, 4), [2, 2])
    with mock.patch.object(tiled, "TILE_BYTES", 2 * 4 * 8 * 3):
        found = [(tile.first, tile.values.shape[1]) for tile in tiled.tiles(trace, Pattern())]
    assert found == [(0, 3), (3, 3), (6, 3), (9, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_tiled_is_reference_in_lower_precision(dtype, scale):
    linear = tiny_traces.make_map(33, 21)
    trace = tiny_traces.make_trace(linear, [5, 2, 1, 7], dtype=dtype, scale=scale)
    pairs = every_pair(4)
    with mock.patch.object(tiled, "TILE_BYTES", 4000):
        got = tiled.pair_moments(trace, pairs, Pattern(), ALL)
    want = reference.pair_moments(trace, pairs, Pattern(), ALL)
    torch.testing.assert_close(got, want, rtol=HALF_TOLERANCE, atol=0)
    exact = moments_by_numpy(trace, pairs, Pattern(), 0.0)
    np.testing.assert_allclose(got[:, :6].numpy(), exact[:, :6], rtol=HALF_TOLERANCE)


def test_sums_are_wider_than_half_precision():
    """10⁻⁴ · 10⁻⁴ is zero in float16; the pattern and its square are not."""
    linear = tiny_traces.make_map(4, 4)
    linear.module.half().weight.fill_(1e-4)
    small = torch.full((1, 1, 4), 1e-4, dtype=torch.float16)
    trace = tiny_traces.trace_of(linear, small, small)
    for module in (reference, tiled):
        moments = module.pair_moments(trace, torch.tensor([[0, 0]]), Pattern(), ALL)
        assert (moments[0, :6] > 0).all()
        torch.testing.assert_close(moments[0, 3].item(), 16 * float(small[0, 0, 0]) ** 3, rtol=1e-5, atol=0)


def test_only_what_is_needed_is_summed():
    trace = tiny_traces.make_trace(tiny_traces.make_map(3, 4), [2, 3])
    pairs = torch.tensor([[0, 1]])
    for module in (reference, tiled):
        products = module.pair_moments(trace, pairs, Pattern(), Needs(products=True))[0]
        minima = module.pair_moments(trace, pairs, Pattern(), Needs(products=False, minima=True))[0]
        assert (products[:3] > 0).all() and not products[3:].any()
        assert (minima[3:6] > 0).all() and not minima[:3].any() and not minima[6:].any()


def test_a_pair_the_other_way_round_swaps_its_sides():
    trace = tiny_traces.make_trace(tiny_traces.make_map(5, 6), [2, 3])
    pairs = torch.tensor([[0, 1], [1, 0]])
    forth, back = tiled.pair_moments(trace, pairs, Pattern(), ALL, gamma_sets(0.5, 2))
    swapped = [MOMENTS.index(name) for name in MOMENTS]
    for a, b in (("square_a", "square_b"), ("sum_a", "sum_b"), ("count_a", "count_b")):
        i, j = MOMENTS.index(a), MOMENTS.index(b)
        swapped[i], swapped[j] = j, i
    assert torch.equal(forth, back[swapped])


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3), lengths, tile_bytes, st.booleans(), st.data())
@settings(max_examples=100)
def test_top_sets_are_the_k_largest_with_ties_by_index(shapes, rows, budget, whole_numbers, data):
    total = sum(d_out * d_in for d_out, d_in in shapes)
    fraction = data.draw(st.sampled_from([0.01, 0.07, 0.5, 0.99, 1.0, 1 / total]))
    levels = 1 if whole_numbers else None
    traces = [
        tiny_traces.make_trace(
            tiny_traces.make_map(*shape, seed=seed, levels=levels, name=f"map {seed}"), rows, seed=seed, levels=levels
        )
        for seed, shape in enumerate(shapes)
    ]
    values = [
        np.concatenate([tiny_traces.pattern_by_numpy(trace, sentence).ravel() for trace in traces])
        for sentence in range(len(rows))
    ]
    wanted = np.array([oracle.top_set(own, fraction) for own in values])
    assert (wanted.sum(axis=1) == top_count(fraction, total)).all()
    for module in (reference, tiled):
        with mock.patch.object(tiled, "TILE_BYTES", budget):
            sets = module.top_sets(traces, Pattern(), fraction)
            for trace, own in zip(traces, sets, strict=True):
                here = wanted[:, own.offset : own.offset + trace.map.weight.numel()]
                counts = module.pair_moments(trace, every_pair(len(rows)), Pattern(), Needs(products=False), own)
                want = [[a.sum(), b.sum(), (a & b).sum()] for a in here for b in here]
                np.testing.assert_array_equal(counts[:, 6:].numpy(), np.array(want))
                if whole_numbers:  # exact in floating point, so that one backend's values fit the other's thresholds
                    np.testing.assert_array_equal(membership(trace, own), here)


def membership(trace: Trace, sets: ActivatedSets) -> np.ndarray:
    """Which parameters of one map are in each sentence's set, [sentences, parameters]."""
    return np.array(
        [
            reference.members(reference.pattern_of(trace, sentence, Pattern()), sets, sentence).flatten().numpy()
            for sentence in range(trace.sentences)
        ]
    )


@pytest.mark.parametrize("module", [reference, tiled])
def test_the_counts_of_a_top_fraction_add_up_to_k_over_the_maps(module):
    """Also where all values are equal, and where all are zero: ties go by index."""
    for fill in (0.0, 1.0):
        linears = [tiny_traces.make_map(3, 5, name="first"), tiny_traces.make_map(4, 5, name="second")]
        traces = []
        for linear in linears:
            linear.module.weight.fill_(fill)
            ones = torch.ones(2, 1, 5), torch.ones(2, 1, linear.weight.shape[0])
            traces.append(tiny_traces.trace_of(linear, *ones))
        sets = module.top_sets(traces, Pattern(), 0.5)
        pairs = torch.tensor([[0, 1]])
        counts = [
            module.pair_moments(trace, pairs, Pattern(), Needs(False), own)[0, 6:]
            for trace, own in zip(traces, sets, strict=True)
        ]
        assert counts[0].tolist() == [15.0, 15.0, 15.0]
        assert counts[1].tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("fraction", "parameters", "k"),
    [
        (0.07, 100, 7),  # 0.07 * 100 is 7.000000000000001 in doubles
        (0.1, 30, 3),
        (0.29, 100, 29),
        (0.55, 100, 55),
        (0.01, 100, 1),
        (0.01, 101, 2),
        (1e-9, 1000, 1),
        (1.0, 12345, 12345),
        (0.001, 7_000_000_000, 7_000_000),
    ],
)
def test_the_number_of_activated_parameters_is_exact(fraction, parameters, k):
    assert top_count(fraction, parameters) == k


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_a_fraction_written_in_decimals_counts_as_written(parameters, hundredths_of_percent):
    fraction = float(f"{hundredths_of_percent / 10_000:.4f}")
    assert top_count(fraction, parameters) == math.ceil(Fraction(hundredths_of_percent, 10_000) * parameters)


def test_conv1d_weights_are_read_transposed():
    linear = tiny_traces.make_map(3, 5)
    weight = linear.weight.clone()
    linear.module.weight = torch.nn.Parameter(weight.T.contiguous(), requires_grad=False)
    turned = LinearMap("map", linear.module, 1, "q", transposed=True)
    plain = tiny_traces.make_map(3, 5)
    traces = []
    for one in (turned, plain):
        trace = tiny_traces.make_trace(plain, [2, 3])
        traces.append(replace(trace, map=one))
    turned.module.double()
    for module in (reference, tiled):
        first, second = (module.pair_moments(trace, every_pair(2), Pattern(), ALL) for trace in traces)
        torch.testing.assert_close(first, second, rtol=1e-12, atol=0)


def test_an_unknown_backend_names_the_known_ones():
    with pytest.raises(UsageError, match=r"'tritn'; known: tiled"):
        backend("tritn")


@given(sizes, sizes, lengths, patterns, tile_bytes)
@settings(max_examples=40)
def test_a_tiled_sketch_is_the_folded_reference_pattern(d_out, d_in, rows, pattern, budget):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), rows)
    folding = CountSketch.draw(5, random.Random(0))
    with mock.patch.object(tiled, "TILE_BYTES", budget):
        got = tiled.sketch(trace, pattern, folding)
    torch.testing.assert_close(got, reference.sketch(trace, pattern, folding), rtol=1e-10, atol=1e-10)


@given(sizes, sizes, lengths, tile_bytes, st.sampled_from([0.01, 0.2, 1.0]), st.booleans())
@settings(max_examples=40)
def test_activated_parameters_are_the_reference_patterns_largest(d_out, d_in, rows, budget, fraction, same):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), rows, same=same)
    k = top_count(fraction, d_out * d_in)
    for module in (tiled, reference):
        with mock.patch.object(tiled, "TILE_BYTES", budget):
            (sets,) = module.top_sets([trace], Pattern(), fraction)
            sentence, index, value = module.activated(trace, Pattern(), sets)
        assert sentence.tolist() == [i for i in range(len(rows)) for _ in range(k)]
        for i in range(len(rows)):
            whole = reference.pattern_of(trace, i, Pattern()).flatten()
            own = value[sentence == i]
            torch.testing.assert_close(own, whole[index[sentence == i]], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(own.sort().values, whole.sort().values[-k:], rtol=1e-10, atol=1e-12)
