"""Operations against torch's own counter, memory against torch's profiler."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch.utils.flop_counter import FlopCounterMode

from actsim.config import Scoring
from actsim.core.batch import pad
from actsim.core.consumers import PairMoments
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.models.costs import estimate_costs

TOKENS = 20


def scoring_of(loaded, **changes):
    return Scoring(**{"objective": next(iter(OBJECTIVES[loaded.family])), "max_tokens": 64, **changes})


@pytest.mark.parametrize("name", ["llama", "opt", "gpt_neox", "bert", "albert", "deberta_v2", "modernbert"])
def test_forward_flops_are_those_torch_counts(name):
    loaded = tiny_models.loaded(name)
    found, _ = estimate_costs(loaded, scoring_of(loaded), TOKENS)
    ids = torch.full((1, TOKENS), 9)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        loaded.model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    counts = counter.get_flop_counts()["Global"]
    linear = sum(count for op, count in counts.items() if op in (torch.ops.aten.mm, torch.ops.aten.addmm))
    outside = 2 * 24 * 24 if name in ("bert", "albert") else 0  # the pooler
    outside += 2 * TOKENS * 16 * 24 if name == "albert" else 0  # the map from embeddings to hidden states
    assert found.tokens == TOKENS
    assert found.forward == found.backward == found.weight_gradients == 2 * (linear - outside)


@pytest.mark.parametrize(("objective", "positions"), [("next-token", 1), ("nll", TOKENS - 1), ("log-sum-exp", 1)])
def test_a_pair_costs_twelve_operations_per_token_and_parameter_and_the_head(objective, positions):
    loaded = tiny_models.loaded("llama")
    found, _ = estimate_costs(loaded, scoring_of(loaded, objective=objective), TOKENS)
    head = 2 * 2 * positions * 2 * len(tiny_models.VOCABULARY) * 24
    assert found.readout == head
    assert found.total == 12 * TOKENS * sum(linear.parameter.numel() for linear in loaded.maps) + head


def allocated_peak(work):
    """Largest number of bytes that torch's allocator held at once during ``work``, beyond what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    held = peak = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


SETTINGS = (
    ("llama", {}, torch.float32),
    ("llama", {}, torch.bfloat16),
    ("llama", {"objective": "nll"}, torch.float32),
    ("llama", {"measures": ("cosine", "ruzicka", "jaccard")}, torch.float32),
    ("opt", {}, torch.float32),
    ("bert", {}, torch.float64),
    ("bert", {"measures": ("jaccard",), "gamma": 1e-4}, torch.bfloat16),
    ("albert", {}, torch.float32),
    ("deberta_v2", {}, torch.float32),
    ("modernbert", {}, torch.float32),
)


@pytest.mark.parametrize(("name", "changes", "dtype"), SETTINGS)
def test_memory_is_within_a_factor_of_two_of_what_is_allocated(name, changes, dtype):
    loaded = tiny_models.loaded(name, dtype=dtype)
    scoring = scoring_of(loaded, batch_tokens=640, **changes)
    _, found = estimate_costs(loaded, scoring, TOKENS)
    assert found.sentences == 32
    rows = [tuple((7 * row + column) % 50 + 5 for column in range(TOKENS)) for row in range(32)]
    batch = pad(rows, [str(row) for row in range(32)], pad_token=tiny_models.PAD)
    pairs = torch.arange(32).reshape(16, 2)
    objective = OBJECTIVES[loaded.family].get(scoring.objective)

    def work():
        consumer, _ = consume(loaded, batch, objective, lambda: PairMoments(loaded.maps, pairs, scoring))
        consumer.moments()

    peak = allocated_peak(work)
    assert 0.5 < (found.total - found.weights) / peak < 2


def test_memory_adds_up_and_grows_with_the_batch():
    loaded = tiny_models.loaded("bert")
    _, small = estimate_costs(loaded, scoring_of(loaded, batch_tokens=320), 32)
    _, large = estimate_costs(loaded, scoring_of(loaded, batch_tokens=640), 32)
    assert small.weights == sum(t.nbytes for t in (*loaded.model.parameters(), *loaded.model.buffers()))
    assert small.total == small.weights + small.activations + small.traces + small.workspace
    assert large.activations == 2 * small.activations
    assert large.weights == small.weights


def test_a_model_that_runs_one_at_a_time_keeps_traces_not_activations():
    loaded = tiny_models.loaded("deberta_v2")
    _, small = estimate_costs(loaded, scoring_of(loaded, batch_tokens=320), 32)
    _, large = estimate_costs(loaded, scoring_of(loaded, batch_tokens=640), 32)
    assert not loaded.batchable
    assert large.activations == small.activations
    assert large.traces == 2 * small.traces
