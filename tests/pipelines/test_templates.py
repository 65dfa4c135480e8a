"""Scores under a template: a naive gradient over the read tokens alone, one sentence at a time, in float64."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import oracle
import pytest
import tiny_models
import tiny_pairs
import torch

from actsim.config import TEMPLATES, Scoring
from actsim.models.loading import LoadedModel
from actsim.pipelines.similarity import similarity
from actsim.pipelines.sts import prepare, score_batch

FRAME = "the old {text} is not big"
TWICE = "near the {text} or the {text}"
A, B = "young cat plays", "horse and red bird"


def prompt_of(template: str, text: str) -> tuple[list[int], list[int], int]:
    """Ids of the prompt word by word, places of the last text, and the last place."""
    head, _, tail = template.rpartition("{text}")
    before, own, after = (part.split() for part in (head.replace("{text}", text), text, tail))
    ids = [tiny_models.BOS, *(tiny_models.VOCABULARY[word] for word in (*before, *own, *after))]
    start = 1 + len(before)
    return ids, list(range(start, start + len(own))), len(ids) - 1


def naive_layers(loaded: LoadedModel, family: str, objective: str, template: str) -> list[float]:
    """Cosine of A and B in every layer, from gradients of weights held in memory."""
    model = copy.deepcopy(loaded.model).requires_grad_(False)
    blocks = model.get_submodule(oracle.BLOCKS[family])
    matrices = [[weight for weight in block.parameters() if weight.ndim == 2] for block in blocks]
    flat = [weight.requires_grad_(True) for weights in matrices for weight in weights]
    patterns = []
    for text in (A, B):
        ids, own, last = prompt_of(template, text)
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        if objective == "nll":
            value = -sum(torch.log_softmax(logits[place - 1], dim=0)[ids[place]] for place in own)
        else:
            value = logits[last].max()
        grads = iter(torch.autograd.grad(value, flat))
        layers = [torch.cat([(weight * next(grads)).abs().flatten() for weight in weights]) for weights in matrices]
        patterns.append([layer.detach().numpy() for layer in layers])
    return [float(a @ b / np.sqrt((a @ a) * (b @ b))) for a, b in zip(*patterns, strict=True)]


@pytest.mark.parametrize("template", [FRAME, TWICE, "{text} or"])
@pytest.mark.parametrize("objective", ["nll", "next-token"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_scores_are_those_of_naive_gradients_over_the_tokens_that_are_read(family, objective, template):
    loaded = tiny_models.loaded(family, dtype=torch.float64)
    scoring = Scoring(objective, dtype="float64", template=template)
    got = similarity(A, B, loaded, scoring)["cosine"].layers
    want = naive_layers(loaded, family, objective, template)
    np.testing.assert_allclose(list(got.values()), want, rtol=1e-9)


def rows(loaded: LoadedModel, scoring: Scoring) -> dict[str, list]:
    job = prepare(loaded, tiny_pairs.pair_set(), scoring)
    found = [row for part in job.parts for batch in part for row in score_batch(job, batch).to_pylist()]
    found.sort(key=lambda row: row["pair"])
    return {name: [row[name] for row in found] for name in found[0]}


@pytest.mark.parametrize("objective", ["nll", "next-token"])
def test_the_plain_template_gives_the_same_bits(objective):
    loaded = tiny_models.loaded("llama")
    for template in ("plain", "{text}"):
        assert rows(loaded, Scoring(objective, template=template)) == rows(loaded, Scoring(objective))


@pytest.mark.parametrize("objective", ["nll", "next-token"])
def test_prompts_score_alike_in_any_batch_and_one_by_one(objective):
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    scoring = Scoring(objective, dtype="float64", template=TWICE)
    together = rows(loaded, replace(scoring, batch_tokens=10_000))
    for model, tokens in ((loaded, 1), (loaded, 60), (replace(loaded, batchable=False), 10_000)):
        found = rows(model, replace(scoring, batch_tokens=tokens))
        for name in ("cosine", "hidden_mean", "hidden_last", "readout_a"):
            want, got = (np.array(table[name], dtype=np.float64) for table in (together, found))
            np.testing.assert_allclose(got, want, rtol=1e-9)


def test_hidden_states_are_pooled_over_the_text_and_taken_at_the_end_of_the_prompt():
    loaded = tiny_models.loaded("gpt2", dtype=torch.float64)
    pairs = tiny_pairs.pair_set([(A, B)] * 3)
    job = prepare(loaded, pairs, Scoring("nll", dtype="float64", template=TWICE))
    (row,) = {str(row["hidden_mean"]): row for row in score_batch(job, job.parts[0][0]).to_pylist()}.values()
    means, lasts = [], []
    for text in (A, B):
        ids, own, last = prompt_of(TWICE, text)
        with torch.no_grad():
            hidden = loaded.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0].numpy()
        means.append(hidden[own].mean(axis=0)), lasts.append(hidden[last])
    for name, (x, y) in (("hidden_mean", means), ("hidden_last", lasts)):
        assert row[name][0] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), rel=1e-9)
    assert row["tokens_a"] == len(prompt_of(TWICE, A)[0])


@pytest.mark.parametrize("name", TEMPLATES)
def test_named_templates_score_a_sentence_as_wholly_like_itself(name):
    loaded = tiny_models.loaded("llama", dtype=torch.float64)
    scores = similarity(A, A, loaded, Scoring("nll", dtype="float64", template=name))["cosine"].layers
    np.testing.assert_allclose(list(scores.values()), 1, rtol=1e-9)
