"""Consumers: sums by layer and kind, top fractions over whole layers, and sums that say nothing."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import tiny_models
import tiny_traces
import torch
from toy_target import batch_of, squares, toy

from actsim.config import Scoring
from actsim.core.consumers import NOISE_FLOOR, NeuronSums, PairMoments, PairNeurons, groups_of
from actsim.core.linears import LinearMap
from actsim.core.measures import MEASURES
from actsim.core.passes import run_pass
from actsim.core.scoring import MOMENTS, Pattern
from actsim.errors import NumericError

ALL = Scoring("nll", measures=("cosine", "ruzicka", "jaccard", "overlap"), gamma=0.5)
PAIRS = torch.tensor([[0, 1], [1, 2], [2, 2], [0, 1]])
LABELS = [("first", "second"), ("second", "third"), ("third", "third"), ("first", "second")]


def layer_maps() -> list[LinearMap]:
    """Two layers; layer 1 has two maps of kind k."""
    plan = [(1, "q", 4, 3), (1, "k", 2, 3), (1, "k", 5, 3), (2, "q", 3, 4)]
    return [
        tiny_traces.make_map(d_out, d_in, seed=seed, name=f"map {seed}", layer=layer, kind=kind)
        for seed, (layer, kind, d_out, d_in) in enumerate(plan)
    ]


def traces_of(maps: list[LinearMap], **options) -> list:
    return [tiny_traces.make_trace(linear, [2, 3, 1], seed=seed, **options) for seed, linear in enumerate(maps)]


def flat(traces: list, sentence: int) -> np.ndarray:
    return np.concatenate([tiny_traces.pattern_by_numpy(trace, sentence).ravel() for trace in traces])


def test_groups_are_by_layer_with_the_whole_layer_first():
    assert groups_of(layer_maps()) == [(1, "all"), (1, "q"), (1, "k"), (2, "all"), (2, "q")]
    assert groups_of(layer_maps()[::-1]) == [(1, "all"), (1, "k"), (1, "q"), (2, "all"), (2, "q")]


@pytest.mark.parametrize("scorer", ["tiled", "reference"])
@pytest.mark.parametrize("threshold", [{"gamma": 0.5}, {"top_fraction": 0.1}, {"top_fraction": 1.0}])
def test_a_layer_is_its_maps_side_by_side(scorer, threshold):
    maps = layer_maps()
    traces = traces_of(maps)
    scoring = Scoring("nll", measures=("cosine", "ruzicka", "jaccard", "overlap"), **threshold)
    consumer = PairMoments(maps, PAIRS, scoring, scorer)
    for trace in reversed(traces):
        consumer(trace)
    moments = consumer.moments()
    members = {
        (1, "all"): [0, 1, 2],
        (1, "q"): [0],
        (1, "k"): [1, 2],
        (2, "all"): [3],
        (2, "q"): [3],
    }
    for column, group in enumerate(consumer.groups):
        own = [traces[index] for index in members[group]]
        layer = [trace for trace in traces if trace.map.layer == group[0]]
        inside = np.concatenate([np.full(t.map.weight.numel(), any(t is o for o in own)) for t in layer])
        for row, (a, b) in enumerate(PAIRS.tolist()):
            sets = None
            if "top_fraction" in threshold:
                fraction = threshold["top_fraction"]
                sets = tuple(oracle.top_set(flat(layer, s), fraction)[inside] for s in (a, b))
            for name, measure in MEASURES.items():
                want = oracle.compare(name, flat(own, a), flat(own, b), gamma=threshold.get("gamma"), sets=sets)
                np.testing.assert_allclose(float(measure(moments[row, column])), want, rtol=1e-10)


def test_a_top_fraction_waits_for_the_layer_and_then_lets_its_traces_go():
    maps = layer_maps()
    consumer = PairMoments(maps, PAIRS, Scoring("nll", measures=("jaccard",), top_fraction=0.1))
    first, *rest = traces_of(maps)
    consumer(first)
    assert len(consumer._complete_layers._waiting) == 1
    for trace in rest:
        consumer(trace)
    assert not consumer._complete_layers._waiting
    counts = consumer.moments()[:, consumer.groups.index((1, "all")), MOMENTS.index("count_a")]
    assert counts.tolist() == [4, 4, 4, 4]  # ⌈0.1 · 33⌉


def test_a_map_that_the_read_out_does_not_use_still_counts_among_the_layers_parameters():
    target, batch = toy(("a", "b"), lambda m, x: m["a"](x) + m["b"](x).detach()), batch_of(3, 2)
    consumer = PairMoments(target.maps, torch.tensor([[0, 1]]), Scoring("nll", measures=("jaccard",), top_fraction=0.3))
    run_pass(target, batch, squares, consumer)
    moments = consumer.moments()
    counts = {group: moments[0, column, -3:].tolist() for column, group in enumerate(consumer.groups)}
    assert counts[1, "all"][:2] == [22, 22]  # ⌈0.3 · 72⌉
    assert counts[1, "a"] == counts[1, "all"]
    assert counts[1, "b"] == [0, 0, 0]


@pytest.mark.parametrize("measure", ["cosine", "ruzicka"])
def test_a_kind_that_is_rounding_noise_is_undefined_and_its_layer_is_not(measure):
    maps = layer_maps()
    traces = traces_of(maps)
    noise = traces[0]
    noise.segments[0].grads.mul_(NOISE_FLOOR / 1e3)
    consumer = PairMoments(maps, PAIRS, Scoring("nll", measures=(measure,)))
    for trace in traces:
        consumer(trace)
    consumer.check(LABELS)
    scores = MEASURES[measure](consumer.moments())
    undefined = {consumer.groups[column] for column in scores.isnan().nonzero()[:, 1].tolist()}
    assert undefined == {(1, "q")}


def test_a_kind_well_above_rounding_noise_is_scored():
    maps = layer_maps()
    traces = traces_of(maps)
    traces[0].segments[0].grads.mul_(NOISE_FLOOR * 1e3)
    consumer = PairMoments(maps, PAIRS, ALL)
    for trace in traces:
        consumer(trace)
    assert not MEASURES["cosine"](consumer.moments()).isnan().any()
    assert not MEASURES["ruzicka"](consumer.moments()).isnan().any()


@pytest.mark.parametrize(
    "scoring",
    [
        Scoring("nll"),
        Scoring("nll", measures=("ruzicka",)),
        Scoring("nll", measures=("jaccard",), top_fraction=0.1),
        Scoring("nll", pattern="signed-gradient"),
    ],
    ids=["cosine", "ruzicka", "top fraction", "signed"],
)
@pytest.mark.parametrize(("sentence", "label"), [(1, "second"), (2, "third")])
def test_a_layer_without_an_activated_parameter_is_an_error(scoring, sentence, label):
    maps = layer_maps()
    traces = traces_of(maps)
    traces[3].segments[0].grads[sentence] = 0
    consumer = PairMoments(maps, PAIRS, scoring)
    for trace in traces:
        consumer(trace)
    with pytest.raises(NumericError, match=rf"^{label}: layer 2: no parameter is activated"):
        consumer.check(LABELS)


def test_a_layer_whose_traces_never_came_is_an_error():
    maps = layer_maps()
    consumer = PairMoments(maps, PAIRS, Scoring("nll", measures=("jaccard",), top_fraction=0.1))
    for trace in traces_of(maps)[:3]:
        consumer(trace)
    with pytest.raises(NumericError, match=r"^first: layer 2: no parameter is activated"):
        consumer.check(LABELS)


def test_an_empty_set_under_an_absolute_threshold_is_no_error():
    maps = layer_maps()
    consumer = PairMoments(maps, PAIRS, Scoring("nll", measures=("jaccard",), gamma=1e9))
    for trace in traces_of(maps):
        consumer(trace)
    consumer.check(LABELS)
    assert MEASURES["jaccard"](consumer.moments()).isnan().all()


@pytest.mark.parametrize(("sentence", "label"), [(0, "first"), (1, "second")])
def test_sums_that_overflow_name_the_sentence_they_belong_to(sentence, label):
    maps = layer_maps()
    traces = traces_of(maps, dtype=torch.float32)
    traces[3].segments[0].grads[sentence] *= 1e25
    consumer = PairMoments(maps, PAIRS, Scoring("nll"))
    for trace in traces:
        consumer(trace)
    with pytest.raises(NumericError, match=rf"^{label}: layer 2 \(all\): the sums over the pattern are not finite"):
        consumer.check(LABELS)


@pytest.mark.parametrize("scorer", ["tiled", "reference"])
def test_neuron_sums_are_row_and_column_sums_of_the_pattern(scorer):
    maps = layer_maps()
    traces = traces_of(maps)
    alone, common = NeuronSums(Pattern(), scorer), PairNeurons(PAIRS, Pattern(), scorer)
    for trace in traces:
        alone(trace)
        common(trace)
    for trace in traces:
        patterns = [tiny_traces.pattern_by_numpy(trace, sentence) for sentence in range(3)]
        for axis in (0, 1):
            got = alone.sums[trace.map.name][axis]
            want = np.array([p.sum(axis=1 - axis) for p in patterns])
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-10)
            got = common.sums[trace.map.name][axis]
            want = np.array([(patterns[a] * patterns[b]).sum(axis=1 - axis) for a, b in PAIRS.tolist()])
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-10)


def test_one_pass_or_one_measure_at_a_time_is_the_same():
    maps = layer_maps()
    together = PairMoments(maps, PAIRS, ALL)
    apart = {name: PairMoments(maps, PAIRS, scoring_of(name)) for name in MEASURES}
    for trace in traces_of(maps):
        for consumer in (together, *apart.values()):
            consumer(trace)
    for name, measure in MEASURES.items():
        assert torch.equal(measure(together.moments()), measure(apart[name].moments()))


def scoring_of(measure: str) -> Scoring:
    return Scoring("nll", measures=(measure,), gamma=0.5 if measure in ("jaccard", "overlap") else None)


def test_the_kinds_of_a_model_are_its_groups():
    loaded = tiny_models.loaded("llama")
    kinds = ["all", "q", "k", "v", "o", "gate", "up", "down"]
    assert groups_of(loaded.maps) == [(layer, kind) for layer in (1, 2, 3) for kind in kinds]
