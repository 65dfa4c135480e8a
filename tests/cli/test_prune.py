"""``actsim prune`` and ``actsim ppl``: what they print and write, and what they refuse."""

from __future__ import annotations

import json

import pytest
import tiny_models
from transformers import AutoModelForCausalLM

TEXT = "\n".join(tiny_models.SENTENCES * 4)


@pytest.fixture
def notes(own_directory):
    (own_directory / "notes.txt").write_text(TEXT, encoding="utf-8")
    return ["--calibration", "notes=notes.txt", "--samples", 4, "--seq-len", 12]


def test_the_plan_is_printed_and_the_model_opens(invoke, llama, notes, own_directory):
    result = invoke("prune", "-m", llama, *notes, "--sparsity", 0.5, "--out", "pruned")
    assert result.exit_code == 0, result.stderr
    assert "wanda" in result.stdout
    assert "achieved" in result.stdout
    assert "model.safetensors" in result.stdout
    model = AutoModelForCausalLM.from_pretrained(own_directory / "pruned")
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert (weight == 0).sum(dim=1).tolist() == [12] * 24


@pytest.mark.parametrize("allocation", ["activation", "progression", "owl", "dlp"])
def test_every_allocation_keeps_the_target(invoke, llama, notes, allocation):
    result = invoke(
        "prune", "-m", llama, *notes, "--allocation", allocation, "--out", "pruned", "--masks-only", "--json"
    )
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["sparsity"] == pytest.approx(0.5)
    assert len({row["sparsity"] for row in plan["blocks"]}) > 1
    assert 0.45 < plan["achieved"] <= 0.5


def test_a_recipe_lies_beside_the_model(invoke, llama, notes, own_directory):
    result = invoke("prune", "-m", llama, *notes, "--export", "llm-compressor", "--out", "pruned")
    assert result.exit_code == 0, result.stderr
    assert {"recipe.yaml", "model.safetensors", "plan.json"} <= {p.name for p in (own_directory / "pruned").iterdir()}
    assert "recipe.yaml" in result.stdout


def test_magnitude_needs_no_texts(invoke, llama, own_directory):
    result = invoke("prune", "-m", llama, "--score", "magnitude", "--n-of-m", "2:4", "-q")
    assert result.exit_code == 0, result.stderr
    (directory,) = (own_directory / "reports").iterdir()
    assert directory.name.startswith("prune-tiny-llama-")
    assert "2:4" in result.stdout
    assert result.stderr == ""


def test_the_perplexity_is_printed_with_its_context(invoke, llama, notes):
    result = invoke("ppl", "-m", llama, "--data", "notes.txt", "--context", 16)
    assert result.exit_code == 0, result.stderr
    assert "at context 16" in result.stdout
    document = json.loads(invoke("ppl", "-m", llama, "--data", "notes.txt", "--context", 16, "--json").stdout)
    assert document["predicted"] == document["windows"] * 15
    assert f"perplexity {document['perplexity']:.3f} at" in result.stdout
    assert document["model"]["name"] == "tiny-llama"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--score", "wandah"], 2, "Did you mean 'wanda'"),
        (["--n-of-m", "2-4"], 2, "write N:M"),
        (["--score", "magnitude", "--samples", "4"], 2, "--samples does nothing with --score magnitude"),
        (["--alpha", "1"], 2, "--alpha acts on the allocation activation only"),
        (["--objective", "nlll", "--score", "activation"], 2, "unknown objective"),
        (["--allocation", "none.json", "--score", "magnitude"], 2, "no such file"),
        (["--calibration", "notes=none*.txt"], 2, "no file matches"),
        (["--calibration", "notes=notes.txt", "--samples", "900"], 1, "900 samples wanted"),
        (["--calibration", "notes=notes.txt", "--seq-len", "900"], 2, "--seq-len 900: this model takes"),
        (["--score", "magnitude", "--out", "."], 2, "is not empty"),
        (["--one-block-at-a-time", "--score", "activation"], 2, "gradients of the whole model"),
        (["--one-block-at-a-time", "--device-map", "auto", "--score", "magnitude"], 2, "exclude each other"),
        (["--one-block-at-a-time", "--device", "cpu", "--score", "magnitude"], 2, "needs an accelerator"),
        (["--export", "llm-compresor"], 2, "Did you mean 'llm-compressor'"),
        (["--export", "llm-compressor", "--score", "magnitude"], 2, "a recipe of Wanda"),
        (["--export", "llm-compressor", "--family", "encoder", "--calibration", "notes=notes.txt"], 1, "causal"),
    ],
)
def test_wrong_input_is_one_line(invoke, llama, notes, words, status, says):
    result = invoke("prune", "-m", llama, *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("actsim: error:")


def test_the_models_own_folder_is_left_alone(invoke, llama):
    before = sorted(path.name for path in llama.iterdir())
    result = invoke("prune", "-m", llama, "--score", "magnitude", "--out", llama / "pruned")
    assert result.exit_code == 2
    assert "model itself" in result.stderr
    assert sorted(path.name for path in llama.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--data", "none.txt"], 2, "no such file"),
        (["--data", "notes.txt", "--context", "65"], 2, "--context 65: this model takes"),
        (["--data", "notes.txt", "--first-tokens", "5", "--context", "16"], 1, "the text has 5 tokens"),
    ],
)
def test_wrong_input_of_ppl_is_one_line(invoke, llama, notes, words, status, says):
    result = invoke("ppl", "-m", llama, *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr.splitlines()[-1]
