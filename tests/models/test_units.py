"""Heads and neurons against what the model's own forward pass does with their rows."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from actsim.models.units import COLUMNS, ROWS, head_layout, neuron_layout

SENTENCE = tiny_models.SENTENCES[4]
RESOLVED = ("llama", "qwen3", "opt", "gpt_neo", "gpt2", "phi3", "gpt_neox", "bert", "distilbert", "modernbert", "mpnet")


def inputs_of(loaded, linear):
    """The input of one map in a forward pass over a sentence."""
    kept = []
    handle = linear.module.register_forward_pre_hook(lambda _module, args: kept.append(args[0].clone()))
    ids = torch.tensor([loaded.tokenizer(SENTENCE)["input_ids"]])
    loaded.model(input_ids=ids)
    handle.remove()
    return kept[0].reshape(-1, kept[0].shape[-1])


def moved_columns(loaded, changed, rows, linear):
    """Which input columns of ``linear`` move when ``rows`` of the map ``changed`` are multiplied by 1.5."""
    before = inputs_of(loaded, linear)
    saved = changed.weight.clone()
    changed.weight[rows] *= 1.5
    after = inputs_of(loaded, linear)
    changed.weight.copy_(saved)
    return {int(column) for column in (before != after).any(dim=0).nonzero()}


@pytest.mark.parametrize("name", RESOLVED)
def test_the_rows_of_a_head_act_on_that_head_alone(name):
    """The layout, fused maps included, against what the model's own forward pass does with the rows."""
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    slots = head_layout([linear for linear in loaded.maps if linear.layer == 1], loaded.model.config)
    assert not isinstance(slots, str)
    (output,) = [slot for slot in slots if slot.axis == COLUMNS]
    for slot in (slot for slot in slots if slot.axis == ROWS):
        for head in range(slot.count):
            first = slot.start + head * slot.width
            moved = moved_columns(loaded, slot.linear, slice(first, first + slot.width), output.linear)
            served = output.count // slot.count * output.width
            assert moved
            assert moved <= set(range(head * served, (head + 1) * served))


@pytest.mark.parametrize("name", RESOLVED)
def test_the_rows_of_a_neuron_act_on_its_column_of_down_alone(name):
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    slots = neuron_layout([linear for linear in loaded.maps if linear.layer == 1], loaded.model.config)
    assert not isinstance(slots, str)
    *inputs, down = slots
    for slot in inputs:
        for neuron in (0, 17, slot.count - 1):
            row = slot.start + neuron
            assert moved_columns(loaded, slot.linear, slice(row, row + 1), down.linear) <= {neuron}


@pytest.mark.parametrize(("name", "what"), [("falcon", "query_key_value of falcon"), ("deberta", "in_proj of deberta")])
def test_an_unknown_fused_layout_is_not_guessed(name, what):
    loaded = tiny_models.loaded(name)
    reason = head_layout([linear for linear in loaded.maps if linear.layer == 1], loaded.model.config)
    assert isinstance(reason, str)
    assert what in reason


def test_a_wrong_head_width_is_noticed():
    loaded = tiny_models.loaded("llama")
    loaded.model.config.head_dim = 6
    maps = [linear for linear in loaded.maps if linear.layer == 1]
    assert "3 heads of 6" in head_layout(maps, loaded.model.config)


def test_two_maps_of_a_kind_leave_neurons_unresolved():
    loaded = tiny_models.loaded("bert")
    maps = [linear for linear in loaded.maps if linear.kind in ("up", "down") and linear.layer < 3]
    assert neuron_layout(maps, loaded.model.config) == "2 maps of the kind down"
