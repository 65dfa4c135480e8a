"""Controls: fresh weights that leave everything else alone, and orders of tokens that depend on the sentence only."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from actsim.config import CONTROLS, Scoring
from actsim.core.batch import Prompt
from actsim.errors import ModelError, UsageError
from actsim.models.controls import controlled, random_weights, shuffle, shuffled_tokens, special_tokens
from actsim.models.loading import parameters_sha256
from actsim.models.tokenise import sentence_batch, tokenise_for
from actsim.pipelines.similarity import similarity

FIXED = frozenset({0, 1})
SENTENCES = st.lists(st.integers(0, 9), max_size=12).map(tuple)


@given(tokens=SENTENCES, seed=st.integers(0, 2**70))
def test_a_shuffle_keeps_the_tokens_and_the_places_of_special_ones(tokens, seed):
    found = shuffle(tokens, seed, FIXED)
    assert Counter(found) == Counter(tokens)
    assert [token if token in FIXED else None for token in found] == [
        token if token in FIXED else None for token in tokens
    ]
    assert shuffle(tokens, seed, FIXED) == found


def test_an_order_depends_on_seed_and_sentence():
    tokens = tuple(range(2, 22))
    orders = {shuffle(tokens, seed, FIXED) for seed in range(5)} | {shuffle((*tokens, 22), 0, FIXED)[:20]}
    assert len(orders) == 6


def test_within_spans_of_equal_length_the_order_is_one_and_the_rest_stays():
    tokens = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7)
    for seed in range(20):
        found = shuffle(tokens, seed, (), [(0, 6), (8, 14)])
        assert found[:6] == found[8:] and found[6:8] == (8, 9)
        assert Counter(found[:6]) == Counter(tokens[:6])


@pytest.mark.parametrize("template", ["plain", "prompteol", "echo"])
def test_sentences_of_a_model_with_shuffled_tokens(template):
    loaded = tiny_models.loaded("llama")
    control = shuffled_tokens(loaded, 3)
    scoring = Scoring("nll", template=template)
    texts = [*tiny_models.SENTENCES, "the dog zzz the cat"]
    labels = [str(number) for number in range(len(texts))]
    plain, found = (tokenise_for(model, texts, labels, scoring) for model in (loaded, control))
    reordered = tokenise_for(control, texts[::-1], labels, scoring)
    assert reordered.tokens[::-1] == found.tokens  # the same sentence, wherever it stands
    assert found.tokens != plain.tokens and found.truncated == plain.truncated
    for before, after in zip(plain.tokens, found.tokens, strict=True):
        assert Counter(after) == Counter(before)
        assert after[0] == before[0] == tiny_models.BOS
        if isinstance(before, Prompt):
            inside = {place for start, stop in before.texts for place in range(start, stop)}
            assert after.texts == before.texts
            assert all(after[place] == before[place] for place in range(len(before)) if place not in inside)


def test_an_unknown_word_is_shuffled_like_any_other():
    assert tiny_models.UNK not in special_tokens(tiny_models.tokenizer())
    assert {tiny_models.BOS, tiny_models.EOS, tiny_models.PAD} <= special_tokens(tiny_models.tokenizer())


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "gemma3", "bert", "albert", "deberta_v2", "mpnet"])
def test_random_weights_are_those_of_their_seed_and_no_others(family):
    loaded = tiny_models.loaded(family)
    one, again, other = (random_weights(loaded, seed) for seed in (1, 1, 2))
    assert parameters_sha256(one.model) == parameters_sha256(again.model) == one.source["sha256"]
    prints = [parameters_sha256(model.model) for model in (loaded, one, other)]
    assert len(set(prints)) == 3
    assert [(m.name, m.layer, m.kind, m.parameter.shape) for m in one.maps] == [
        (m.name, m.layer, m.kind, m.parameter.shape) for m in loaded.maps
    ]
    own = {id(parameter) for parameter in one.model.parameters()}
    assert all(id(linear.parameter) in own for linear in one.maps)
    assert len(one.blocks) == loaded.n_layers and not one.model.training
    assert not any(parameter.requires_grad for parameter in one.model.parameters())


def test_the_users_model_and_the_global_generators_are_left_alone():
    loaded = tiny_models.loaded("llama", dtype=torch.bfloat16)
    identity, weights = loaded.identity(), parameters_sha256(loaded.model)
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002 - the state that must not move
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    control = random_weights(loaded, 9)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # noqa: NPY002
    assert (loaded.identity(), parameters_sha256(loaded.model), loaded.control) == (identity, weights, None)
    assert {parameter.dtype for parameter in control.model.parameters()} == {torch.bfloat16}
    assert loaded.model.config is not control.model.config


def test_a_global_seed_does_not_reach_the_weights():
    loaded = tiny_models.loaded("bert")
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(parameters_sha256(random_weights(loaded, 0).model))
    assert found[0] == found[1]


def test_the_generator_is_restored_where_the_model_cannot_be_built():
    class Stubborn(type(tiny_models.build("bert"))):
        def __init__(self, config, needed):
            super().__init__(config)

    loaded = tiny_models.loaded("bert")
    stubborn = replace(loaded, model=Stubborn(loaded.model.config, 1))
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match="Stubborn cannot be built from its configuration"):
        random_weights(stubborn, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_dense_head_is_fresh_too():
    loaded = replace(tiny_models.loaded("bert"), head=nn.Sequential(nn.Linear(24, 8), nn.Tanh()))
    before = loaded.head[0].weight.clone()
    one, other = (random_weights(loaded, seed).head[0].weight for seed in (1, 2))
    assert torch.equal(loaded.head[0].weight, before)
    assert not torch.equal(one, before) and not torch.equal(one, other)


@pytest.mark.parametrize("name", CONTROLS)
def test_the_identity_says_which_control_it_is(name):
    loaded = tiny_models.loaded("bert")
    identities = [loaded.identity(), *(controlled(loaded, name, seed).identity() for seed in (0, 1))]
    assert "control" not in identities[0]
    assert [identity["control"] for identity in identities[1:]] == [
        {"name": name, "seed": 0},
        {"name": name, "seed": 1},
    ]
    assert all(identity["name"].startswith("tiny-bert (") for identity in identities[1:])
    assert identities[1] != identities[2]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_scored_like_a_model(name):
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    a, b = tiny_models.SENTENCES[:2]
    scores = [
        similarity(a, b, model, Scoring("nll", dtype="float64"))["cosine"].layers
        for model in (loaded, controlled(loaded, name, 0), controlled(loaded, name, 0))
    ]
    assert scores[1] == scores[2] != scores[0]
    assert all(0 < score <= 1 for score in scores[1].values())


def test_shuffled_tokens_reach_the_batch():
    loaded = tiny_models.loaded("llama")
    plain, found = (
        sentence_batch(model, tiny_models.SENTENCES[:1], Scoring("nll")).input_ids[0].tolist()
        for model in (loaded, shuffled_tokens(loaded, 0))
    )
    assert found != plain and sorted(found) == sorted(plain)


def test_an_unknown_control_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown control 'random-weight'.*'random-weights'"):
        controlled(tiny_models.loaded("bert"), "random-weight", 0)
