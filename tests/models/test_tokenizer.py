"""Tokenizers and length limits."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from actsim.errors import ModelError, UsageError
from actsim.models.tokenizer import load_tokenizer, position_limit, prepare_tokenizer, resolve_max_tokens


def test_padding_is_on_the_right():
    tokenizer = tiny_models.tokenizer()
    tokenizer.padding_side = "left"
    batch = prepare_tokenizer(tokenizer)(["the dog", "the"], padding=True)
    assert batch["input_ids"][1][-1] == tiny_models.PAD
    assert batch["attention_mask"] == [[1, 1, 1], [1, 1, 0]]


def test_without_a_padding_token_an_existing_one_stands_in_and_the_vocabulary_stays():
    tokenizer = tiny_models.tokenizer(pad=False)
    before = len(tokenizer)
    prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token_id == tiny_models.EOS
    assert len(tokenizer) == before


def test_a_stand_in_for_padding_does_not_change_what_the_model_sees():
    loaded = tiny_models.loaded("llama")
    tokenizer = prepare_tokenizer(tiny_models.tokenizer(pad=False))
    batch = tokenizer(["the dog", "the old dog sleeps"], padding=True, return_tensors="pt")
    alone = tokenizer("the dog", return_tensors="pt")
    with torch.no_grad():
        padded = loaded.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[0, :3]
        single = loaded.model(alone["input_ids"], attention_mask=alone["attention_mask"]).logits[0]
    torch.testing.assert_close(padded, single)


def test_a_folder_without_a_usable_tokenizer_is_one_line(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer cannot be loaded") as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*tiny_models.CAUSAL, *tiny_models.ENCODERS])
def test_the_longest_allowed_sentence_runs(name):
    """The limit is one that the model can really take; RoBERTa and MPNet lose the positions before padding_idx + 1."""
    loaded = tiny_models.loaded(name)
    longest = torch.full((1, loaded.max_tokens), 7)
    with torch.no_grad():
        output = loaded.model(longest, attention_mask=torch.ones_like(longest))[0]
    assert output.shape[1] == loaded.max_tokens
    assert bool(torch.isfinite(output).all())


@pytest.mark.parametrize("name", ["roberta", "mpnet", "bert", "gpt2", "opt"])
def test_one_token_more_than_the_positions_fails(name):
    model = tiny_models.build(name)
    too_long = torch.full((1, position_limit(model) + 1), 7)
    with pytest.raises((IndexError, RuntimeError)):
        model(too_long, attention_mask=torch.ones_like(too_long))


def test_the_smallest_of_the_stated_limits_is_the_default():
    model, tokenizer = tiny_models.build("bert"), tiny_models.tokenizer()
    assert resolve_max_tokens(None, model, tokenizer) == tiny_models.MAX_POSITIONS
    assert resolve_max_tokens(None, model, tokenizer, max_seq_length=20) == 20
    tokenizer.model_max_length = 15
    assert resolve_max_tokens(None, model, tokenizer, max_seq_length=20) == 15
    tokenizer.model_max_length = int(1e30)
    assert resolve_max_tokens(None, model, tokenizer) == tiny_models.MAX_POSITIONS


@pytest.mark.parametrize("requested", [0, 1, tiny_models.MAX_POSITIONS + 1])
def test_lengths_that_the_model_cannot_take_are_refused(requested):
    with pytest.raises(UsageError, match=f"--max-tokens {requested}: this model takes 2 to 64 tokens"):
        resolve_max_tokens(requested, tiny_models.build("bert"), tiny_models.tokenizer())


def test_a_request_within_the_positions_holds():
    assert resolve_max_tokens(10, tiny_models.build("bert"), tiny_models.tokenizer()) == 10
