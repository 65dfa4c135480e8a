"""Read-outs: D is what the model says to anybody, sentence by sentence, and only the wanted logits are formed."""

from __future__ import annotations

import oracle
import pytest
import tiny_models
import torch

from actsim.config import TOKEN_OBJECTIVES
from actsim.core.batch import pad
from actsim.core.objectives import CAUSAL_OBJECTIVES, ENCODER_OBJECTIVES, OBJECTIVES, widened
from actsim.errors import ModelError, NumericError, UsageError

TOKENS = ((2, 7, 8, 9, 11), (2, 12), (2, 7, 30, 9))
LABELS = ("a", "b", "c")


def batch_for(loaded, tokens=TOKENS):
    return pad(tokens, LABELS[: len(tokens)], pad_token=loaded.pad_token)


@pytest.mark.parametrize("objective", list(CAUSAL_OBJECTIVES))
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "opt"])
def test_d_is_the_models_own(family, objective):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    with torch.no_grad():
        values = CAUSAL_OBJECTIVES.get(objective)(loaded, batch_for(loaded)).values
    truth = oracle.Oracle(loaded.model, family, objective)
    want = torch.tensor([truth.read_out(tokens) for tokens in TOKENS], dtype=torch.float64)
    torch.testing.assert_close(values, want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_nll_is_the_models_own_loss_times_its_number_of_predicted_tokens(family):
    loaded = tiny_models.loaded(family)
    with torch.no_grad():
        values = CAUSAL_OBJECTIVES.get("nll")(loaded, batch_for(loaded)).values
        for value, tokens in zip(values, TOKENS, strict=True):
            ids = torch.tensor([tokens])
            loss = loaded.model(input_ids=ids, labels=ids).loss
            torch.testing.assert_close(value, loss * (len(tokens) - 1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("objective", list(CAUSAL_OBJECTIVES))
def test_only_read_outs_of_a_token_tell_it(objective):
    with torch.no_grad():
        found = CAUSAL_OBJECTIVES.get(objective)(tiny_models.loaded("llama"), batch_for(tiny_models.loaded("llama")))
    assert (found.top_token is not None) is (objective in TOKEN_OBJECTIVES)


def test_soft_capping_after_the_head_applies():
    """Gemma 2 caps its logits: the read-out is the capped one."""
    capped = tiny_models.loaded("gemma2")
    loose = tiny_models.loaded("gemma2")
    loose.model.config.final_logit_softcapping = None
    capped.model.config.final_logit_softcapping = 0.5
    values, free = (CAUSAL_OBJECTIVES.get("next-token")(m, batch_for(m)).values.detach() for m in (capped, loose))
    torch.testing.assert_close(values, 0.5 * torch.tanh(free / 0.5))


def test_top_token_and_margin_are_of_the_largest_logit():
    loaded = tiny_models.loaded("llama")
    for name in ("next-token", "log-prob"):
        readout = CAUSAL_OBJECTIVES.get(name)(loaded, batch_for(loaded))
        for row, tokens in enumerate(TOKENS):
            with torch.no_grad():
                logits = loaded.model(input_ids=torch.tensor([tokens])).logits[0, -1]
            best, second = logits.sort(descending=True).values[:2]
            assert int(readout.top_token[row]) == int(logits.argmax())
            torch.testing.assert_close(readout.margin[row], best - second, rtol=1e-3, atol=1e-5)


def test_of_equal_logits_the_lowest_id_is_taken_with_no_margin():
    loaded = tiny_models.loaded("gpt2", change=lambda model: model.lm_head.weight.data.zero_())
    readout = CAUSAL_OBJECTIVES.get("next-token")(loaded, batch_for(loaded))
    assert readout.top_token.tolist() == [0, 0, 0]
    assert readout.margin.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("objective", "rows"), [("next-token", 3), ("log-sum-exp", 3), ("nll", 4 + 1 + 3)])
def test_only_the_wanted_logits_are_formed(objective, rows):
    loaded = tiny_models.loaded("llama")
    shapes = []
    handle = loaded.model.lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    try:
        CAUSAL_OBJECTIVES.get(objective)(loaded, batch_for(loaded))
    finally:
        handle.remove()
    (shape,) = shapes
    assert shape.numel() == rows * loaded.model.config.vocab_size
    assert not loaded.model.lm_head._forward_pre_hooks


@pytest.mark.parametrize("pooling", [("mean",), ("cls",), ("max", "mean")])
def test_the_embedding_norm_is_the_norm_of_the_pooled_state(pooling):
    loaded = tiny_models.loaded("bert", pooling=tiny_models.Pooling(pooling))
    readout = ENCODER_OBJECTIVES.get("embedding-norm")(loaded, batch_for(loaded))
    for row, tokens in enumerate(TOKENS):
        with torch.no_grad():
            hidden = loaded.model(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        modes = {"mean": hidden.mean(dim=0), "cls": hidden[0], "max": hidden.max(dim=0).values}
        pooled = torch.cat([modes[mode] for mode in pooling])
        torch.testing.assert_close(readout.pooled[row], pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(readout.values[row].detach(), pooled.norm(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_d_is_float32_or_wider(dtype):
    for family in ("llama", "bert"):
        loaded = tiny_models.loaded(family, dtype=dtype)
        for name in OBJECTIVES[loaded.family]:
            assert OBJECTIVES[loaded.family].get(name)(loaded, batch_for(loaded)).values.dtype == torch.float32
    assert widened(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_nll_of_one_token_is_an_error_that_names_the_sentence():
    loaded = tiny_models.loaded("llama")
    batch = pad([(2, 7), (9,)], ["long enough", "too short"], pad_token=0)
    with pytest.raises(NumericError, match=r"^too short: one token only.*next-token"):
        CAUSAL_OBJECTIVES.get("nll")(loaded, batch)


def test_an_encoder_has_no_logits_and_a_causal_model_no_pooling():
    encoder, causal = tiny_models.loaded("bert"), tiny_models.loaded("llama")
    with pytest.raises(ModelError, match=r"BertModel has no language-model head.*embedding-norm"):
        CAUSAL_OBJECTIVES.get("nll")(encoder, batch_for(encoder))
    with pytest.raises(ModelError, match=r"LlamaForCausalLM.*no sentence pooling.*next-token or nll"):
        ENCODER_OBJECTIVES.get("embedding-norm")(causal, batch_for(causal))


def test_unknown_objectives_are_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"'next-tokn'.*Did you mean 'next-token'"):
        CAUSAL_OBJECTIVES.get("next-tokn")


def test_the_default_objectives_come_first():
    assert next(iter(OBJECTIVES["causal"])) == "next-token"
    assert next(iter(OBJECTIVES["encoder"])) == "embedding-norm"
