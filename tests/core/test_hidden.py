"""Hidden states after each block: transformers' own, pooled over the sentence's own tokens."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from actsim.core.batch import pad
from actsim.core.hidden import HiddenStates, capture_hidden

TOKENS = ((2, 7, 8, 9, 11), (2, 12), (2, 7, 30, 9))


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "bert", "mpnet"])
def test_pooled_states_are_those_of_the_sentence_alone(family):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    batch = pad(TOKENS, ("a", "b", "c"), pad_token=loaded.pad_token)
    with torch.no_grad(), capture_hidden(loaded.blocks, batch) as states:
        loaded.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    assert sorted(states.mean) == list(range(loaded.n_layers))
    for row, tokens in enumerate(TOKENS):
        with torch.no_grad():
            hidden = loaded.model(input_ids=torch.tensor([tokens]), output_hidden_states=True).hidden_states
        for block in range(loaded.n_layers - 1):  # what transformers calls the last one has passed the final norm
            own = hidden[block + 1][0]
            torch.testing.assert_close(states.mean[block][row], own.mean(dim=0), rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(states.last[block][row], own[-1], rtol=1e-9, atol=1e-12)


def test_a_block_that_runs_several_times_keeps_its_last_use():
    loaded = tiny_models.loaded("albert", dtype=torch.float64)
    batch = pad(TOKENS[:1], ("a",), pad_token=0)
    with torch.no_grad(), capture_hidden(loaded.blocks, batch) as states:
        last = loaded.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    assert list(states.mean) == [0]
    torch.testing.assert_close(states.mean[0][0], last[0].mean(dim=0), rtol=1e-9, atol=1e-12)


def test_hooks_are_gone_also_after_an_exception():
    loaded = tiny_models.loaded("bert")
    before = [len(block._forward_hooks) for block in loaded.blocks]
    with pytest.raises(KeyError), capture_hidden(loaded.blocks, pad(TOKENS, "abc", pad_token=0)):
        assert [len(block._forward_hooks) for block in loaded.blocks] == [count + 1 for count in before]
        raise KeyError
    assert [len(block._forward_hooks) for block in loaded.blocks] == before


def test_joining_puts_the_sentences_one_after_the_other():
    parts = [HiddenStates({0: torch.full((rows, 2), float(rows))}, {0: torch.zeros(rows, 2)}) for rows in (1, 2)]
    joined = HiddenStates.join(parts)
    assert joined is not None and joined.mean[0][:, 0].tolist() == [1, 2, 2]
    assert HiddenStates.join([]) is None
