"""Mean patterns and their distribution: counts are direct counts, the Gini's bound holds, backends agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny_traces
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.core.density import Histogram, MeanPatterns, edges_of, whole
from actsim.core.scoring import Pattern, backend, fused, reference, tiled
from actsim.errors import NumericError

needs_compiler = pytest.mark.skipif(not fused.is_available(), reason="no C++ compiler on this machine")

GAMMAS = (2e-6, 2e-5, 1e-5, 0.5)
"""Not in order, and one that is the lower edge of a log-bin."""

EDGES = [0.0, 2.0**-149, 2.0**-126, 0.5, 1.0, 1.5, 2.0**-20, float(torch.finfo(torch.float32).max)]


def neighbours(value: float) -> list[float]:
    """The float32 numbers at and around a number."""
    own = np.float32(value)
    return [float(np.nextafter(own, np.float32(end))) for end in (0, 3e38)] + [float(own)]


AWKWARD = sorted({close for value in (*EDGES, *GAMMAS) for close in neighbours(value)})
numbers = st.one_of(st.sampled_from(AWKWARD), st.floats(0, 2.0**90, width=32), st.floats(0, 2.0**-9, width=32))
values = st.lists(numbers, min_size=1, max_size=40)


def float32(found: list[float]) -> np.ndarray:
    return np.array(found, dtype=np.float32).astype(np.float64)


def gini(found: np.ndarray) -> float:
    """By its definition, over all pairs of values."""
    total = sum(math.fsum(abs(own - found)) for own in found)
    return total / (2 * len(found) * math.fsum(found))


@given(values)
@settings(max_examples=100)
def test_counts_are_direct_counts(found):
    histogram = Histogram.of(torch.tensor(found, dtype=torch.float32), GAMMAS)
    exact = float32(found)
    assert histogram.n == len(found)
    assert histogram.counts_over() == {gamma: int((exact > gamma).sum()) for gamma in sorted((0.0, *GAMMAS))}


@given(numbers)
@settings(max_examples=200)
def test_a_value_lies_between_the_edges_of_its_cell(value):
    histogram = Histogram.of(torch.tensor([value], dtype=torch.float32), GAMMAS)
    (cell,) = histogram.counts.nonzero().flatten().tolist()
    edges = edges_of(histogram.thresholds)
    assert len(edges) == len(histogram.counts) + 1
    assert edges[cell] <= float32([value])[0] <= edges[cell + 1]


@given(values)
@settings(max_examples=100)
def test_gini_lies_within_its_bound_and_the_rest_is_exact(found):
    exact = float32(found)
    histogram = Histogram.of(torch.tensor(found, dtype=torch.float32), GAMMAS)
    assert histogram.mean == pytest.approx(exact.mean(), rel=1e-12)
    figure, error = histogram.gini()
    if not exact.any():
        assert math.isnan(figure) and math.isnan(histogram.participation())
        return
    assert abs(figure - gini(exact)) <= error + 1e-9
    squares = float(np.square(exact).sum())
    if squares > 0:
        assert histogram.participation() == pytest.approx(exact.sum() ** 2 / (len(exact) * squares), rel=1e-9)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_bound_of_the_gini_is_small_for_values_as_they_are(spread):
    rng = np.random.default_rng(0)
    found = np.exp(spread * rng.standard_normal(1500) - 12).astype(np.float32)
    figure, error = Histogram.of(torch.from_numpy(found), GAMMAS).gini()
    assert abs(figure - gini(found.astype(np.float64))) <= error < 1e-3


def test_equal_values_are_one_and_a_single_one_is_all():
    equal = Histogram.of(torch.full((50,), 3e-5), ())
    single = Histogram.of(torch.tensor([0.0] * 49 + [3e-5]), ())
    assert (equal.participation(), single.participation()) == pytest.approx((1, 1 / 50))
    assert equal.gini() == pytest.approx((0, 0), abs=1e-2)
    figure, error = single.gini()
    assert abs(figure - 49 / 50) <= error + 1e-12


@given(values, values)
@settings(max_examples=40)
def test_histograms_add(one, other):
    apart = [Histogram.of(torch.tensor(own, dtype=torch.float32), GAMMAS) for own in (one, other)]
    together = Histogram.of(torch.tensor(one + other, dtype=torch.float32), GAMMAS)
    added = whole({"q": apart[0], "k": apart[1]})
    assert torch.equal(added.counts, together.counts)
    torch.testing.assert_close(added.sums, together.sums, rtol=1e-12, atol=0)
    assert added.squares == pytest.approx(together.squares, rel=1e-12)
    with pytest.raises(ValueError, match="different thresholds"):
        _ = together + Histogram.of(torch.zeros(1), (0.1,))


def test_more_values_than_a_chunk_are_all_counted(monkeypatch):
    found = torch.rand(23, 7)
    at_once = Histogram.of(found, GAMMAS)
    monkeypatch.setattr("actsim.core.density.CHUNK", 10)
    in_chunks = Histogram.of(found, GAMMAS)
    assert torch.equal(in_chunks.counts, at_once.counts)
    assert in_chunks.n == 23 * 7


def test_a_threshold_that_is_none_is_refused():
    for gamma in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="finite and at least 0"):
            Histogram.of(torch.ones(1), (gamma,))


def sum_by_numpy(trace, pattern: Pattern) -> np.ndarray:
    return sum(
        tiny_traces.pattern_by_numpy(trace, sentence, weighted=pattern.weighted) for sentence in range(trace.sentences)
    )


@given(
    st.integers(1, 13),
    st.integers(1, 13),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([1, 700, tiled.TILE_BYTES]),
)
@settings(max_examples=60)
def test_the_sum_over_sentences_is_numpys_in_every_backend(d_out, d_in, lengths, weighted, budget):
    trace = tiny_traces.make_trace(tiny_traces.make_map(d_out, d_in), lengths, parts=min(2, len(lengths)))
    pattern = Pattern(weighted=weighted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "TILE_BYTES", budget)
        for module in (reference, tiled):
            total = torch.ones(d_out, d_in, dtype=torch.float64)
            module.abs_sum(trace, pattern, total)
            np.testing.assert_allclose(total.numpy(), 1 + sum_by_numpy(trace, pattern), rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scorer", ["reference", "tiled", pytest.param("fused", marks=needs_compiler)])
@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [5, 2, 7]])
def test_the_sum_over_sentences_in_lower_precision(dtype, scorer, lengths):
    trace = tiny_traces.make_trace(tiny_traces.make_map(33, 21), lengths, dtype=dtype, scale=1024.0)
    total = torch.zeros(33, 21)
    backend(scorer).abs_sum(trace, Pattern(), total)
    want = sum_by_numpy(trace, Pattern())
    np.testing.assert_allclose(total.numpy(), want, rtol=1e-5, atol=1e-6 * want.max())


def maps_of_two_layers() -> list:
    plan = [(1, "q", 4, 3), (1, "k", 2, 3), (1, "k", 5, 3), (2, "q", 3, 4)]
    return [
        tiny_traces.make_map(d_out, d_in, seed=seed, name=f"map {seed}", layer=layer, kind=kind)
        for seed, (layer, kind, d_out, d_in) in enumerate(plan)
    ]


def test_the_profile_is_of_the_mean_over_all_folds_by_layer_and_kind():
    maps = maps_of_two_layers()
    folds = [
        [tiny_traces.make_trace(linear, lengths, seed=seed) for linear in maps]
        for seed, lengths in enumerate(([2, 3], [1], [4, 1, 1]))
    ]
    sums = MeanPatterns(maps, Pattern())
    for traces in folds:
        consumer = sums.batch(set())
        for trace in traces:
            consumer(trace)
        sums.close_fold(traces[0].sentences, (0.5,))
    found = sums.profile(6, (0.5,))
    means = [sum(sum_by_numpy(traces[place], Pattern()) for traces in folds) / 6 for place in range(len(maps))]
    members = {(1, "q"): [0], (1, "k"): [1, 2], (2, "q"): [3]}
    assert {(layer, kind) for layer, kinds in found.items() for kind in kinds} == set(members)
    for (layer, kind), places in members.items():
        want = np.concatenate([means[place].ravel() for place in places])
        own = found[layer][kind]
        assert (own.n, own.counts_over()[0.5]) == (want.size, int((want > 0.5).sum()))
        assert own.mean == pytest.approx(want.mean(), rel=1e-6)


def test_a_fold_is_of_its_own_samples_alone():
    (linear,) = maps_of_two_layers()[:1]
    traces = [tiny_traces.make_trace(linear, [2, 3], seed=seed) for seed in range(2)]
    sums = MeanPatterns([linear], Pattern())
    means = []
    for trace in traces:
        sums.batch(set())(trace)
        means.append(sums.close_fold(2, ())[1]["q"].mean)
    assert means == pytest.approx([sum_by_numpy(trace, Pattern()).mean() / 2 for trace in traces], rel=1e-6)


def test_a_repeated_pass_adds_nothing_twice():
    maps = maps_of_two_layers()
    traces = [tiny_traces.make_trace(linear, [2, 3]) for linear in maps]
    once, twice = (MeanPatterns(maps, Pattern()) for _ in range(2))
    consumer = once.batch(set())
    for trace in traces:
        consumer(trace)
    taken: set[int] = set()
    for seen in (traces[:2], traces):
        consumer = twice.batch(taken)
        for trace in seen:
            consumer(trace)
    for sums in (once, twice):
        sums.close_fold(2, ())
    left, right = (sums.profile(2, ()) for sums in (once, twice))
    assert [whole(left[layer]).mean for layer in left] == [whole(right[layer]).mean for layer in right]


def test_a_sum_that_is_not_finite_names_the_module():
    (linear,) = maps_of_two_layers()[:1]
    trace = tiny_traces.make_trace(linear, [2])
    sums = MeanPatterns([linear], Pattern())
    sums.add(tiny_traces.changed(trace, grads=lambda grads: grads * math.inf))
    with pytest.raises(NumericError, match=r"layer 1, module map 0: .* not finite; use --dtype float32"):
        sums.close_fold(1, ())
