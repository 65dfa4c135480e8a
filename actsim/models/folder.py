"""What lies in a model's folder: is it complete, which files hold the weights, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actsim.errors import ModelError

TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model")


def reason(error: BaseException) -> str:
    """What another library's error says, in one line of at most 200 characters."""
    text = f"unknown name {error}" if isinstance(error, KeyError) else str(error)
    return textwrap.shorten(text, width=200, placeholder=" …") or type(error).__name__


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ModelError: not valid JSON; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path.parent.name}/{path.name}: not valid JSON ({error}); fetch the model again.") from error


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that is an object.

    Raises:
        ModelError: not valid JSON, or something else than an object; names the file.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ModelError(
            f"{path.parent.name}/{path.name}: a JSON object is needed, this is a {type(content).__name__}; fetch the "
            "model again."
        )
    return content


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def is_sentence_transformer(folder: Path) -> bool:
    """Whether the folder holds a sentence-transformers model."""
    return (folder / "modules.json").is_file()


def transformer_folder(folder: Path) -> Path:
    """Where the transformer's own files are: the folder, or the first module's in a sentence-transformers folder."""
    if not is_sentence_transformer(folder):
        return folder
    modules = read_json(folder / "modules.json")
    return folder / (modules[0].get("path") or "") if modules else folder


def check_complete(folder: Path, *, allow_unsafe_weights: bool = False) -> None:
    """Raise ModelError, naming what is missing, unless configuration, weights and tokenizer are all there.

    An adapter's folder needs neither a configuration nor a tokenizer: those are the base model's.
    """
    inner = transformer_folder(folder)
    if is_adapter(inner):
        weight_files(inner, allow_unsafe_weights=allow_unsafe_weights, stem="adapter_model")
        return
    if not (inner / "config.json").is_file():
        raise ModelError(f"{folder.name}: no config.json; this folder holds no Hugging Face model.")
    weight_files(inner, allow_unsafe_weights=allow_unsafe_weights)
    if not any(any(inner.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise ModelError(f"{folder.name}: no tokenizer (tokenizer.json, a vocabulary or a *.model file).")
    if is_sentence_transformer(folder):
        for module in read_json(folder / "modules.json"):
            if (
                module["type"].rpartition(".")[2] == "Pooling"
                and not (folder / module["path"] / "config.json").is_file()
            ):
                raise ModelError(f"{folder.name}: modules.json lists {module['path']}, which has no config.json.")


def weight_files(folder: Path, *, allow_unsafe_weights: bool = False, stem: str = "model") -> list[Path]:
    """The weight files of a folder, sorted by name: one safetensors file, or the shards that its index lists.

    Args:
        folder: the directory.
        allow_unsafe_weights: fall back to ``pytorch_model.bin`` (or ``adapter_model.bin``) and its shards.
        stem: ``model`` or ``adapter_model``.

    Raises:
        ModelError: no weights, shards that the index lists and the folder lacks, or pickled weights only.
    """
    safe = _file_or_shards(folder, f"{stem}.safetensors")
    if safe:
        return safe
    unsafe = _file_or_shards(folder, "pytorch_model.bin" if stem == "model" else f"{stem}.bin")
    if unsafe and allow_unsafe_weights:
        return unsafe
    if unsafe:
        raise ModelError(
            f"{folder.name}: weights only as {unsafe[0].name}, a pickle, which can run code when it is opened; "
            "safetensors is needed. Convert the model, or pass --allow-unsafe-weights if you trust its source."
        )
    raise ModelError(f"{folder.name}: no {stem}.safetensors and no index of shards; this folder holds no weights.")


def weights_sha256(files: Iterable[Path]) -> str:
    """Fingerprint of weight files: of one file its SHA-256, of several the SHA-256 of their digests in order."""
    digests = [file_sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _file_or_shards(folder: Path, name: str) -> list[Path]:
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return []
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise ModelError(f"{folder.name}/{index.name}: no weight_map of names and files; fetch the model again.")
    shards = sorted({folder / shard for shard in weight_map.values()})
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise ModelError(
            f"{folder.name}: {len(missing)} of {len(shards)} weight files are missing, first {missing[0]}; "
            "fetch the model again."
        )
    return shards
