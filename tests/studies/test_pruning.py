"""What matters is in the digest, profiles come from where they are said to, folders are whole or not there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
import tiny_samples
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from actsim.config import NOfM, digest_of
from actsim.errors import DataError, UsageError
from actsim.models.loading import load_model
from actsim.studies import pruned_files
from actsim.studies.density import Drawing, Thresholds, density, request_density
from actsim.studies.profiles import counted_shares, shares_of_run
from actsim.studies.pruned_files import check_out, write_pruned
from actsim.studies.pruning import Calibration, plan_document, prune, request_pruning
from actsim.studies.recipe import Recipe

TEXTS = tiny_samples.TEXTS * 4
DOMAIN = tiny_samples.domain("tales", TEXTS)
CALIBRATION = Calibration("tales", samples=6, tokens=12)


def finished(loaded, recipe):
    """A request, pruned, and its plan."""
    request = request_pruning(loaded, recipe, CALIBRATION, DOMAIN if recipe.needs_calibration else None)
    profile = request.profile()
    allocation = request.allocate(profile)
    return request, plan_document(request, profile, allocation, prune(request, allocation))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(5, 17).reshape(1, -1))[0]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("score", ["wanda", "activation"])
def test_the_pruned_model_is_read_back_with_the_same_outputs(family, score, tmp_path):
    source = tiny_models.save(tmp_path / "dense", family)
    dense = {path.name: path.read_bytes() for path in source.iterdir()}
    loaded = load_model(source, device="cpu")
    request, plan = finished(loaded, Recipe(score=score, sparsity=0.4))
    names = write_pruned(request, plan, tmp_path / "pruned")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    assert torch.equal(logits(again), logits(loaded.model))
    assert again.config.use_cache
    assert AutoTokenizer.from_pretrained(tmp_path / "pruned")("a dog") == loaded.tokenizer("a dog")
    assert {path.name: path.read_bytes() for path in source.iterdir()} == dense
    assert {"model.safetensors", "plan.json", "pruning.json", "tokenizer.json"} <= set(names)
    assert not [path for path in tmp_path.iterdir() if path.name not in ("dense", "pruned")]
    assert 0.33 < plan["achieved"] <= 0.4


def test_masks_alone_say_what_is_kept(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path / "dense", "gpt2"), device="cpu")
    request, plan = finished(loaded, Recipe(n_of_m=NOfM(2, 4)))
    names = write_pruned(request, plan, tmp_path / "masks", masks_only=True)
    assert names == [
        "masks-001.safetensors",
        "masks-002.safetensors",
        "masks-003.safetensors",
        "plan.json",
        "pruning.json",
    ]
    weights = load_file(tmp_path / "dense" / "model.safetensors")
    masks = {key: own for name in names[:3] for key, own in load_file(tmp_path / "masks" / name).items()}
    assert set(masks) == {f"{linear.name}.weight" for linear in loaded.maps}
    for linear in loaded.maps:
        name = f"{linear.name}.weight"
        assert torch.equal(weights[name] * masks[name], linear.parameter)


def test_the_record_tells_what_the_model_depends_on(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path / "dense", "llama"), device="cpu")
    request, plan = finished(loaded, Recipe(allocation="owl", settings={"width": 0.1}))
    write_pruned(request, plan, tmp_path / "pruned", command=["actsim", "prune"])
    record = json.loads((tmp_path / "pruned" / "pruning.json").read_text(encoding="utf-8"))
    assert record["digest"] == digest_of(request.config)
    assert record["config"]["calibration"]["ids"] == list(request.samples.ids)
    assert record["config"]["settings"] == {"outlier_factor": 5.0, "width": 0.1}
    assert json.loads((tmp_path / "pruned" / "plan.json").read_text(encoding="utf-8")) == plan
    assert plan["sparsity"] == pytest.approx(0.5)
    others = [Recipe(allocation="owl"), Recipe(score="magnitude"), Recipe(sparsity=0.6), Recipe(allocation="dlp")]
    digests = {digest_of(request_pruning(loaded, own, CALIBRATION, DOMAIN).config) for own in others}
    assert len({*digests, record["digest"]}) == 5


def test_a_plan_that_was_written_is_one_that_can_be_given(tmp_path):
    dense = tiny_models.save(tmp_path / "dense", "llama")
    request, plan = finished(load_model(dense, device="cpu"), Recipe(allocation="progression", settings={"delta": 0.2}))
    write_pruned(request, plan, tmp_path / "pruned")
    loaded = load_model(dense, device="cpu")
    given = Recipe(allocation=str(tmp_path / "pruned" / "plan.json"))
    _, again = finished(loaded, given)
    assert [row["sparsity"] for row in again["blocks"]] == [row["sparsity"] for row in plan["blocks"]]
    assert [row["zeros"] for row in again["blocks"]] == [row["zeros"] for row in plan["blocks"]]
    for one, other in zip(request.loaded.maps, loaded.maps, strict=True):
        assert torch.equal(one.weight, other.weight)


def test_counts_of_a_density_run_are_those_that_are_counted_anew(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path / "dense", "llama"), device="cpu")
    drawing = Drawing(samples=5, max_tokens=12)
    gamma = 1e-2
    run = density(
        request_density([DOMAIN, tiny_samples.domain("others")], loaded, None, drawing, Thresholds((gamma,), folds=1)),
        out=tmp_path / "run",
        report=False,
    )
    samples, _ = drawing.draw([DOMAIN, tiny_samples.domain("others")], loaded)
    found, digest = shares_of_run(run.directory, loaded, "tales", gamma)
    assert found == pytest.approx(counted_shares(loaded, samples, loaded.default_scoring(), gamma))
    assert 0 < found.min() < found.max() < 1
    assert digest == run.manifest["digest"]
    request = request_pruning(
        loaded,
        Recipe(allocation="activation", profile=run.directory, settings={"gamma": gamma}),
        CALIBRATION,
        DOMAIN,
    )
    assert request.profile().tolist() == found.tolist()
    assert np.argmax(request.allocate(found).sparsities) == np.argmin(found - 0.1 / np.arange(1, 4))
    for domain, at, says in (
        ("elsewhere", gamma, "has the domains tales, others"),
        ("tales", 0.123, "has no counts over that"),
    ):
        with pytest.raises(UsageError, match=says):
            shares_of_run(run.directory, loaded, domain, at)
    with pytest.raises(UsageError, match="not those of"):
        shares_of_run(run.directory, tiny_models.loaded("llama", seed=1), "tales", gamma)


def test_a_profile_that_says_nothing_is_said():
    _, plan = finished(tiny_models.loaded("llama"), Recipe(allocation="activation", settings={"gamma": 1e30}))
    assert plan["notes"][0].startswith("the profile is 0 for every block")
    assert plan["sparsity"] == pytest.approx(0.5)


def test_what_was_clipped_is_said():
    _, plan = finished(
        tiny_models.loaded("llama"), Recipe(sparsity=0.9, allocation="progression", settings={"delta": 0.3})
    )
    assert plan["notes"] == ["clipped to [0, 1], and the difference shared out among the others: layers 3"]
    assert plan["blocks"][2]["achieved"] == 1.0


def test_prompts_are_laid_end_to_end_and_too_few_are_refused_with_both_counts():
    loaded = tiny_models.loaded("llama")
    samples = CALIBRATION.draw(DOMAIN, loaded)
    assert {len(own) for own in samples.tokens} == {12}
    with pytest.raises(DataError, match=r"1000 samples wanted, the domain has \d+ of"):
        replace(CALIBRATION, samples=1000).draw(DOMAIN, loaded)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"score": "wandah"}, "Did you mean 'wanda'"),
        ({"allocation": "uniformly"}, "Did you mean 'uniform'"),
        ({"sparsity": 1.0}, "between 0 and 1"),
        ({"allocation": "plan.json", "sparsity": 0.5}, "leave --sparsity out"),
        ({"n_of_m": NOfM(2, 4), "sparsity": 0.6}, "is a sparsity of 0.5"),
        ({"n_of_m": NOfM(2, 4), "allocation": "owl"}, "leave --allocation out"),
        ({"settings": {"width": 0.1}}, "--lambda acts on the allocation owl and dlp only"),
        ({"settings": {"alpha": 1.0}, "allocation": "plan.json"}, "--alpha acts on"),
        ({"settings": {"beta": float("nan")}, "allocation": "activation"}, "--beta must be a finite number"),
        ({"profile": "run"}, "--profile acts on"),
        ({"objective": "nll"}, "--objective acts on"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        Recipe(**changes)


def test_nothing_is_written_over(tmp_path):
    dense = tiny_models.save(tmp_path / "dense", "bert")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty", dense)
    for out, says in (("dense", "model itself"), ("dense/inner", "model itself"), ("full", "not empty")):
        with pytest.raises(UsageError, match=says):
            check_out(tmp_path / out, dense)
    with pytest.raises(UsageError, match="is a file"):
        check_out(tmp_path / "full" / "notes.txt")


def test_a_folder_that_could_not_be_completed_is_not_there(tmp_path, monkeypatch):
    loaded = load_model(tiny_models.save(tmp_path / "dense", "bert"), device="cpu")
    request, plan = finished(loaded, Recipe(score="magnitude"))

    def fails(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pruned_files, "write_atomic", fails)
    with pytest.raises(KeyboardInterrupt):
        write_pruned(request, plan, tmp_path / "pruned")
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]
