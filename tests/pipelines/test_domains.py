"""Similarities of domains: cosines are an oracle's whatever the order, layers and memory; what is planted comes out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracle
import pytest
import tiny_models
import torch
from tiny_samples import TEXTS, drawn, samples_of
from two_languages import FIRST_WORDS, SECOND_WORDS, plant, sentences

from actsim.baselines import tfidf_vectors
from actsim.core import passes
from actsim.core.batch import pad
from actsim.core.objectives import OBJECTIVES
from actsim.errors import ModelError, UsageError
from actsim.pipelines import domains
from actsim.stats.domains import cluster_order, domain_matrices
from actsim.store import RunStore
from actsim.store.similarities import SAME_TOKEN, TFIDF, Similarities

PLENTY = 2**40
TALES, SONGS, NOTES = drawn("tales", TEXTS[:4]), drawn("songs", TEXTS[4:8]), drawn("notes", TEXTS[3:7])


def job_of(loaded, *samples, **changes) -> domains.Job:
    scoring = replace(loaded.default_scoring(), batch_tokens=24, **changes)
    return domains.prepare(loaded, samples or (TALES, SONGS, NOTES), scoring)


def similarities_of(job, directory, *, memory=PLENTY, progress=None) -> Similarities:
    with RunStore.begin(directory, {"study": "domains"}, job.layout("digest"), record={}) as store:
        domains.run_groups(domains.Runner(job, memory), store, progress=progress)
        return Similarities(store.read_parts(), tuple(job.groups))


@pytest.mark.parametrize(
    ("family", "objective"), [("llama", "nll"), ("bert", "embedding-norm"), ("gpt2", "next-token")]
)
@pytest.mark.parametrize("pattern", ["absolute-weighted", "signed-gradient"])
def test_every_cosine_is_that_of_an_oracle(family, objective, pattern, tmp_path):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    job = job_of(loaded, TALES, SONGS, objective=objective, pattern=pattern)
    found = similarities_of(job, tmp_path)
    truth = oracle.Oracle(loaded.model, family, objective)
    kinds = {linear.name: linear.kind for linear in loaded.maps}
    for group in range(2):
        tokens = [own.tokens[position] for own, position in job.members(group)]
        patterns = [truth.patterns(own, pattern) for own in tokens]
        for a, b in job.pairs:
            want = oracle.scores(patterns[a], patterns[b], kinds, job.groups, "cosine")
            for kind in ("all", *found.kinds):
                got = found.cosines(kind)[:, group, a, b]
                wanted = [value for value, own in zip(want, job.groups, strict=True) if own[1] == kind]
                np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-10)


def test_a_group_holds_two_samples_of_every_domain_and_none_twice():
    job = job_of(tiny_models.loaded("llama"))
    members = [[(own.domain, position) for own, position in job.members(group)] for group in range(job.n_groups)]
    assert members[1] == [("tales", 2), ("tales", 3), ("songs", 2), ("songs", 3), ("notes", 2), ("notes", 3)]
    assert len({member for group in members for member in group}) == 12 == job.n_groups * job.group_size


def test_the_order_of_domains_and_samples_does_not_matter(tmp_path):
    loaded = tiny_models.loaded("llama")
    swapped = [samples_of(own.domain, [own.tokens[place] for place in (1, 0, 3, 2)]) for own in (NOTES, TALES, SONGS)]
    want = similarities_of(job_of(loaded), tmp_path / "one").cosines()
    got = similarities_of(job_of(loaded, *swapped), tmp_path / "other").cosines()
    place = np.array([3, 2, 5, 4, 1, 0])  # where a sample of the first run stands in the second
    np.testing.assert_array_equal(got[..., place, :][..., place], want)


def test_some_layers_at_a_time_give_the_numbers_of_all_at_once(tmp_path):
    job = job_of(tiny_models.loaded("gpt2"))
    sizes = [domains.trace_bytes(job, [layer]) for layer in (1, 2, 3)]
    assert domains.layers_at_a_time(job, sum(sizes)) == [[1, 2, 3]]
    assert domains.layers_at_a_time(job, sum(sizes) - 1) == [[1, 2], [3]]
    assert domains.layers_at_a_time(job, 0) == [[1], [2], [3]]
    at_once, apart = similarities_of(job, tmp_path / "once"), similarities_of(job, tmp_path / "apart", memory=0)
    for kind in ("all", *at_once.kinds):
        np.testing.assert_allclose(apart.cosines(kind), at_once.cosines(kind), rtol=1e-5)
    np.testing.assert_allclose(apart.hidden(), at_once.hidden(), rtol=1e-6)


def test_traces_are_no_larger_than_said(monkeypatch, tmp_path):
    job, held = job_of(tiny_models.loaded("llama"), objective="nll"), []
    receive = passes.Joined._hand_on

    def weigh(joined, key):
        kept = {
            tensor.data_ptr(): tensor.nbytes
            for traces in joined._waiting.values()
            for trace in traces.values()
            for segment in trace.segments
            for tensor in (segment.inputs, segment.grads)
        }
        held.append(sum(kept.values()))
        receive(joined, key)

    monkeypatch.setattr(passes.Joined, "_hand_on", weigh)
    similarities_of(job, tmp_path)
    assert 0.3 * domains.trace_bytes(job, [1, 2, 3]) < max(held) <= domains.trace_bytes(job, [1, 2, 3])


def test_what_the_patterns_are_set_against(tmp_path):
    """Mean hidden states one sample at a time, TF-IDF over all texts of the run, and the oracle's next token."""
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    job = job_of(loaded)
    found = similarities_of(job, tmp_path)
    objective, truth = OBJECTIVES["causal"].get("next-token"), oracle.Oracle(loaded.model, "llama", "next-token")
    texts = [text for group in (0, 2) for own in (TEXTS[:4], TEXTS[4:8], TEXTS[3:7]) for text in own[group : group + 2]]
    words = tfidf_vectors(texts).toarray()
    for group in range(2):
        tokens = [own.tokens[position] for own, position in job.members(group)]
        states = []
        for own in tokens:
            alone = pad([own], ["sample"], pad_token=loaded.pad_token)
            states.append(passes.run_pass(loaded, alone, objective, lambda trace: None, hidden=True).hidden)
        for layer in range(loaded.n_layers):
            vectors = np.concatenate([own.mean[layer].numpy() for own in states])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            np.testing.assert_allclose(found.hidden()[layer, group], vectors @ vectors.T, atol=1e-10)
        own = words[6 * group : 6 * group + 6]
        np.testing.assert_allclose(found.without_layers()[TFIDF][0, group], own @ own.T, atol=1e-12)
        tops = np.array([truth.top_token(own) for own in tokens])
        np.testing.assert_array_equal(found.without_layers()[SAME_TOKEN][0, group], tops[:, None] == tops[None])


def test_only_a_read_out_of_a_token_tells_whether_it_is_the_same(tmp_path):
    found = similarities_of(job_of(tiny_models.loaded("llama"), objective="nll"), tmp_path)
    assert list(found.without_layers()) == [TFIDF]


def test_a_run_that_was_interrupted_goes_on_and_is_that_of_a_single_call(tmp_path):
    job = job_of(tiny_models.loaded("llama"))

    def stop(samples):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        similarities_of(job, tmp_path / "stopped", progress=stop)
    seen: list[int] = []
    resumed = similarities_of(job, tmp_path / "stopped", progress=seen.append)
    assert seen == [job.group_size]
    assert resumed.table == similarities_of(job, tmp_path / "single").table


def test_out_of_memory_takes_fewer_layers_and_tokens_and_changes_no_number(tmp_path, monkeypatch, caplog):
    job = job_of(tiny_models.loaded("llama"))
    undisturbed = similarities_of(job, tmp_path / "undisturbed")
    run_pass = passes.run_pass

    def short_of_memory(target, batch, *args, **options):
        result = run_pass(target, batch, *args, **options)
        if len({linear.layer for linear in target.maps}) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    monkeypatch.setattr(passes, "run_pass", short_of_memory)
    found = similarities_of(job, tmp_path / "short")
    np.testing.assert_allclose(found.cosines(), undisturbed.cosines(), rtol=1e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu: going on with 2 layers at a time and batches of 16 tokens",
        "out of memory on cpu: going on with 1 layer at a time and batches of 16 tokens",
    ]


def test_a_group_that_does_not_fit_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(passes, "run_pass", full)
    with pytest.raises(ModelError, match=r"does not suffice for the 6 samples of a group, one layer at a time; lower"):
        similarities_of(job_of(tiny_models.loaded("llama")), tmp_path)


def test_languages_with_parameters_of_their_own_have_nothing_in_common_and_mixed_texts_share_with_both(tmp_path):
    """Known beforehand: 0 between the languages, whose patterns lie in different parameters; a mixed text is between
    them, and each language has its part of the length of its pattern."""
    loaded = tiny_models.loaded("llama", change=plant)
    halves = zip(sentences(FIRST_WORDS, 5), sentences(SECOND_WORDS, 6), strict=True)
    texts = {
        "first": sentences(FIRST_WORDS, 1),
        "second": sentences(SECOND_WORDS, 2),
        "mixed": [(*one[:3], *other[:3]) for one, other in halves],
        "first again": sentences(FIRST_WORDS, 3),
    }
    samples = [samples_of(name, own) for name, own in texts.items()]
    found = similarities_of(job_of(loaded, *samples, objective="nll"), tmp_path).cosines()
    for layer in domain_matrices(found).mean(axis=1):
        first, second, mixed, again = range(4)
        assert layer[first, second] == layer[again, second] == 0
        others = [(first, first), (first, mixed), (first, again), (second, second), (second, mixed), (mixed, mixed)]
        assert all(layer[pair] > 0 for pair in others)
        order = cluster_order(layer)
        assert mixed == (order[1] if order[0] == second else order[2])
        assert second in (order[0], order[3])
    of_first, of_second = found[..., 4, 0], found[..., 4, 2]
    assert (of_first**2 + of_second**2 <= 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("samples", "changes", "message"),
    [
        ([TALES], {}, "at least two domains, got 1; give --domain again"),
        ([drawn("odd", TEXTS[:3]), drawn("odder", TEXTS[3:6])], {}, r"--samples 3: samples of a domain go in twos"),
        ([drawn("one", TEXTS[:1]), drawn("other", TEXTS[1:2])], {}, r"--samples 1: .* an even number of at least 2"),
        ([TALES, SONGS], {"objective": "embedding-norm"}, "unknown objective 'embedding-norm'"),
    ],
)
def test_what_cannot_be_compared_is_refused(samples, changes, message):
    with pytest.raises(UsageError, match=message):
        job_of(tiny_models.loaded("llama"), *samples, **changes)


def test_the_time_ahead_grows_with_the_groups():
    job = job_of(tiny_models.loaded("llama"))
    assert job.tokens(0) == sum(len(own.tokens[position]) for own in job.samples for position in (0, 1))
    assert domains.Runner(job, PLENTY).seconds([0, 1]) > 0
