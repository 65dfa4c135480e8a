"""A changed model is written as a folder like its own, with sentence-transformers modules, tokenizer and settings."""

from __future__ import annotations

import json

import pytest
import tiny_models
import torch
from sentence_folders import add_dense, make_folder, write_json
from transformers import AutoModel

from actsim.errors import ModelError
from actsim.models.loading import load_model
from actsim.models.saving import save_model, source_folder


def halved(folder):
    """The model of a folder with a weight changed."""
    loaded = load_model(folder, device="cpu")
    loaded.maps[0].weight.mul_(0.5)
    return loaded


def test_a_sentence_transformers_folder_stays_one(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    pooling = {"embedding_dimension": 24, "pooling_mode": "mean"}
    settings = {"max_seq_length": 20, "do_lower_case": True}
    folder = make_folder(tmp_path / "dense", "Dense", "Normalize", pooling=pooling, settings=settings)
    add_dense(folder, "torch.nn.modules.activation.Tanh")
    loaded = halved(folder)
    save_model(loaded, tmp_path / "changed")
    again = load_model(tmp_path / "changed", device="cpu")
    assert (again.pooling, again.max_tokens, len(again.head)) == (loaded.pooling, 20, 2)
    sentences = list(tiny_models.SENTENCES)
    batch = loaded.tokenizer(sentences, padding=True, return_tensors="pt")
    hidden = loaded.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    ours = loaded.embed_from_hidden(hidden, batch["attention_mask"])
    changed = sentence_transformers.SentenceTransformer(str(tmp_path / "changed"), device="cpu", local_files_only=True)
    theirs = changed.encode(sentences, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    tokenizer = "tokenizer.json"
    assert (tmp_path / "changed" / tokenizer).read_bytes() == (folder / tokenizer).read_bytes()


def test_a_transformer_in_a_subfolder_stays_there(tmp_path):
    folder = make_folder(tmp_path / "dense")
    inner = tiny_models.save(folder / "0_Transformer", "bert")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    write_json(folder / "modules.json", [modules[0] | {"path": inner.name}, *modules[1:]])
    loaded = halved(folder)
    save_model(loaded, tmp_path / "changed")
    again = load_model(tmp_path / "changed", device="cpu")
    assert (tmp_path / "changed" / inner.name / "model.safetensors").is_file()
    assert torch.equal(again.maps[0].weight, loaded.maps[0].weight)


def test_an_encoder_without_pooling_files_is_written_as_a_plain_folder(tmp_path):
    loaded = halved(tiny_models.save(tmp_path / "dense", "bert"))
    (tmp_path / "dense" / "README.md").write_text("a card", encoding="utf-8")
    save_model(loaded, tmp_path / "changed")
    again = AutoModel.from_pretrained(tmp_path / "changed")
    ids = torch.arange(5, 17).reshape(1, -1)
    assert torch.equal(again(ids).last_hidden_state, loaded.model(ids).last_hidden_state)
    names = {path.name for path in (tmp_path / "dense").iterdir()} - {"README.md"}
    assert names <= {path.name for path in (tmp_path / "changed").iterdir()}
    assert not (tmp_path / "changed" / "README.md").exists()


def test_what_came_out_of_no_folder_and_adapters_are_refused(tmp_path):
    loaded = tiny_models.loaded("llama")
    with pytest.raises(ModelError, match="not loaded from a folder"):
        source_folder(loaded)
    write_json(tmp_path / "adapter_config.json", {})
    loaded.source["folder"] = str(tmp_path)
    with pytest.raises(ModelError, match="PEFT adapter"):
        source_folder(loaded)
