"""Counts against the model's own parameters, FLOPs against torch's counter, memory against torch's profiler."""

from __future__ import annotations

import json

import pytest
import tiny_models
import torch
from torch import nn

from actsim.config import Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.errors import NumericError, UsageError
from actsim.models.pooling import Dense
from actsim.pipelines.inspect_model import describe_model

EVERY = (*tiny_models.CAUSAL, *tiny_models.ENCODERS)


def scoring_of(loaded, **changes):
    return Scoring(**{"objective": next(iter(OBJECTIVES[loaded.family])), "max_tokens": 64, **changes})


@pytest.mark.parametrize("name", EVERY)
def test_layers_and_parts_sum_to_all_parameters(name):
    loaded = tiny_models.loaded(name)
    found = describe_model(loaded)
    everything = sum(parameter.numel() for parameter in loaded.model.parameters())
    assert found.total_parameters == everything
    assert found.scored_parameters + found.unscored_in_blocks + sum(p.parameters for p in found.parts) == everything
    distinct = {linear.parameter.data_ptr(): linear.parameter.numel() for linear in loaded.maps}
    assert found.scored_parameters == sum(distinct.values())
    assert found.scored_share == found.scored_parameters / everything
    assert [layer.layer for layer in found.layers] == list(range(1, loaded.n_layers + 1))


def test_a_llama_block_by_hand():
    found = describe_model(tiny_models.loaded("llama"))
    assert [(kind.kind, kind.maps, kind.shapes, kind.parameters) for kind in found.layers[1].kinds] == [
        ("q", 1, ((24, 24),), 576),
        ("k", 1, ((8, 24),), 192),
        ("v", 1, ((8, 24),), 192),
        ("o", 1, ((24, 24),), 576),
        ("gate", 1, ((40, 24),), 960),
        ("up", 1, ((40, 24),), 960),
        ("down", 1, ((24, 40),), 960),
    ]
    assert (found.layers[1].maps, found.layers[1].parameters, found.layers[1].unscored) == (7, 4416, 48)
    vocabulary = len(tiny_models.VOCABULARY)
    parts = [(part.name, part.parameters) for part in found.parts]
    assert parts == [("model.embed_tokens", 24 * vocabulary), ("model.norm", 24)]
    assert found.tied == ("lm_head.weight",)
    assert found.folded_layers() == [(1, 3, found.layers[0])]
    assert found.objectives[0] == found.objective == "next-token"


def test_an_encoder_has_its_pooler_outside_and_its_head_counted():
    loaded = tiny_models.loaded("bert")
    loaded.head = nn.Sequential(Dense(24, 6, True, nn.Tanh()))
    found = describe_model(loaded)
    parts = {part.name: part.parameters for part in found.parts}
    assert parts.keys() == {"embeddings", "pooler", "modules after the pooling"}
    assert parts["modules after the pooling"] == 24 * 6 + 6
    assert found.total_parameters == sum(parameter.numel() for parameter in loaded.model.parameters()) + 150
    assert (found.pooling, found.objective) == ("mean", "embedding-norm")


def test_layers_that_differ_are_not_folded():
    def widen(model):
        model.encoder.layer[1].intermediate.dense = nn.Linear(24, 48)
        model.encoder.layer[1].output.dense = nn.Linear(48, 24)

    found = describe_model(tiny_models.loaded("bert", change=widen))
    assert [(first, last) for first, last, _ in found.folded_layers()] == [(1, 1), (2, 2), (3, 3)]


def test_declared_exclusions_are_listed():
    def add(model):
        model.encoder.layer[0].positions = nn.Embedding(5, 24)

    found = describe_model(tiny_models.loaded("bert", change=add))
    (exclusion,) = found.exclusions
    assert (exclusion.shape, exclusion.reason, exclusion.parameters) == ((5, 24), "embedding", 120)
    assert found.layers[0].unscored == found.layers[1].unscored + 120


def test_a_sentence_is_no_longer_than_the_model_takes():
    loaded = tiny_models.loaded("llama", max_tokens=11)
    assert describe_model(loaded, tokens_per_sentence=500).flops.tokens == 11


def test_the_model_is_left_as_it_was_found():
    loaded = tiny_models.loaded("gpt2")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    describe_model(loaded)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_plain_copy_is_json():
    found = describe_model(tiny_models.loaded("llama"))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["layers"][0]["kinds"][0] == {"kind": "q", "maps": 1, "shapes": [[24, 24]], "parameters": 576}
    assert plain["memory"]["total"] == found.memory.total


def test_impossible_requests_are_refused():
    loaded = tiny_models.loaded("llama")
    with pytest.raises(UsageError, match="--tokens must be at least 1, got 0"):
        describe_model(loaded, tokens_per_sentence=0)
    with pytest.raises(UsageError, match="unknown objective 'embedding-norm'"):
        describe_model(loaded, scoring_of(loaded, objective="embedding-norm"))
    with pytest.raises(NumericError, match="one token only"):
        describe_model(loaded, scoring_of(loaded, objective="nll"), 1)
