"""Loading: families, frozen evaluation mode, complete weights, identities without machine paths."""

from __future__ import annotations

import json

import pytest
import tiny_models
import torch
from huggingface_hub.utils import are_progress_bars_disabled
from safetensors.torch import load_file, save_file
from transformers import BertConfig, GPT2Config, LlamaConfig, T5Config
from transformers.utils import logging as transformers_logging

from actsim.errors import ModelError, UsageError
from actsim.models.checkpoint import decide_family
from actsim.models.loading import load_model, wrap_model
from actsim.models.pooling import Pooling

ALL = [*tiny_models.CAUSAL, *tiny_models.ENCODERS]


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


def edit_weights(folder, change):
    """Apply ``change`` to the dictionary of a folder's tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", ALL)
def test_a_saved_model_loads_with_its_family_and_values(tmp_path, name):
    loaded = load_model(tiny_models.save(tmp_path, name), device="cpu")
    assert loaded.family == ("causal" if name in tiny_models.CAUSAL else "encoder")
    original = tiny_models.build(name)
    batch = {"input_ids": torch.tensor([[2, 7, 9, 11]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        assert torch.equal(loaded.model(**batch)[0], original(**batch)[0])


@pytest.mark.parametrize("name", ["llama", "bert", "albert"])
def test_nothing_is_trainable_and_nothing_drops_out(name):
    loaded = tiny_models.loaded(name)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.n_layers == len(loaded.blocks) == max(linear.layer for linear in loaded.maps)


def test_a_masked_language_model_loads_as_an_encoder_without_its_head(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path, "bert", architecture="BertForMaskedLM"), device="cpu")
    assert (loaded.family, type(loaded.model).__name__, loaded.pooling) == ("encoder", "BertModel", Pooling())
    assert any("mean pooling" in note for note in loaded.notes)


def test_a_classifier_loads_as_an_encoder(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path, "bert", architecture="BertForSequenceClassification"), device="cpu")
    assert loaded.family == "encoder"


def test_a_causal_model_loads_as_an_encoder_on_request(tmp_path):
    loaded = load_model(tiny_models.save(tmp_path, "llama"), family="encoder", device="cpu")
    assert (loaded.family, type(loaded.model).__name__) == ("encoder", "LlamaModel")
    assert any("on request" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("config", "is_sentence_model", "requested", "family"),
    [
        (LlamaConfig(), False, None, "causal"),
        (GPT2Config(), False, None, "causal"),
        (LlamaConfig(), True, None, "encoder"),
        (LlamaConfig(), True, "causal", "causal"),
        (BertConfig(), False, None, "encoder"),
        (BertConfig(is_decoder=True), False, None, "causal"),
        (BertConfig(), False, "encoder", "encoder"),
    ],
)
def test_family_by_configuration(config, is_sentence_model, requested, family):
    assert decide_family(config, is_sentence_model=is_sentence_model, requested=requested)[0] == family


def test_an_encoder_is_not_a_causal_model_on_request():
    with pytest.raises(UsageError, match="bert is not a decoder"):
        decide_family(BertConfig(), is_sentence_model=False, requested="causal")


def test_an_encoder_decoder_is_refused_before_its_weights_are_read(tmp_path):
    with pytest.raises(ModelError, match="t5 is an encoder-decoder"):
        decide_family(T5Config(), is_sentence_model=False, requested=None)
    with pytest.raises(ModelError, match="t5 is an encoder-decoder"):
        load_model(tiny_models.save(tmp_path, "t5"), device="cpu")


@pytest.mark.parametrize("name", ["mixtral", "mamba"])
def test_what_cannot_be_covered_is_refused_when_loaded(tmp_path, name):
    with pytest.raises(ModelError, match="scored in part"):
        load_model(tiny_models.save(tmp_path, name), device="cpu")


@pytest.mark.parametrize(
    "key",
    [
        "encoder.layer.1.intermediate.dense.weight",
        "embeddings.word_embeddings.weight",
        "encoder.layer.0.output.LayerNorm.bias",
    ],
)
def test_missing_weights_are_refused(tmp_path, key):
    folder = tiny_models.save(tmp_path, "bert")
    edit_weights(folder, lambda tensors: tensors.pop(key))
    with pytest.raises(ModelError, match=f"first {key}"):
        load_model(folder, device="cpu")


def test_a_missing_pooler_is_fine(tmp_path):
    folder = tiny_models.save(tmp_path, "bert")
    edit_weights(folder, lambda tensors: [tensors.pop(key) for key in list(tensors) if key.startswith("pooler")])
    assert load_model(folder, device="cpu").family == "encoder"


def test_a_missing_untied_head_is_refused(tmp_path):
    folder = tiny_models.save(tmp_path, "llama", tie_word_embeddings=False)
    edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(ModelError, match=r"lm_head\.weight"):
        load_model(folder, device="cpu")
    assert load_model(folder, family="encoder", device="cpu").family == "encoder"


def test_blocks_that_the_configuration_forgets_are_refused(tmp_path):
    folder = tiny_models.save(tmp_path, "llama", num_hidden_layers=3)
    edit_json(folder / "config.json", num_hidden_layers=2, layer_types=None)
    with pytest.raises(ModelError, match=r"model\.layers\.2\."):
        load_model(folder, device="cpu")


def test_weights_of_another_shape_are_refused_in_one_line(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    edit_json(folder / "config.json", intermediate_size=48)
    with pytest.raises(ModelError) as caught:
        load_model(folder, device="cpu")
    assert str(caught.value).endswith(
        ": weights of other sizes than config.json says: 9, first model.layers.0.mlp.down_proj.weight: [24, 40] in the "
        "files, [24, 48] expected. Fetch the model again."
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": "big"}, "Field 'hidden_size' expected int"),
        ({"num_attention_heads": 7}, "not a multiple of the number of attention heads"),
        ({"num_attention_heads": 0}, "modulo by zero"),
        ({"hidden_act": "nope"}, "unknown name 'nope'"),
        ({"dtype": "float3"}, "no attribute 'float3'"),
        ({"pad_token_id": 999}, "Padding_idx"),
        ({"quantization_config": 3}, "config.json"),
    ],
)
def test_a_malformed_configuration_is_refused_in_one_line(tmp_path, changes, says):
    folder = tiny_models.save(tmp_path, "llama")
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ModelError, match=says) as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", "[]", "config.json: a JSON object is needed, this is a list"),
        ("config.json", "null", "this is a NoneType"),
        ("config.json", "{", "not valid JSON"),
        ("tokenizer_config.json", "[]", "the tokenizer cannot be loaded"),
        ("model.safetensors.index.json", "{}", "no weight_map of names and files"),
        ("model.safetensors.index.json", '{"weight_map": {"a": 3}}', "no weight_map of names and files"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_by_name(tmp_path, name, content, says):
    folder = tiny_models.save(tmp_path, "llama")
    (folder / name).write_text(content)
    if name.startswith("model."):
        (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=says):
        load_model(folder, device="cpu")


def test_a_damaged_weight_file_is_refused_in_one_line(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    (folder / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_quantised_checkpoint_is_refused_by_name(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    edit_json(folder / "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(ModelError, match="quantised with awq"):
        load_model(folder, device="cpu")


def test_code_of_the_models_own_needs_trust(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    edit_json(folder / "config.json", model_type="homemade", auto_map={"AutoConfig": "configuration.Homemade"})
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load_model(folder, device="cpu")


def test_an_unknown_architecture_is_one_line(tmp_path):
    folder = tiny_models.save(tmp_path, "llama")
    edit_json(folder / "config.json", model_type="homemade")
    with pytest.raises(ModelError, match="homemade") as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_long_error_of_another_library_is_cut(tmp_path, monkeypatch):
    """transformers lists every configuration it knows where a class has no model of the family."""
    folder = tiny_models.save(tmp_path, "llama")
    config = LlamaConfig()
    config.__class__ = type("HomemadeConfig", (LlamaConfig,), {})
    monkeypatch.setattr("actsim.models.loading.load_config", lambda *_args: config)
    with pytest.raises(ModelError, match="HomemadeConfig") as caught:
        load_model(folder, device="cpu", family="encoder")
    assert len(str(caught.value)) < 300


def test_pickled_weights_load_with_permission(tmp_path):
    folder = tiny_models.save(tmp_path, "bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    safe = load_model(folder, device="cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="--allow-unsafe-weights"):
        load_model(folder, device="cpu")
    unsafe = load_model(folder, device="cpu", allow_unsafe_weights=True)
    assert all(torch.equal(a, b) for a, b in zip(safe.model.parameters(), unsafe.model.parameters(), strict=True))


def test_float32_is_the_default_on_the_cpu_whatever_the_checkpoint(tmp_path):
    tiny_models.build("llama").half().save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    assert load_model(tmp_path, device="cpu").dtype == "float32"
    assert load_model(tmp_path, device="cpu", dtype="float16").model.dtype == torch.float16
    double = load_model(tmp_path, device="cpu", dtype="float64")
    assert {parameter.dtype for parameter in double.model.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"dtype": "float8"}, "float32, float16, bfloat16, float64"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"family": "causl"}, "Did you mean 'causal'"),
    ],
)
def test_impossible_arguments_are_refused_before_anything_is_loaded(arguments, match):
    with pytest.raises(UsageError, match=match):
        load_model("/no/such/folder", **arguments)


def test_identity_is_the_same_wherever_the_folder_lies(tmp_path):
    first, second = (load_model(tiny_models.save(tmp_path / place / "m", "bert"), device="cpu") for place in "ab")
    assert first.identity() == second.identity()
    assert str(tmp_path) not in json.dumps(first.identity())
    other = load_model(tiny_models.save(tmp_path / "c" / "m", "bert", seed=1), device="cpu")
    assert other.identity()["sha256"] != first.identity()["sha256"]


def test_loading_leaves_transformers_logging_as_it_was(tmp_path):
    before = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
        are_progress_bars_disabled(),
    )
    load_model(tiny_models.save(tmp_path, "bert"), device="cpu")
    after = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
        are_progress_bars_disabled(),
    )
    assert after == before


def test_loading_is_silent(tmp_path, capfd):
    folder = tiny_models.save(tmp_path, "bert", architecture="BertForMaskedLM")
    capfd.readouterr()
    load_model(folder, device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_model_in_memory_is_wrapped_with_the_family_it_has():
    tokenizer = tiny_models.tokenizer()
    masked = tiny_models.build("bert", architecture="BertForMaskedLM")
    assert wrap_model(masked, tokenizer, name="m").family == "encoder"
    assert wrap_model(tiny_models.build("llama"), tokenizer, name="m").family == "causal"
    with pytest.raises(UsageError, match="family='encoder'"):
        wrap_model(masked, tokenizer, name="m", family="causal")


def test_the_identity_of_a_model_in_memory_follows_its_values():
    same = [tiny_models.loaded("llama").identity() for _ in range(2)]
    assert same[0] == same[1]
    assert tiny_models.loaded("llama", seed=1).identity() != same[0]
    assert tiny_models.loaded("llama", dtype=torch.bfloat16).identity() != same[0]


def test_relative_positions_make_a_model_run_one_sentence_at_a_time():
    loaded = tiny_models.loaded("deberta_v2")
    assert not loaded.batchable
    assert loaded.batch_note in loaded.notes


def test_the_small_trained_llama_loads(models_dir):
    loaded = load_model(models_dir / "tiny-llama", device="cpu")
    assert (loaded.family, loaded.n_layers, loaded.dtype, loaded.max_tokens) == ("causal", 8, "float32", 512)
    assert len(loaded.maps) == 8 * 7
    assert loaded.batchable
