"""The common activation split by layer, kind, head and neuron, against plain autograd and the moments."""

from __future__ import annotations

import json

import pytest
import tiny_models
import torch

from actsim.config import Scoring
from actsim.core.consumers import PairMoments
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.errors import NumericError, UsageError
from actsim.models.tokenise import sentence_batch
from actsim.pipelines.explain import explain

A, B = tiny_models.SENTENCES[0], tiny_models.SENTENCES[4]
ALL = 10**6
RESOLVED = ("llama", "qwen3", "opt", "gpt_neo", "gpt2", "phi3", "gpt_neox", "bert", "distilbert", "modernbert", "mpnet")


def patterns(loaded, text):
    """|W ⊙ ∂D/∂W| of one sentence by autograd on the parameters, as stored: map name -> [d_out, d_in]."""
    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    parameters = [linear.module.weight for linear in loaded.maps]
    for parameter in parameters:
        parameter.requires_grad_(True)
    if loaded.family == "causal":
        readout = loaded.model(input_ids=ids).logits[0, -1].max()
    else:
        readout = loaded.model(input_ids=ids).last_hidden_state[0].mean(dim=0).norm()
    grads = torch.autograd.grad(readout, parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    named = {}
    for linear, parameter, grad in zip(loaded.maps, parameters, grads, strict=True):
        value = (parameter.detach() * grad).abs()
        named[linear.name] = value.T if linear.transposed else value
    return named


def naive_common(loaded):
    of_a, of_b = patterns(loaded, A), patterns(loaded, B)
    return {linear: of_a[linear.name] * of_b[linear.name] for linear in loaded.maps}


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_layers_and_kinds_are_those_of_plain_autograd(name):
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    common = naive_common(loaded)
    total = sum(float(value.sum()) for value in common.values())
    found = explain(A, B, loaded)
    assert found.total == pytest.approx(total, rel=1e-6)
    assert [entry.layer for entry in found.layers] == [1, 2, 3]
    for entry in found.layers:
        expected = sum(float(value.sum()) for linear, value in common.items() if linear.layer == entry.layer)
        assert entry.share == pytest.approx(expected / total, rel=1e-6)
    assert {(entry.layer, entry.kind) for entry in found.kinds} == {(m.layer, m.kind) for m in loaded.maps}
    for entry in found.kinds:
        own = [value for m, value in common.items() if (m.layer, m.kind) == (entry.layer, entry.kind)]
        assert entry.share == pytest.approx(sum(float(value.sum()) for value in own) / total, rel=1e-6)


def test_grouped_query_heads_are_those_of_plain_autograd():
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    common = {(m.layer, m.kind): value for m, value in naive_common(loaded).items()}
    total = sum(float(value.sum()) for value in common.values())
    found = explain(A, B, loaded, top=ALL)
    assert found.n_heads == len(found.heads) == 3 * (3 + 1)
    for head in found.heads:
        own = slice(8 * head.head, 8 * head.head + 8)
        if head.role == "query":
            expected = {
                "q": common[head.layer, "q"][own].sum(),
                "o": common[head.layer, "o"][:, own].sum(),
            }
        else:
            expected = {"k": common[head.layer, "k"][own].sum(), "v": common[head.layer, "v"][own].sum()}
        assert head.kinds == pytest.approx({kind: float(value) / total for kind, value in expected.items()}, rel=1e-6)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_neurons_are_rows_of_gate_and_up_and_a_column_of_down(name):
    loaded = tiny_models.loaded(name, dtype=torch.float64)
    common = {(m.layer, m.kind): value for m, value in naive_common(loaded).items()}
    total = sum(float(value.sum()) for value in common.values())
    found = explain(A, B, loaded, top=ALL)
    assert found.n_neurons == len(found.neurons) == 3 * 40
    for neuron in found.neurons:
        parts = [common[neuron.layer, "down"][:, neuron.neuron].sum()]
        parts += [common[neuron.layer, kind][neuron.neuron].sum() for kind in neuron.kinds if kind != "down"]
        assert neuron.share == pytest.approx(float(sum(parts)) / total, rel=1e-6)
        assert neuron.share == pytest.approx(sum(neuron.kinds.values()))


@pytest.mark.parametrize("name", sorted({*RESOLVED, "albert", "deberta", "deberta_v2", "falcon"}))
def test_shares_agree_with_the_moments_of_the_cosine(name):
    loaded = tiny_models.loaded(name)
    scoring = loaded.default_scoring()
    consumer, _ = consume(
        loaded,
        sentence_batch(loaded, [A, B], scoring),
        OBJECTIVES[loaded.family].get(scoring.objective),
        lambda: PairMoments(loaded.maps, torch.tensor([[0, 1]]), scoring),
    )
    dots = dict(zip(consumer.groups, consumer.moments()[0, :, 0].tolist(), strict=True))
    whole = sum(value for (_, kind), value in dots.items() if kind == "all")
    found = explain(A, B, loaded)
    assert sum(entry.share for entry in found.layers) == pytest.approx(1, abs=1e-9)
    assert found.total == pytest.approx(whole, rel=1e-5)
    shares = {(entry.layer, "all"): entry.share for entry in found.layers}
    shares |= {(entry.layer, entry.kind): entry.share for entry in found.kinds}
    assert shares == pytest.approx({group: value / whole for group, value in dots.items()}, rel=1e-5)


@pytest.mark.parametrize("name", RESOLVED)
def test_heads_and_neurons_sum_to_their_kinds(name):
    loaded = tiny_models.loaded(name)
    found = explain(A, B, loaded, top=ALL)
    assert not found.notes
    sums: dict[tuple[int, str], float] = {}
    for unit in (*found.heads, *found.neurons):
        for kind, share in unit.kinds.items():
            sums[unit.layer, kind] = sums.get((unit.layer, kind), 0.0) + share
    assert sums == pytest.approx({(entry.layer, entry.kind): entry.share for entry in found.kinds}, rel=1e-5)


def test_unresolved_heads_are_said_and_counted_as_none():
    found = explain(A, B, tiny_models.loaded("falcon"))
    assert not found.heads
    assert found.n_heads == 0
    assert [note[: len("heads not resolved: ")] for note in found.notes] == ["heads not resolved: "]


def test_the_listed_ones_are_the_largest_of_all():
    loaded = tiny_models.loaded("llama")
    short, whole = explain(A, B, loaded, top=4), explain(A, B, loaded, top=ALL)
    assert short.neurons == whole.neurons[:4]
    assert short.heads == whole.heads[:4]
    shares = [neuron.share for neuron in whole.neurons]
    assert shares == sorted(shares, reverse=True)


def test_a_sentence_with_itself_and_the_gradient_alone():
    loaded = tiny_models.loaded("opt")
    found = explain(A, A, loaded, Scoring("nll", pattern="absolute-gradient"))
    assert sum(entry.share for entry in found.layers) == pytest.approx(1, abs=1e-9)


def test_the_plain_copy_is_json():
    found = explain(A, B, tiny_models.loaded("llama"), top=2)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["layers"][0] == {"layer": 1, "share": found.layers[0].share}
    assert len(plain["neurons"]) == 2


def test_impossible_requests_are_refused():
    loaded = tiny_models.loaded("llama")
    with pytest.raises(UsageError, match="signed-weighted"):
        explain(A, B, loaded, Scoring("nll", pattern="signed-weighted"))
    with pytest.raises(UsageError, match="--top must be at least 1, got 0"):
        explain(A, B, loaded, top=0)
    with pytest.raises(UsageError, match="sentence 2 is empty"):
        explain(A, " ", loaded)


def test_no_common_activation_is_an_error():
    """Maps that give their biases alone: the read-out depends on their outputs, but no weight has a part in it."""

    def silence(model):
        for block in model.model.decoder.layers:
            for parameter in block.parameters():
                if parameter.ndim == 2:
                    parameter.data.zero_()

    with pytest.raises(NumericError, match="common activation of the two sentences is 0"):
        explain(A, B, tiny_models.loaded("opt", change=silence))
