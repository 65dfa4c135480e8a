"""Every model family: the score through the real path is the oracle's, whatever the batch, for each read-out."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import three_ways
import tiny_models
import tiny_pairs
import torch

from actsim.config import PATTERNS, Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.models.loading import LoadedModel
from actsim.pipelines.sts import prepare

CAUSAL = tuple(tiny_models.CAUSAL)

SINGLE_INSIDE = ("gemma2", "gpt_neo")
"""Families that compute attention weights in float32 whatever their type."""

HALF_TOLERANCE = {"bfloat16": 5e-2, "float16": 5e-3}
"""Batched against the oracle in the same type: gradients are rounded at every step, and in another order."""


def tolerance(family: str, dtype: str) -> float:
    return 1e-9 if dtype == "float64" and family not in SINGLE_INSIDE else 1e-5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", three_ways.FAMILIES)
def test_batched_is_one_by_one_is_the_oracle(family, dtype):
    found = three_ways.measure(family, dtype)
    for difference in (found.batched_single, found.batched_oracle):
        assert difference.compared > 0
        assert difference.layers < tolerance(family, dtype)
        assert difference.kinds < 5 * tolerance(family, dtype)


@pytest.mark.parametrize("dtype", HALF_TOLERANCE)
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gpt_neox", "bert", "albert", "deberta_v2", "mpnet"])
def test_half_precision_is_the_oracle_in_that_type(family, dtype):
    found = three_ways.measure(family, dtype)
    assert found.batched_oracle.compared > 0
    assert found.batched_oracle.layers < HALF_TOLERANCE[dtype]
    assert found.batched_single.layers < HALF_TOLERANCE[dtype]


def test_a_family_that_runs_one_by_one_is_compared_with_the_oracle_too():
    assert not tiny_models.loaded("deberta_v2").batchable
    assert not tiny_models.loaded("deberta").batchable
    assert all(tiny_models.loaded(family).batchable for family in ("opt", "albert", "gpt2", "modernbert"))


@pytest.mark.parametrize("family", three_ways.FAMILIES)
def test_the_oracle_takes_gradients_of_the_matrices_that_are_scored(family):
    loaded = tiny_models.loaded(family)
    objective = next(iter(OBJECTIVES[loaded.family]))
    names = oracle.Oracle(loaded.model, family, objective).names
    scored: dict[int, list[str]] = {}
    for linear in loaded.maps:
        scored.setdefault(linear.layer, []).append(linear.name)
    assert names == scored


def scores_and_truth(family: str, scoring: Scoring) -> tuple[three_ways.Scores, three_ways.Scores, list]:
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    job = prepare(loaded, tiny_pairs.pair_set(), scoring)
    return three_ways.tables(job), three_ways.oracle_tables(job, family), job.groups


def assert_same(got: np.ndarray, want: np.ndarray, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(got, want, rtol=rtol, atol=0, equal_nan=True)


@pytest.mark.parametrize("objective", list(OBJECTIVES["causal"]))
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "opt", "gpt_neox"])
def test_every_read_out_of_a_causal_model(family, objective):
    scoring = Scoring(objective, measures=three_ways.MEASURES, baselines=False)
    got, want, _ = scores_and_truth(family, scoring)
    for measure in three_ways.MEASURES:
        assert_same(got[measure], want[measure], rtol=1e-9 if family not in SINGLE_INSIDE else 1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "albert", "deberta_v2"])
def test_every_pattern(family, pattern):
    objective = "nll" if family in CAUSAL else "embedding-norm"
    got, want, _ = scores_and_truth(family, Scoring(objective, pattern=pattern, baselines=False))
    assert_same(got["cosine"], want["cosine"])


def test_the_four_patterns_are_four():
    found = [scores_and_truth("gpt2", Scoring("nll", pattern=p, baselines=False))[0]["cosine"] for p in PATTERNS]
    for row, first in enumerate(found):
        assert not any(np.allclose(first, second, rtol=1e-3) for second in found[:row])


@pytest.mark.parametrize("threshold", [{"gamma": 0.01}, {"top_fraction": 0.01}, {"top_fraction": 0.07}])
@pytest.mark.parametrize("family", ["llama", "opt", "albert", "deberta_v2"])
def test_activated_sets(family, threshold):
    objective = "nll" if family in CAUSAL else "embedding-norm"
    scoring = Scoring(objective, measures=("jaccard", "overlap"), baselines=False, **threshold)
    got, want, groups = scores_and_truth(family, scoring)
    whole = [kind == "all" for _, kind in groups]
    for measure in scoring.measures:
        assert_same(got[measure], want[measure], rtol=1e-12)
        assert ((got[measure][:, whole] > 0) & (got[measure][:, whole] < 1)).any()


def test_shared_layers_add_their_uses_before_the_absolute_value():
    """With one use per parameter the two orders are the same; ALBERT's layers run three times."""
    loaded = tiny_models.loaded("albert", dtype=torch.float64)
    assert loaded.n_layers == 1
    assert loaded.model.config.num_hidden_layers == 3
    truth = oracle.Oracle(loaded.model, "albert", "embedding-norm")
    patterns = [truth.patterns(tokens)[1] for tokens in ((5, 6, 7), (8, 9))]
    assert all(values.any() for pattern in patterns for values in pattern.values())


def test_biases_are_in_the_models_but_not_in_the_scores():
    """Qwen2 has biases on q, k and v; moving them moves the scores, but they are no scored parameters."""

    def shift(model) -> None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("proj.bias"):
                    parameter.add_(0.5)

    plain, moved = tiny_models.loaded("qwen2"), tiny_models.loaded("qwen2", change=shift)
    assert all(linear.weight.ndim == 2 for linear in plain.maps)
    first, second = (three_ways.tables(nll_job(loaded))["cosine"] for loaded in (plain, moved))
    assert not np.allclose(first, second, equal_nan=True)


def nll_job(loaded: LoadedModel):
    return prepare(loaded, tiny_pairs.pair_set(), Scoring("nll", baselines=False))


def test_tying_the_embedding_to_the_head_adds_nothing_to_the_blocks():
    """The same weights tied and untied: embedding and head are outside, so no score changes."""
    tied = tiny_models.build("llama", tie_word_embeddings=True)
    untied = tiny_models.build("llama", tie_word_embeddings=False)
    untied.load_state_dict(tied.state_dict())
    jobs = [
        nll_job(tiny_models.wrap_model(model, tiny_models.tokenizer(), name=name))
        for name, model in (("tied", tied), ("untied", untied))
    ]
    assert jobs[1].loaded.model.lm_head.weight is not jobs[1].loaded.model.model.embed_tokens.weight
    np.testing.assert_array_equal(*(three_ways.tables(job)["cosine"] for job in jobs))
