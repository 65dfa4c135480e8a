"""Two sentences: the same scores as the data set's, and the same errors."""

from __future__ import annotations

import numpy as np
import pytest
import three_ways
import tiny_models
import tiny_pairs
import torch

from actsim.config import Scoring
from actsim.errors import NumericError, UsageError
from actsim.models.loading import wrap_model
from actsim.pipelines.similarity import fingerprint, similarity
from actsim.pipelines.sts import prepare

A, B = tiny_pairs.MAN, tiny_pairs.OLD_DOG
EVERYTHING = ("cosine", "ruzicka", "jaccard", "overlap")


@pytest.mark.parametrize("family", ["llama", "bert", "deberta_v2"])
def test_it_is_the_score_of_the_pair_in_a_data_set(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    scoring = Scoring(three_ways.objectives_of(loaded)[-1], measures=EVERYTHING, dtype="float64")
    job = prepare(loaded, tiny_pairs.pair_set(((A, B),)), scoring)
    table = three_ways.tables(job)
    found = similarity(A, B, loaded, scoring)
    assert tuple(found) == EVERYTHING
    for name, compared in found.items():
        assert compared.measure == name
        scores = {**{(layer, "all"): score for layer, score in compared.layers.items()}, **compared.kinds}
        got = [np.nan if scores[group] is None else scores[group] for group in job.groups]
        np.testing.assert_allclose(got, table[name][0], rtol=1e-10, equal_nan=True)


def test_the_default_is_the_papers_pattern_and_the_familys_first_read_out():
    for family, objective in (("llama", "next-token"), ("bert", "embedding-norm")):
        loaded = tiny_models.loaded(family, max_tokens=9)
        scoring = loaded.default_scoring()
        assert (scoring.objective, scoring.pattern, scoring.measures) == (objective, "absolute-weighted", ("cosine",))
        assert (scoring.max_tokens, scoring.dtype) == (9, "float32")
        assert similarity(A, B, loaded) == similarity(A, B, loaded, scoring)


def test_read_outs_are_those_of_the_two_sentences_in_order():
    loaded = tiny_models.loaded("bert")
    forth, back = similarity(A, B, loaded)["cosine"], similarity(B, A, loaded)["cosine"]
    assert forth.readouts == pytest.approx(back.readouts[::-1])
    assert forth.readouts[0] != pytest.approx(forth.readouts[1])
    assert forth.layers == pytest.approx(back.layers)


def test_it_works_where_the_caller_has_turned_gradients_off():
    loaded = tiny_models.loaded("bert")
    want = similarity(A, B, loaded)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert similarity(A, B, loaded) == want


def test_empty_sets_are_none():
    loaded = tiny_models.loaded("bert")
    found = similarity(A, B, loaded, Scoring("embedding-norm", measures=("jaccard",), gamma=1e9))
    assert set(found["jaccard"].layers.values()) == {None}


def test_queries_and_keys_of_one_token_are_none():
    loaded = wrap_model(tiny_models.build("llama"), tiny_models.tokenizer(start=False), name="llama")
    found = similarity("boat", A, loaded)["cosine"]
    assert {kind for (_, kind), score in found.kinds.items() if score is None} == {"q", "k"}
    assert None not in found.layers.values()


def test_a_layer_without_a_pattern_names_sentence_and_layer():
    def silence(model) -> None:
        for parameter in model.encoder.layer[2].parameters():
            parameter.requires_grad_(False)
            if parameter.ndim == 2:
                parameter.zero_()

    loaded = tiny_models.loaded("bert", change=silence)
    with pytest.raises(NumericError, match=r"^sentence 1: layer 3: no parameter is activated"):
        similarity(A, B, loaded)


@pytest.mark.parametrize(("a", "b", "which"), [("", B, 1), (A, "  ", 2)])
def test_an_empty_sentence_is_refused(a, b, which):
    with pytest.raises(UsageError, match=rf"^sentence {which} is empty"):
        similarity(a, b, tiny_models.loaded("bert"))


def test_an_objective_of_the_other_family_is_refused_with_what_is_allowed():
    with pytest.raises(UsageError, match=r"'nll'; known: embedding-norm"):
        similarity(A, B, tiny_models.loaded("bert"), Scoring("nll"))


def test_fingerprints_do_not_depend_on_their_company():
    loaded = tiny_models.loaded("llama")
    together, alone = fingerprint([A, B], loaded), [fingerprint([text], loaded)[0] for text in (A, B)]
    for one, other in zip(together, alone, strict=True):
        assert list(one.layers) == [1, 2, 3]
        assert all(torch.equal(one.layers[layer], other.layers[layer]) for layer in one.layers)
    assert together[0].cosine(together[0]) == pytest.approx({1: 1, 2: 1, 3: 1})
    assert all(0 < value < 1 for value in together[0].cosine(together[1]).values())


def test_fingerprint_takes_a_list_of_texts_that_are_not_empty():
    loaded = tiny_models.loaded("bert")
    with pytest.raises(UsageError, match="one string"):
        fingerprint(A, loaded)
    with pytest.raises(UsageError, match="sentence 1 is empty"):
        fingerprint([""], loaded)
    assert fingerprint([], loaded) == []
