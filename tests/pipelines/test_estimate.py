"""Summaries of the check: against scipy on the removals, and against what theory says of small weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import tiny_models
import torch

from actsim.config import Scoring
from actsim.core.objectives import OBJECTIVES
from actsim.core.removal import measure_removals
from actsim.errors import NumericError, UsageError
from actsim.models.pooling import Pooling
from actsim.models.tokenise import sentence_batch
from actsim.pipelines.estimate import check_estimate

TEXTS = tiny_models.SENTENCES[:4]


def check(loaded, objective="next-token", *, texts=TEXTS, seed=0, weights=12, neurons=6, **changes):
    return check_estimate(
        loaded,
        texts,
        Scoring(objective, max_tokens=64, **changes),
        weights_per_layer=weights,
        neurons_per_layer=neurons,
        rng=np.random.default_rng(seed),
    )


def test_summaries_are_those_of_the_removals():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    found = check(loaded)
    weights, neurons = measure_removals(
        loaded,
        sentence_batch(loaded, TEXTS, Scoring("next-token", max_tokens=64)),
        OBJECTIVES["causal"].get("next-token"),
        weights_per_layer=12,
        neurons_per_layer=6,
        rng=np.random.default_rng(0),
    )
    for layer in (1, 2, 3):
        own = [removal for removal in neurons if removal.linear.layer == layer]
        change = np.concatenate([removal.change for removal in own])
        signed = np.concatenate([removal.estimate for removal in own])
        absolute = np.concatenate([removal.absolute_sum for removal in own])
        summary = found.layers[layer - 1]
        assert summary.layer == layer
        assert summary.neurons.n == len(change) == 6 * len(TEXTS)
        assert summary.neurons.spearman == pytest.approx(scipy.stats.spearmanr(signed, change).statistic)
        assert summary.neurons_absolute.spearman == pytest.approx(scipy.stats.spearmanr(absolute, change).statistic)
        ratios = change[signed > 1e-12] / signed[signed > 1e-12]
        expected = [np.median(ratios), *np.percentile(ratios, [10, 90])]
        got = [summary.neurons.ratio_median, summary.neurons.ratio_p10, summary.neurons.ratio_p90]
        assert got == pytest.approx(expected)
    assert found.overall.layer is None
    assert found.overall.weights.n == 3 * 12 * len(TEXTS)
    change, estimate = (np.concatenate([getattr(w, name) for w in weights]) for name in ("change", "estimate"))
    assert found.overall.weights.spearman == pytest.approx(scipy.stats.spearmanr(estimate, change).statistic)


def test_progress_tells_every_removal():
    told = []
    check_estimate(
        tiny_models.loaded("bert", dtype=torch.float64),
        TEXTS,
        Scoring("embedding-norm", max_tokens=64),
        weights_per_layer=3,
        neurons_per_layer=2,
        rng=np.random.default_rng(0),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 15) for done in range(16)]


@pytest.mark.parametrize(("name", "objective"), [("gpt2", "nll"), ("llama", "next-token"), ("bert", "embedding-norm")])
def test_the_estimate_of_small_weights_is_close(name, objective):
    """To first order exact: the error is of second order in the weight."""

    def shrink(model):
        for parameter in model.parameters():
            if parameter.ndim == 2 and parameter.shape[0] != len(tiny_models.VOCABULARY):
                parameter.data.mul_(0.2)

    found = check(tiny_models.loaded(name, dtype=torch.float64, change=shrink), objective)
    assert found.overall.weights.spearman > 0.95
    assert found.overall.weights.ratio_median == pytest.approx(1, abs=0.05)
    assert found.overall.weights.below_rounding == 0


def test_terms_of_a_neuron_that_cancel_are_not_added_up_in_absolute_value():
    found = check(tiny_models.loaded("llama", dtype=torch.float64), weights=1, neurons=24)
    assert found.overall.neurons_absolute.ratio_median < found.overall.neurons.ratio_median
    assert found.overall.neurons_absolute.spearman < found.overall.neurons.spearman


def test_what_rounding_hides_is_counted_and_said():
    found = check(tiny_models.loaded("llama"), weights=30, neurons=1)
    assert found.dtype == "float32"
    assert 0 < found.overall.weights.below_rounding == sum(layer.weights.below_rounding for layer in found.layers)
    assert any("--dtype float64" in note for note in found.notes)


def test_the_held_token_is_said_where_a_token_is_read():
    loaded = tiny_models.loaded("opt", dtype=torch.float64)
    assert any("likeliest" in note for note in check(loaded, "log-prob", weights=1, neurons=1).notes)
    assert not any("likeliest" in note for note in check(loaded, "nll", weights=1, neurons=1).notes)


def test_one_text_and_one_removal_have_no_rank_correlation():
    found = check(tiny_models.loaded("bert", dtype=torch.float64), "embedding-norm", texts=TEXTS[:1], weights=1)
    assert found.layers[0].weights.n == 1
    assert found.layers[0].weights.spearman is None


def test_the_plain_copy_is_json():
    found = check(tiny_models.loaded("llama", dtype=torch.float64), weights=1, neurons=1, texts=TEXTS[:1])
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["layers"][0]["weights"]["n"] == 1
    assert plain["layers"][0]["weights"]["spearman"] is None
    assert plain["overall"]["layer"] is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype):
    loaded = tiny_models.loaded("llama", dtype=dtype)
    with pytest.raises(UsageError, match=r"16, whose rounding is larger .* --dtype float64"):
        check(loaded)


def test_impossible_requests_are_refused():
    loaded = tiny_models.loaded("llama")
    with pytest.raises(UsageError, match="at least one text"):
        check(loaded, texts=[])
    with pytest.raises(UsageError, match="at least one text"):
        check(loaded, texts="boat")
    with pytest.raises(UsageError, match="sentence 2 is empty"):
        check(loaded, texts=["boat", ""])
    with pytest.raises(UsageError, match="got 'absolute-gradient'"):
        check(loaded, pattern="absolute-gradient")
    with pytest.raises(UsageError, match="--weights must be at least 1, got 0"):
        check(loaded, weights=0)
    with pytest.raises(UsageError, match="--neurons must be at least 1, got -1"):
        check(loaded, neurons=-1)
    with pytest.raises(UsageError, match="40 padded tokens, more than --batch-tokens 30"):
        check(loaded, batch_tokens=30)
    with pytest.raises(UsageError, match="unknown objective 'embedding-norm'"):
        check(loaded, "embedding-norm")


def test_a_readout_that_is_constant_is_refused():
    def plain_norms(model):
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.data.fill_(1.0)
                module.bias.data.zero_()

    loaded = tiny_models.loaded("bert", pooling=Pooling(("cls",)), change=plain_norms)
    with pytest.raises(NumericError, match="hardly depends on the activations"):
        check(loaded, "embedding-norm")
