"""``actsim score``: the library's own scores, per layer and measure, on screen and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from actsim.models.loading import load_model
from actsim.pipelines.explain import explain
from actsim.pipelines.similarity import similarity

A, B = "the old dog sleeps", "a young cat plays near the tree"


def test_json_has_the_scores_of_the_library(invoke, bert):
    document = json.loads(
        invoke("score", A, B, "-m", bert, "--measure", "cosine", "--measure", "ruzicka", "--json").stdout
    )
    expected = similarity(A, B, load_model(bert))["cosine"]
    cosine, ruzicka = document["scores"]
    assert (cosine["measure"], ruzicka["measure"]) == ("cosine", "ruzicka")
    assert {row["layer"]: row["score"] for row in cosine["layers"]} == pytest.approx(expected.layers)
    assert {(row["layer"], row["kind"]): row["score"] for row in cosine["kinds"]} == pytest.approx(expected.kinds)
    assert document["readouts"] == pytest.approx(expected.readouts)
    assert document["sentences"] == [A, B]


def test_the_band_is_the_mean_of_its_layers(invoke, bert):
    document = json.loads(invoke("score", A, B, "-m", bert, "--layers", "1,3", "--json").stdout)
    layers = {row["layer"]: row["score"] for row in document["scores"][0]["layers"]}
    assert document["band"]["layers"] == [1, 3]
    assert document["scores"][0]["band"] == pytest.approx((layers[1] + layers[3]) / 2)


def test_a_band_with_an_undefined_layer_has_no_score(invoke, bert):
    document = json.loads(invoke("score", A, B, "-m", bert, "--measure", "jaccard", "--gamma", "1e9", "--json").stdout)
    (jaccard,) = document["scores"]
    assert jaccard["band"] is None
    assert {row["score"] for row in jaccard["layers"]} == {None}


def test_the_table_shows_every_layer_and_the_band(invoke, bert):
    document = json.loads(invoke("score", A, B, "-m", bert, "--json").stdout)
    result = invoke("score", A, B, "-m", bert)
    lines = [line.split() for line in result.stdout.splitlines() if line]
    for row in document["scores"][0]["layers"]:
        assert any(line[0] == str(row["layer"]) and f"{row['score']:.3f}" in line for line in lines)
    assert f"deep band (layers 2-3): cosine {document['scores'][0]['band']:.3f}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr.startswith(f"model from the folder {bert}; encoder")


def test_explain_adds_the_shares_of_the_library(invoke, llama):
    document = json.loads(invoke("score", A, B, "-m", llama, "--explain", "--top", 2, "--json").stdout)
    expected = explain(A, B, load_model(llama), top=2).to_dict()
    shares = {row["layer"]: row["share"] for row in document["explanation"]["layers"]}
    assert shares == pytest.approx({row["layer"]: row["share"] for row in expected["layers"]})
    assert sum(shares.values()) == pytest.approx(1)
    assert len(document["explanation"]["heads"]) == len(document["explanation"]["neurons"]) == 2
    text = invoke("score", A, B, "-m", llama, "--explain", "--top", 2).stdout
    assert f"largest of {expected['n_heads']} attention heads" in text
    assert f"{100 * expected['heads'][0]['share']:.3f}" in text


def test_a_sentence_that_was_cut_is_told(invoke, bert):
    document = json.loads(invoke("score", A, B, "-m", bert, "--max-tokens", 5, "--json").stdout)
    assert [note for note in document["notes"] if "cut" in note] == ["sentence b was cut to 5 tokens"]
    assert "sentence b was cut to 5 tokens" in invoke("score", A, B, "-m", bert, "--max-tokens", 5).stdout


def test_a_causal_model_takes_its_objectives(invoke, llama):
    documents = [
        json.loads(invoke("score", A, B, "-m", llama, "--objective", name, "--json").stdout)
        for name in ("next-token", "nll")
    ]
    assert [document["objective"] for document in documents] == ["next-token", "nll"]
    assert documents[0]["readouts"] != documents[1]["readouts"]


def test_a_template_stands_around_the_sentences(invoke, llama):
    scoring = replace(load_model(llama).default_scoring(), template="prompteol")
    document = json.loads(invoke("score", A, B, "-m", llama, "--template", "prompteol", "--json").stdout)
    expected = similarity(A, B, load_model(llama), scoring)["cosine"]
    assert {row["layer"]: row["score"] for row in document["scores"][0]["layers"]} == pytest.approx(expected.layers)
    assert document["template"] == scoring.template
    shown = invoke("score", A, B, "-m", llama, "--template", "prompteol").stdout
    assert 'template: This sentence : "{text}" means in one word:"' in shown
    assert "template" not in invoke("score", A, B, "-m", llama).stdout
