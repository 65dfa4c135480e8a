"""Sentence-transformers folders: both formats of their files, modules after the pooling, and what is refused."""

from __future__ import annotations

import json

import pytest
import tiny_models
import torch
from sentence_folders import NEW, OLD, add_dense, make_folder, write_json
from torch import nn

from actsim.errors import ModelError
from actsim.models.loading import load_model
from actsim.models.sentence import read_sentence_modules


@pytest.mark.parametrize(
    ("pooling", "modes"),
    [
        ({"word_embedding_dimension": 24, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, ("lasttoken",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"embedding_dimension": 24, "pooling_mode": "weightedmean", "include_prompt": True}, ("weightedmean",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({"word_embedding_dimension": 24}, ("mean",)),
    ],
)
@pytest.mark.parametrize("prefix", [OLD, NEW])
def test_pooling_is_read_in_both_formats(tmp_path, pooling, modes, prefix):
    sentence = read_sentence_modules(make_folder(tmp_path, pooling=pooling, prefix=prefix))
    assert sentence.pooling.modes == modes


def test_a_plain_folder_has_no_sentence_modules(tmp_path):
    assert read_sentence_modules(tiny_models.save(tmp_path, "bert")) is None


def test_dense_and_normalize_follow_the_pooling(tmp_path):
    folder = make_folder(tmp_path, "Dense", "Normalize")
    dense = add_dense(folder, "torch.nn.modules.activation.Tanh")
    loaded = load_model(folder, device="cpu")
    pooled = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.normalize(torch.tanh(dense(pooled)), dim=-1)
    torch.testing.assert_close(loaded.embed(pooled), expected.detach())
    assert loaded.identity()["head"] == ["Dense(24 -> 7, Tanh)", "Normalize()"]


def test_dense_weights_belong_to_the_fingerprint(tmp_path):
    folder = make_folder(tmp_path, "Dense")
    add_dense(folder, "torch.nn.modules.linear.Identity", bias=False)
    before = load_model(folder, device="cpu").identity()["sha256"]
    add_dense(folder, "torch.nn.modules.linear.Identity", bias=False)
    assert load_model(folder, device="cpu").identity()["sha256"] != before


def test_embeddings_equal_those_of_sentence_transformers(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = make_folder(tmp_path, "Dense", pooling={"embedding_dimension": 24, "pooling_mode": ["cls", "mean"]})
    add_dense(folder, "torch.nn.modules.activation.ReLU", width=48)
    loaded = load_model(folder, device="cpu")
    batch = loaded.tokenizer(list(tiny_models.SENTENCES), padding=True, return_tensors="pt")
    hidden = loaded.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    ours = loaded.embed_from_hidden(hidden, batch["attention_mask"])
    reference = sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    theirs = reference.encode(list(tiny_models.SENTENCES), convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_decoder_in_a_sentence_folder_is_an_encoder(tmp_path):
    loaded = load_model(make_folder(tmp_path, model="llama", pooling={"pooling_mode": "lasttoken"}), device="cpu")
    assert (loaded.family, loaded.pooling.modes, type(loaded.model).__name__) == (
        "encoder",
        ("lasttoken",),
        "LlamaModel",
    )


def test_the_folders_own_length_limit_holds_unless_asked_otherwise(tmp_path):
    folder = make_folder(tmp_path, settings={"max_seq_length": 17, "do_lower_case": False})
    assert load_model(folder, device="cpu").max_tokens == 17
    assert load_model(folder, device="cpu", max_tokens=40).max_tokens == 40


def test_lower_casing_is_done_where_the_folder_says_so(tmp_path):
    folder = make_folder(tmp_path / "lower", settings={"do_lower_case": True})
    plain = make_folder(tmp_path / "plain", settings={"do_lower_case": False})
    lowered, kept = (load_model(path, device="cpu").tokenizer("The DOG")["input_ids"] for path in (folder, plain))
    the, dog = tiny_models.VOCABULARY["the"], tiny_models.VOCABULARY["dog"]
    assert lowered == [tiny_models.BOS, the, dog]
    assert kept == [tiny_models.BOS, tiny_models.UNK, tiny_models.UNK]


def test_a_transformer_in_a_subfolder_is_found(tmp_path):
    folder = make_folder(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write_json(folder / "modules.json", modules)
    (folder / "0_Transformer").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name != "modules.json":
            path.rename(folder / "0_Transformer" / path.name)
    loaded = load_model(folder, device="cpu")
    assert (loaded.family, loaded.max_tokens) == ("encoder", 32)


def test_a_default_prompt_is_reported(tmp_path):
    folder = make_folder(tmp_path)
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
    )
    assert any("'query'" in note for note in load_model(folder, device="cpu").notes)


@pytest.mark.parametrize("module", ["WeightedLayerPooling", "LSTM", "LayerNorm", "SpladePooling"])
def test_other_modules_are_refused_by_name(tmp_path, module):
    with pytest.raises(ModelError, match=module):
        read_sentence_modules(make_folder(tmp_path, module))


def test_modules_without_a_pooling_are_refused(tmp_path):
    folder = make_folder(tmp_path)
    write_json(folder / "modules.json", [{"idx": 0, "path": "", "type": f"{NEW}StaticEmbedding"}])
    with pytest.raises(ModelError, match="StaticEmbedding"):
        read_sentence_modules(folder)


@pytest.mark.parametrize(
    ("activation", "settings", "match"),
    [
        ("my_package.Sneaky", {}, "my_package.Sneaky"),
        ("torch.nn.functional.relu", {}, "torch.nn.functional.relu"),
        ("torch.nn.modules.activation.Tanh", {"use_residual": True}, "residual"),
        ("torch.nn.modules.activation.Tanh", {"module_output_name": "other"}, "module_output_name"),
        ("torch.nn.modules.activation.Tanh", {"out_features": 8}, "does not fit"),
    ],
)
def test_dense_modules_that_are_not_understood_are_refused(tmp_path, activation, settings, match):
    folder = make_folder(tmp_path, "Dense")
    add_dense(folder, activation, **settings)
    with pytest.raises(ModelError, match=match):
        read_sentence_modules(folder)


def test_a_transformer_with_another_task_is_refused(tmp_path):
    with pytest.raises(ModelError, match="fill-mask"):
        read_sentence_modules(make_folder(tmp_path, settings={"transformer_task": "fill-mask"}))


def test_an_unknown_pooling_mode_is_refused(tmp_path):
    with pytest.raises(ModelError, match="attention-pool"):
        read_sentence_modules(make_folder(tmp_path, pooling={"pooling_mode": "attention-pool"}))
