"""Read a sentence-transformers folder: pooling, the modules after it, its own length limit."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from actsim.errors import ModelError
from actsim.models.folder import is_sentence_transformer, read_json, reason, weight_files
from actsim.models.pooling import POOLING_MODES, Dense, Normalize, Pooling

LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Boolean keys of older releases, in their order of concatenation."""

TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True)
class SentenceModules:
    """What follows the transformer, and how its input is prepared.

    Attributes:
        pooling: the pooling module.
        head: Dense and Normalize modules, in order; may be empty.
        head_files: weight files of the Dense modules.
        max_seq_length: the folder's own limit in tokens, or None.
        lowercase: whether sentences are lower-cased before they are tokenised.
        prompt: name of a prompt that sentence-transformers would put in front by default, or None.
    """

    pooling: Pooling
    head: nn.Sequential
    head_files: tuple[Path, ...]
    max_seq_length: int | None
    lowercase: bool
    prompt: str | None


def read_sentence_modules(folder: Path, *, allow_unsafe_weights: bool = False) -> SentenceModules | None:
    """Read modules.json and what it lists; None where the folder is not a sentence-transformers one.

    Raises:
        ModelError: a module that is not supported, or a Transformer that does not give token states; names it.
    """
    if not is_sentence_transformer(folder):
        return None
    modules = [
        (entry["type"].rpartition(".")[2], entry.get("path") or "") for entry in read_json(folder / "modules.json")
    ]
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ModelError(
            f"{folder.name}: sentence-transformers modules {', '.join(kinds) or '(none)'}; "
            "supported are Transformer, Pooling, then Dense or Normalize."
        )
    settings = _transformer_settings(folder, folder / modules[0][1])
    head: list[nn.Module] = []
    head_files: list[Path] = []
    for kind, path in modules[2:]:
        if kind == "Normalize":
            head.append(_read_normalize(folder, path))
        elif kind == "Dense":
            dense, files = _read_dense(folder / path, allow_unsafe_weights)
            head.append(dense)
            head_files += files
        elif kind != "Dropout":  # does nothing outside training
            raise ModelError(
                f"{folder.name}: sentence-transformers module {kind} ({path}) is not supported; "
                "supported after Pooling are Dense and Normalize."
            )
    return SentenceModules(
        pooling=_read_pooling(folder, modules[1][1]),
        head=nn.Sequential(*head),
        head_files=tuple(head_files),
        max_seq_length=settings.get("max_seq_length"),
        lowercase=bool(settings.get("do_lower_case", False)),
        prompt=_default_prompt(folder),
    )


def _transformer_settings(folder: Path, inner: Path) -> dict[str, Any]:
    for name in TRANSFORMER_CONFIGS:
        if (inner / name).is_file():
            settings = read_json(inner / name)
            break
    else:
        return {}
    task = settings.get("transformer_task", "feature-extraction")
    output = settings.get("module_output_name", "token_embeddings")
    if task != "feature-extraction" or output != "token_embeddings":
        raise ModelError(
            f"{folder.name}: its Transformer module does {task} and gives {output}; "
            "supported is feature-extraction that gives token_embeddings."
        )
    return settings


def _default_prompt(folder: Path) -> str | None:
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return None
    settings = read_json(path)
    name = settings.get("default_prompt_name")
    return name if name and settings.get("prompts", {}).get(name) else None


def _read_pooling(folder: Path, path: str) -> Pooling:
    settings = read_json(folder / path / "config.json")
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in LEGACY_POOLING.items() if settings.get(key)] or ["mean"]
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    unknown = [mode for mode in modes if mode not in POOLING_MODES]
    if unknown:
        raise ModelError(f"{folder.name}: pooling mode {unknown[0]!r} in {path}; known: {', '.join(POOLING_MODES)}.")
    return Pooling(modes)


def _read_normalize(folder: Path, path: str) -> Normalize:
    config = folder / path / "config.json"
    _check_wiring(f"{folder.name}/{path}", read_json(config) if config.is_file() else {})
    return Normalize()


def _read_dense(folder: Path, allow_unsafe_weights: bool) -> tuple[Dense, list[Path]]:
    settings = read_json(folder / "config.json")
    where = f"{folder.parent.name}/{folder.name}"
    _check_wiring(where, settings)
    missing = [key for key in ("in_features", "out_features") if key not in settings]
    if missing:
        raise ModelError(f"{where}: config.json of a Dense module lacks {missing[0]}; fetch the model again.")
    if settings.get("use_residual"):
        raise ModelError(f"{where}: a Dense module with a residual connection is not supported.")
    activation = _activation(where, settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    dense = Dense(settings["in_features"], settings["out_features"], settings.get("bias", True), activation)
    files = weight_files(folder, allow_unsafe_weights=allow_unsafe_weights)
    try:
        dense.load_state_dict(_load_tensors(files[0]))
    except (RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise ModelError(f"{where}: {files[0].name} does not fit config.json: {reason(error)}") from error
    return dense, files


def _check_wiring(where: str, settings: dict[str, Any]) -> None:
    """Only modules that read and write the sentence embedding are understood."""
    for key in ("module_input_name", "module_output_name"):
        if settings.get(key) not in (None, "sentence_embedding"):
            raise ModelError(f"{where}: {key} is {settings[key]!r}; supported is 'sentence_embedding' only.")


def _activation(where: str, path: str) -> nn.Module:
    """The activation that ``torch.nn.….Name`` stands for; only torch's own are created, no code is imported."""
    name = path.rpartition(".")[2]
    found = getattr(nn, name, None) if path.startswith("torch.nn.") else None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ModelError(f"{where}: activation function {path!r}; supported are the activations of torch.nn.")
    return found()


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
