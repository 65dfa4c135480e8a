"""Perplexity equals a naive loop over tokens; batches do not matter; what has no perplexity is refused."""

from __future__ import annotations

import math

import pytest
import tiny_models
import torch

from actsim.errors import DataError, UsageError
from actsim.pipelines.perplexity import perplexity

TEXT = " ".join(tiny_models.WORDS * 2)


def naive(loaded, text: str, context: int) -> float:
    """Every token predicted by a pass of its own over what stands before it in its window."""
    ids = loaded.tokenizer(text)["input_ids"]
    losses = []
    for first in range(0, len(ids) - context + 1, context):
        window = ids[first : first + context]
        for place in range(1, context):
            with torch.no_grad():
                logits = loaded.model(input_ids=torch.tensor([window[:place]])).logits[0, -1].double()
            losses.append(float(logits.logsumexp(0) - logits[window[place]]))
    return math.exp(sum(losses) / len(losses))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_it_is_that_of_a_naive_loop(family):
    loaded = tiny_models.loaded(family)
    found = perplexity(loaded, TEXT, context=8)
    tokens = 1 + len(TEXT.split())
    assert found.perplexity == pytest.approx(naive(loaded, TEXT, 8), rel=1e-5)
    assert (found.windows, found.tokens, found.left_over) == (tokens // 8, tokens, tokens % 8)
    assert found.predicted == found.windows * 7
    assert math.log(found.perplexity) == pytest.approx(sum(found.window_nll) / found.windows)


def test_batches_do_not_matter_and_progress_is_told():
    loaded = tiny_models.loaded("llama")
    told: list[tuple[int, int]] = []
    one = perplexity(loaded, TEXT, context=8, batch_tokens=1)
    many = perplexity(loaded, TEXT, context=8, batch_tokens=32, progress=lambda *own: told.append(own))
    assert one.perplexity == pytest.approx(many.perplexity, rel=1e-6)
    assert told == [(min(4 * step, one.windows), one.windows) for step in range(len(told))]
    assert told[-1] == (one.windows, one.windows)


def test_the_first_tokens_are_those_of_the_whole_text():
    loaded = tiny_models.loaded("llama")
    whole = perplexity(loaded, TEXT, context=8)
    found = perplexity(loaded, TEXT, context=8, first_tokens=20)
    assert found.window_nll == pytest.approx(whole.window_nll[:2])
    assert (found.tokens, found.left_over) == (20, 4)


def test_the_context_is_by_default_what_the_model_takes():
    loaded = tiny_models.loaded("llama")
    assert perplexity(loaded, TEXT).context == tiny_models.MAX_POSITIONS


@pytest.mark.parametrize(
    ("family", "text", "context", "error", "says"),
    [
        ("bert", TEXT, 8, UsageError, "causal language models"),
        ("llama", TEXT, 1, UsageError, "--context must be at least 2"),
        ("llama", TEXT, 65, UsageError, "takes"),
        ("llama", "a dog", 8, DataError, "has 3 tokens"),
    ],
)
def test_what_has_no_perplexity_is_refused(family, text, context, error, says):
    with pytest.raises(error, match=says):
        perplexity(tiny_models.loaded(family), text, context=context)
