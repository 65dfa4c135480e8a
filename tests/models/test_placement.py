"""Models spread over several devices."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import tiny_pairs
import torch

from actsim.errors import MissingExtraError, ModelError, UsageError
from actsim.models.loading import load_model, wrap_model
from actsim.models.settings import DEVICE_MAPS
from actsim.pipelines.sts import prepare, score_batch

ROOT = Path(__file__).parents[2]
CHECKS = Path(__file__).with_name("card_checks.py")

installed = pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed")


@installed
def test_the_checks_on_a_made_up_device_pass():
    """In a process of its own, since the device cannot be taken back."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def scores(loaded):
    job = prepare(loaded, tiny_pairs.pair_set(), loaded.default_scoring())
    return [row for part in job.parts for batch in part for row in score_batch(job, batch).to_pylist()]


@installed
@pytest.mark.parametrize("device_map", [*DEVICE_MAPS, {"": "cpu"}], ids=str)
@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_model_that_fits_is_loaded_whole(tmp_path, name, device_map):
    folder = tiny_models.save(tmp_path, name)
    if torch.cuda.is_available():
        pytest.skip("the layout is another where there are CUDA devices")
    loaded = load_model(folder, device_map=device_map)
    assert (loaded.device, loaded.devices, loaded.device_map) == ("cpu", ("cpu",), {})
    assert scores(loaded) == scores(load_model(folder, device="cpu"))


@installed
def test_a_model_that_does_not_fit_is_refused(tmp_path):
    folder = tiny_models.save(tmp_path, "mistral")
    devices = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu", "lm_head": "cpu"}
    devices |= {"model.rotary_emb": "cpu"}
    with pytest.raises(ModelError, match=r"are offloaded, first model\.layers\.0.*--dtype bfloat16"):
        load_model(folder, device_map=devices)


@pytest.mark.parametrize("device_map", ["evenly", "balanced_low"])
def test_an_unknown_layout_is_refused(tmp_path, device_map):
    with pytest.raises(UsageError, match="known: auto, sequential"):
        load_model(tmp_path, device_map=device_map)


def test_a_layout_beside_a_device_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--device cpu and --device-map exclude each other"):
        load_model(tmp_path, device_map="auto", device="cpu")


def test_without_accelerate_the_extra_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "accelerate" else find(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'actsim\[accelerate\]'"):
        load_model(tmp_path, device_map="auto")


@installed
@pytest.mark.gpu
@pytest.mark.parametrize("name", ["mistral", "bert"])
def test_two_cards_score_as_one(tmp_path, name):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    import accelerate

    def wrapped(model):
        return wrap_model(model, tiny_models.tokenizer(), name=name)

    folder = tiny_models.save(tmp_path, name, tie_word_embeddings=False)
    whole = load_model(folder, device="cuda:0", dtype="float32")
    model = tiny_models.build(name, tie_word_embeddings=False)
    blocks = type(model)._no_split_modules
    limits = {0: 40_000, 1: 10**9}
    devices = accelerate.infer_auto_device_map(model, max_memory=limits, no_split_module_classes=blocks)
    parts = wrapped(accelerate.dispatch_model(model, devices))
    assert parts.devices == ("cuda:0", "cuda:1")
    for found, expected in zip(scores(parts), scores(whole), strict=True):
        assert found["cosine"] == pytest.approx(expected["cosine"], rel=1e-5)
