"""The trial forward pass: rows by sentence, and maps that are never called."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch import nn

from actsim.errors import ModelError
from actsim.models.layers import linear_maps
from actsim.models.probe import probe_rows

RELATIVE = ("deberta", "deberta_v2")


def probe(model, max_tokens=tiny_models.MAX_POSITIONS):
    return probe_rows(model, linear_maps(model).maps, max_tokens=max_tokens, pad_token=tiny_models.PAD)


@pytest.mark.parametrize("name", [n for n in (*tiny_models.CAUSAL, *tiny_models.ENCODERS) if n not in RELATIVE])
def test_rows_can_be_told_apart(name):
    assert probe(tiny_models.build(name)) is None


@pytest.mark.parametrize(("name", "module"), [("deberta", "pos_proj"), ("deberta_v2", "query_proj")])
def test_relative_positions_mix_sentences_and_are_named(name, module):
    note = probe(tiny_models.build(name))
    assert note is not None
    assert module in note
    assert "\n" not in note


def test_deberta_without_relative_positions_is_batchable():
    assert probe(tiny_models.build("deberta_v2", relative_attention=False, position_biased_input=True)) is None


def test_rows_flattened_over_the_batch_are_told_apart():
    """A map called with [sentences · tokens, d], as OPT did, passes."""
    model = tiny_models.build("bert")
    inner = model.encoder.layer[1].intermediate.dense

    class Flattened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.inner(inputs.reshape(-1, inputs.shape[-1])).reshape(*inputs.shape[:-1], -1)

    model.encoder.layer[1].intermediate.dense = Flattened()
    assert probe(model) is None


def test_tokens_before_sentences_are_noticed():
    model = tiny_models.build("bert")
    inner = model.encoder.layer[0].output.dense

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.inner(inputs.transpose(0, 1)).transpose(0, 1)

    model.encoder.layer[0].output.dense = Turned()
    note = probe(model)
    assert note is not None
    assert "encoder.layer.0.output.dense.inner" in note


def test_a_map_that_is_never_called_is_refused():
    model = tiny_models.build("llama")
    model.model.layers[1].mlp.spare = nn.Linear(4, 4)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.spare"):
        probe(model)


def test_a_short_model_is_probed_within_its_positions():
    assert probe(tiny_models.build("bert", max_position_embeddings=3), max_tokens=3) is None


def test_the_model_is_left_without_hooks_also_after_an_error():
    model = tiny_models.build("llama")
    maps = linear_maps(model).maps
    probe(model)
    model.model.layers[2].forward = lambda *_args, **_kwargs: (_ for _ in ()).throw(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        probe(model)
    assert all(not linear.module._forward_pre_hooks for linear in maps)
