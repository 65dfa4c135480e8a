"""Removals against plain autograd and against copies of the model in which the weight really is zero."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tiny_models
import torch

from actsim.config import Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import run_pass
from actsim.core.removal import Sample, measure_removals, removed
from actsim.models.tokenise import sentence_batch

TEXTS = tiny_models.SENTENCES[:4]
FAMILIES = (("llama", "next-token"), ("gpt2", "nll"), ("opt", "log-prob"), ("bert", "embedding-norm"))


def measure(loaded, objective, *, weights=6, neurons=4, seed=0, texts=TEXTS):
    batch = sentence_batch(loaded, texts, Scoring(objective, max_tokens=64))
    return measure_removals(
        loaded,
        batch,
        OBJECTIVES[loaded.family].get(objective),
        weights_per_layer=weights,
        neurons_per_layer=neurons,
        rng=np.random.default_rng(seed),
    )


def plain_readout(loaded, model, text, objective, token=None):
    """D of one text by the definition, and the token it reads."""
    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    if objective == "embedding-norm":
        return model(input_ids=ids).last_hidden_state[0].mean(dim=0).norm(), None
    logits = model(input_ids=ids).logits[0]
    if objective == "nll":
        return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="sum"), None
    values = logits[-1] if objective == "next-token" else logits[-1].log_softmax(dim=0)
    token = int(values.argmax()) if token is None else token
    return values[token], token


def stored(linear, tensor):
    """[d_out, d_in], whichever way the module stores its weight."""
    return tensor.T if linear.transposed else tensor


@pytest.mark.parametrize(("name", "objective"), FAMILIES)
def test_estimates_are_those_of_plain_autograd(name, objective):
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    weights, neurons = measure(loaded, objective)
    model = copy.deepcopy(loaded.model).requires_grad_(True)
    for index, text in enumerate(TEXTS):
        model.zero_grad()
        plain_readout(loaded, model, text, objective)[0].backward()
        for removal in (*weights, *neurons):
            parameter = model.get_submodule(removal.linear.name).weight
            terms = stored(removal.linear, parameter.detach() * parameter.grad)[removal.row]
            if removal.column is not None:
                terms = terms[removal.column]
            assert removal.estimate[index] == pytest.approx(abs(float(terms.sum())), rel=1e-5, abs=1e-9)
            assert removal.absolute_sum[index] == pytest.approx(float(terms.abs().sum()), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(("name", "objective"), FAMILIES)
def test_changes_are_those_of_a_copy_without_the_weight(name, objective):
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    for removal in (drawn for sample in measure(loaded, objective) for drawn in sample):
        without = copy.deepcopy(loaded.model)
        weight = stored(removal.linear, without.get_submodule(removal.linear.name).weight)
        weight[removal.row, slice(None) if removal.column is None else removal.column] = 0
        for index, text in enumerate(TEXTS):
            before, token = plain_readout(loaded, loaded.model, text, objective)
            after, _ = plain_readout(loaded, without, text, objective, token)
            assert removal.readouts[index] == pytest.approx(float(before), rel=1e-6)
            assert removal.change[index] == pytest.approx(abs(float(after - before)), rel=1e-4, abs=1e-6)


def test_the_token_is_held_where_a_removal_makes_another_likelier():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    _, neurons = measure(loaded, "next-token", weights=1, neurons=16, texts=TEXTS[:1])
    flipped = 0
    for removal in neurons:
        before, token = plain_readout(loaded, loaded.model, TEXTS[0], "next-token")
        with removed(removal.linear, removal.row):
            after, now = plain_readout(loaded, loaded.model, TEXTS[0], "next-token")
            held, _ = plain_readout(loaded, loaded.model, TEXTS[0], "next-token", token)
        if now != token:
            flipped += 1
            assert removal.change[0] == pytest.approx(abs(float(held - before)), rel=1e-4)
            assert float(after) > float(held)
    assert flipped > 0


def test_a_model_that_runs_one_at_a_time_is_measured_like_any_other():
    loaded = tiny_models.loaded("deberta_v2", dtype=torch.float64)
    assert not loaded.batchable
    weights, _ = measure(loaded, "embedding-norm", weights=2, neurons=1)
    for removal in weights:
        for index, text in enumerate(TEXTS):
            before, _ = plain_readout(loaded, loaded.model, text, "embedding-norm")
            with removed(removal.linear, removal.row, removal.column):
                after, _ = plain_readout(loaded, loaded.model, text, "embedding-norm")
            assert removal.change[index] == pytest.approx(abs(float(after - before)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("column", [None, 3])
def test_the_same_bits_come_back(name, column):
    loaded = tiny_models.loaded(name)
    linear = loaded.maps[2]
    linear.weight[5, 3] = -0.0
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}

    def same_bits():
        after = loaded.model.state_dict()
        return all(torch.equal(after[key].view(torch.int32), value.view(torch.int32)) for key, value in before.items())

    with removed(linear, 5, column):
        assert not linear.weight[5, column if column is not None else slice(None)].any()
        assert not same_bits()
    assert same_bits()
    with pytest.raises(ZeroDivisionError), removed(linear, 5, column):
        raise ZeroDivisionError
    assert same_bits()


def test_the_model_is_unchanged_after_the_check_and_after_an_exception_in_it():
    loaded = tiny_models.loaded("opt")
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    measure(loaded, "next-token")
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    calls = []

    def fail(*_):
        calls.append(None)
        if len(calls) == 5:
            raise ZeroDivisionError

    handle = loaded.model.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        measure(loaded, "next-token")
    handle.remove()
    assert all(torch.equal(value, before[key]) for key, value in loaded.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())


def places(removals):
    return [(removal.linear.name, removal.row, removal.column) for removal in removals]


def draw(loaded, size, *, by_row=False, seed=0):
    sample = Sample(loaded.maps, size, np.random.default_rng(seed), by_row=by_row)
    batch = sentence_batch(loaded, TEXTS, Scoring("next-token", max_tokens=64))
    run_pass(loaded, batch, OBJECTIVES["causal"].get("next-token"), sample.take)
    return sample.drawn()


@pytest.mark.parametrize("by_row", [False, True])
def test_the_sample_is_the_seeds_alone_and_has_no_unit_twice(by_row):
    loaded = tiny_models.loaded("llama")
    first, again, other = (draw(loaded, 40, by_row=by_row, seed=seed) for seed in (1, 1, 2))
    assert places(first) == places(again) != places(other)
    assert len(set(places(first))) == len(first)
    assert [sum(unit.linear.layer == layer for unit in first) for layer in (1, 2, 3)] == [40] * 3


@pytest.mark.parametrize("by_row", [False, True])
def test_a_sample_larger_than_the_layer_is_the_layer(by_row):
    loaded = tiny_models.loaded("llama")
    everything = draw(loaded, 10**6, by_row=by_row)
    shapes = [linear.weight.shape for linear in loaded.maps]
    assert len(set(places(everything))) == len(everything)
    assert len(everything) == sum(shape[0] if by_row else shape.numel() for shape in shapes)


def test_half_the_sample_is_uniform_and_half_follows_the_estimate():
    """The mean estimate of the drawn: half of it plain, half weighted by the estimate itself, layer by layer."""
    loaded = tiny_models.loaded("llama")
    everything = draw(loaded, 10**6)
    drawn = [unit for seed in range(12) for unit in draw(loaded, 60, seed=seed)]
    for layer in (1, 2, 3):
        values = np.array([unit.estimate.mean() for unit in everything if unit.linear.layer == layer])
        in_proportion = (values**2).sum() / values.sum()
        found = np.mean([unit.estimate.mean() for unit in drawn if unit.linear.layer == layer])
        assert in_proportion > 2 * values.mean()
        assert found == pytest.approx((values.mean() + in_proportion) / 2, rel=0.1)


def test_one_unit_a_layer_is_enough():
    assert [drawn.linear.layer for drawn in draw(tiny_models.loaded("llama"), 1)] == [1, 2, 3]
