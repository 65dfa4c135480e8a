"""Sentence-transformers folders around tiny models."""

from __future__ import annotations

import json

import tiny_models
from safetensors.torch import save_file
from torch import nn

OLD = "sentence_transformers.models."
NEW = "sentence_transformers.sentence_transformer.modules."


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make_folder(folder, *modules, pooling=None, settings=None, model="bert", prefix=OLD):
    """A sentence-transformers folder around a tiny model; ``modules`` are class names after Transformer and Pooling."""
    tiny_models.save(folder, model)
    names = ["Transformer", "Pooling", *modules]
    paths = ["", *(f"{index}_{module}" for index, module in enumerate(names[1:], start=1))]
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"{prefix}{name}"}
        for index, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode_mean_tokens": True})
    write_json(folder / "sentence_bert_config.json", settings if settings is not None else {"max_seq_length": 32})
    return folder


def add_dense(folder, activation, *, width=24, bias=True, **settings):
    """Write a random Dense module, ``width`` -> 7, into the folder's third module; returns its linear part."""
    dense = nn.Linear(width, 7, bias=bias)
    sizes = {"in_features": width, "out_features": 7, "bias": bias}
    write_json(folder / "2_Dense" / "config.json", {**sizes, "activation_function": activation, **settings})
    weights = {f"linear.{key}": value for key, value in dense.state_dict().items()}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    return dense
