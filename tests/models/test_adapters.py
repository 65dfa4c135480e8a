"""PEFT adapters are merged into the weights, or refused."""

from __future__ import annotations

import importlib.util
import json

import pytest
import tiny_models
import torch

from actsim.errors import MissingExtraError, ModelError
from actsim.models.layers import linear_maps
from actsim.models.loading import load_model, wrap_model

peft = pytest.importorskip("peft")
from safetensors.torch import load_file, save_file  # noqa: E402

TOKENS = torch.tensor([[2, 7, 9, 11, 30]])


def lora(name="llama", **settings):
    """A tiny model with a LoRA adapter that does something (its B is not zero)."""
    targets = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"], "bert": ["query", "value"]}[name]
    config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=targets, fan_in_fan_out=name == "gpt2", **settings)
    wrapped = peft.get_peft_model(tiny_models.build(name), config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, parameter in wrapped.named_parameters():
            if "lora_B" in key:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return wrapped.eval()


def save_adapter(folder, wrapped, name="llama"):
    """A base model's folder and beside it the adapter's, which names the base."""
    base = tiny_models.save(folder / "base", name)
    wrapped.save_pretrained(folder / "adapter")
    path = folder / "adapter" / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = str(base)
    path.write_text(json.dumps(settings))
    return folder / "adapter"


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_the_merged_model_computes_what_base_and_adapter_do(tmp_path, name):
    wrapped = lora(name)
    loaded = load_model(save_adapter(tmp_path, wrapped, name), device="cpu")
    with torch.no_grad():
        expected, found = wrapped(TOKENS)[0], loaded.model(TOKENS)[0]
        base = tiny_models.build(name)(TOKENS)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, base, rtol=1e-2, atol=1e-2)
    assert len(loaded.maps) == len(linear_maps(tiny_models.build(name)).maps)


def test_the_fingerprint_covers_base_and_adapter(tmp_path):
    folder = save_adapter(tmp_path, lora())
    before = load_model(folder, device="cpu").identity()
    assert before["name"] == "adapter"
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({key: 2 * value for key, value in tensors.items()}, folder / "adapter_model.safetensors")
    assert load_model(folder, device="cpu").identity()["sha256"] != before["sha256"]


def test_an_adapter_that_does_not_fit_its_base_is_refused(tmp_path):
    folder = save_adapter(tmp_path, lora())
    tensors = load_file(folder / "adapter_model.safetensors")
    renamed = {key.replace("layers.1", "layers.7"): value for key, value in tensors.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        load_model(folder, device="cpu")


def test_prompts_cannot_be_merged(tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    folder = save_adapter(tmp_path, peft.get_peft_model(tiny_models.build("llama"), config))
    with pytest.raises(ModelError, match="PROMPT_TUNING adapter"):
        load_model(folder, device="cpu")


def test_an_adapter_without_a_base_is_refused(tmp_path):
    folder = save_adapter(tmp_path, lora())
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="names no base model"):
        load_model(folder, device="cpu")


def test_without_peft_the_extra_is_named(tmp_path, monkeypatch):
    folder = save_adapter(tmp_path, lora())
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r"pip install 'actsim\[peft\]'"):
        load_model(folder, device="cpu")


def test_an_unmerged_model_in_memory_is_refused_and_a_merged_one_accepted():
    wrapped = lora()
    tokenizer = tiny_models.tokenizer()
    with pytest.raises(ModelError, match="merge_and_unload"):
        wrap_model(wrapped, tokenizer, name="m")
    assert wrap_model(wrapped.merge_and_unload(), tokenizer, name="m").family == "causal"
