"""A model with changed weights written as a folder like the one it came from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from actsim.errors import ModelError
from actsim.models.checkpoint import quiet_transformers
from actsim.models.folder import is_adapter, is_sentence_transformer, read_json, read_object, transformer_folder

if TYPE_CHECKING:
    from actsim.models.loading import LoadedModel

COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "*.py")
"""What else belongs to a model: tokenizer, settings, chat template, code. Weights and model cards do not: they are of
the model that it was."""
SHARD = "2GB"
"""Largest weight file: it is copied in memory before it is written."""
NOT_COPIED = ("*.index.json",)


def source_folder(loaded: LoadedModel) -> Path:
    """The folder that a model was loaded from, of which a changed one can be made.

    Raises:
        ModelError: it came out of memory, or is an adapter on top of another model.
    """
    name = loaded.source["name"]
    if "folder" not in loaded.source:
        raise ModelError(f"{name}: it was not loaded from a folder; save it, and load it with load_model.")
    folder = Path(loaded.source["folder"])
    if is_adapter(transformer_folder(folder)):
        raise ModelError(
            f"{name}: a PEFT adapter; a folder of its own is made of whole models only. Merge it (merge_and_unload), "
            "save that, and give its folder."
        )
    return folder


def save_model(loaded: LoadedModel, folder: Path) -> None:
    """Write the model as it is now into ``folder``: its weights and configuration, in the type they are in, and the
    other files of the folder it came from, unchanged. A sentence-transformers folder stays one.

    Args:
        loaded: from ``load_model``.
        folder: an empty directory.

    Raises:
        ModelError: see ``source_folder``.
    """
    source = source_folder(loaded)
    inner = transformer_folder(source)
    target = folder / inner.relative_to(source)
    with quiet_transformers(), _stored_cache_setting(loaded, inner):
        loaded.model.save_pretrained(target, max_shard_size=SHARD)
    _copy_files(inner, target)
    if is_sentence_transformer(source):
        _copy_files(source, folder)
        for module in read_json(source / "modules.json")[1:]:
            if (source / module["path"]).is_dir():
                shutil.copytree(source / module["path"], folder / module["path"])


def save_masks(loaded: LoadedModel, folder: Path) -> None:
    """Write, block by block, which weights are not zero: ``masks-<layer>.safetensors``, one tensor of booleans for the
    weight of every linear map, by its name and in the form in which the model's weight file has it.
    """
    for layer in range(1, loaded.n_layers + 1):
        masks = {
            f"{linear.name}.weight": linear.parameter.detach().ne(0).cpu().contiguous()
            for linear in loaded.maps
            if linear.layer == layer
        }
        save_file(masks, folder / f"masks-{layer:03}.safetensors")


@contextmanager
def _stored_cache_setting(loaded: LoadedModel, inner: Path) -> Iterator[None]:
    """While open, the configuration says of the cache what its file does: models are scored without one."""
    config = loaded.model.config
    now = config.use_cache
    config.use_cache = read_object(inner / "config.json").get("use_cache", True)
    try:
        yield
    finally:
        config.use_cache = now


def _copy_files(source: Path, target: Path) -> None:
    """Copy the files of COPIED that are not there yet."""
    left_out = {path.name for pattern in NOT_COPIED for path in source.glob(pattern)}
    for path in sorted(path for pattern in COPIED for path in source.glob(pattern)):
        if path.is_file() and path.name not in left_out and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
