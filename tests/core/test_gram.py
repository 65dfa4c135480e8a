"""Gram matrices of a batch: every two sentences at once are every pair alone, on every backend and in every part."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_traces
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actsim.config import Scoring
from actsim.core.batch import fill, pad
from actsim.core.consumers import NOISE_FLOOR, Gram, PairMoments
from actsim.core.measures import cosine, gram_cosine
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern, backend, tiled
from actsim.errors import NumericError

COMPILER = any(map(shutil.which, ("g++", "clang++", "c++")))
SCORERS = ["reference", "tiled", *(["fused"] if COMPILER else [])]
PATTERNS = [Pattern(absolute, weighted) for absolute, weighted in itertools.product((True, False), repeat=2)]
TOKENS = ((2, 7, 8, 9), (2, 12), (2, 7, 30, 9, 14), (2, 9, 9, 11, 30, 7, 8))
LABELS = ("a", "b", "c", "d")


def by_numpy(trace, pattern: Pattern) -> np.ndarray:
    options = {"absolute": pattern.absolute, "weighted": pattern.weighted}
    flat = [tiny_traces.pattern_by_numpy(trace, sentence, **options).ravel() for sentence in range(trace.sentences)]
    return np.array([[np.dot(p, q) for q in flat] for p in flat])


@pytest.mark.parametrize("scorer", SCORERS)
@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(PATTERNS),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
def test_every_product_is_that_of_the_float64_patterns(scorer, d_out, d_in, lengths, parts, pattern, dtype):
    """Half precision is widened first, so that only sums in float32 differ."""
    parts, scale = min(parts, len(lengths)), 2.0**6 if dtype == torch.float16 else 1.0
    linear = tiny_traces.make_map(d_out, d_in)
    trace = tiny_traces.make_trace(linear, lengths, parts=parts, dtype=dtype, scale=scale)
    want = by_numpy(trace, pattern)
    got = backend(scorer).gram(trace, pattern)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=tolerance * want.max())


def test_many_tiles_are_one(monkeypatch):
    trace = tiny_traces.make_trace(tiny_traces.make_map(17, 5), [3, 1, 4])
    monkeypatch.setattr(tiled, "TILE_BYTES", 2 * 5 * 8 * 3)
    np.testing.assert_allclose(tiled.gram(trace, Pattern()).numpy(), by_numpy(trace, Pattern()), rtol=1e-12)


def scored(loaded, order=(0, 1, 2, 3), **options):
    """Cosines of the four sentences by group, in their own order."""
    batch = pad([TOKENS[index] for index in order], [LABELS[index] for index in order], pad_token=loaded.pad_token)
    objective = OBJECTIVES[loaded.family].get("nll" if loaded.family == "causal" else "embedding-norm")
    consumer, _ = consume(loaded, batch, objective, lambda: Gram(loaded.maps, 4, Pattern()), **options)
    consumer.check(batch.labels)
    back = torch.tensor(order).argsort()
    return consumer.groups, gram_cosine(consumer.products())[:, back][:, :, back]


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "albert", "deberta_v2"])
def test_the_cosines_are_those_of_the_pairs(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    pairs = torch.tensor(list(itertools.combinations(range(4), 2)))
    objective = "nll" if loaded.family == "causal" else "embedding-norm"
    batch = pad(TOKENS, LABELS, pad_token=loaded.pad_token)
    moments, _ = consume(
        loaded, batch, OBJECTIVES[loaded.family].get(objective), lambda: PairMoments(loaded.maps, pairs, Scoring("nll"))
    )
    groups, cosines = scored(loaded)
    assert groups == moments.groups
    of_pairs = cosines[:, pairs[:, 0], pairs[:, 1]].T
    torch.testing.assert_close(of_pairs, cosine(moments.moments()), rtol=1e-10, atol=0, equal_nan=True)
    own = cosines.diagonal(dim1=1, dim2=2).nan_to_num(1.0)
    torch.testing.assert_close(own, torch.ones_like(own))


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("most_tokens", [1, 10, 14, 1000])
def test_neither_the_order_nor_the_parts_matter(family, most_tokens):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    _, want = scored(loaded)
    for order in ((3, 1, 0, 2), (1, 0, 2, 3)):
        _, got = scored(loaded, order, most_tokens=most_tokens)
        torch.testing.assert_close(got, want, rtol=1e-9, atol=0, equal_nan=True)


def test_some_layers_at_a_time_are_all_layers_at_once():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    groups, want = scored(loaded)
    parts = [
        scored(replace(loaded, maps=tuple(linear for linear in loaded.maps if linear.layer in layers)))
        for layers in ((1,), (2, 3))
    ]
    assert parts[0][0] + parts[1][0] == groups
    torch.testing.assert_close(torch.cat([own for _, own in parts]), want, rtol=1e-10, atol=0, equal_nan=True)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 90))
def test_parts_are_filled_up_to_the_budget(lengths, most_tokens):
    ends = fill(lengths, most_tokens)
    starts = (0, *ends[:-1])
    assert ends[-1] == len(lengths) and all(first < last for first, last in zip(starts, ends, strict=True))
    for first, last in zip(starts, ends, strict=True):
        own = lengths[first:last]
        assert len(own) * max(own) <= most_tokens or len(own) == 1
        if last < len(lengths):
            assert (len(own) + 1) * max(*own, lengths[last]) > most_tokens


def gram_of(traces, maps) -> Gram:
    consumer = Gram(maps, 3, Pattern())
    for trace in traces:
        consumer(trace)
    return consumer


def two_layers():
    maps = [
        tiny_traces.make_map(4, 3, seed=layer, layer=layer, kind=kind) for layer, kind in ((1, "q"), (1, "k"), (2, "q"))
    ]
    return maps, [tiny_traces.make_trace(linear, [2, 3, 1], seed=seed) for seed, linear in enumerate(maps)]


def test_a_kind_that_is_rounding_noise_for_one_sentence_is_undefined_for_it_alone():
    maps, traces = two_layers()
    traces[0].segments[0].grads[1] *= NOISE_FLOOR / 1e3
    consumer = gram_of(traces, maps)
    consumer.check(("a", "b", "c"))
    undefined = gram_cosine(consumer.products()).isnan()
    assert {consumer.groups[group] for group in undefined.any(dim=2).any(dim=1).nonzero().flatten()} == {(1, "q")}
    wanted = torch.zeros(3, 3, dtype=torch.bool)
    wanted[1] = wanted[:, 1] = True
    assert torch.equal(undefined[consumer.groups.index((1, "q"))], wanted)


@pytest.mark.parametrize(("factor", "message"), [(0.0, "layer 2: no parameter is activated"), (1e200, "not finite")])
def test_a_sentence_without_a_direction_is_named(factor, message):
    maps, traces = two_layers()
    traces[2].segments[0].grads[1] *= factor
    with pytest.raises(NumericError, match=rf"^tales 2: .*{message}"):
        gram_of(traces, maps).check(("tales 1", "tales 2", "tales 3"))
