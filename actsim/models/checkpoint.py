"""A checkpoint: its files, its configuration, what family it is, and its weights, none of them missing."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from actsim.errors import ModelError, UsageError
from actsim.models.adapters import base_model_of, require_peft
from actsim.models.folder import is_adapter, read_object, reason, transformer_folder, weight_files
from actsim.models.layers import find_blocks, refuse_quantised_config
from actsim.models.locate import ModelSource, locate
from actsim.models.placement import DeviceMap

MALFORMED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    StrictDataclassError,
)
"""What transformers raises for a configuration with values that are impossible or of another type, or that needs a
package that is missing."""

UNREADABLE = (*MALFORMED, RuntimeError, SafetensorError, pickle.UnpicklingError)
"""The same for weight files that are damaged or do not fit."""


def decide_family(config: PretrainedConfig, *, is_sentence_model: bool, requested: str | None) -> tuple[str, str]:
    """``causal`` or ``encoder``, and a note where that is not what the configuration alone would say.

    A sentence-transformers folder is an encoder whatever transformer it is made of.

    Raises:
        ModelError: an encoder-decoder.
        UsageError: ``causal`` was asked for, and the model is no decoder.
    """
    if config.is_encoder_decoder:
        raise ModelError(
            f"{config.model_type} is an encoder-decoder; supported are causal language models and encoders."
        )
    decoder = is_decoder(config)
    if requested == "causal" and not decoder:
        raise UsageError(f"--family causal: {config.model_type} is not a decoder; use family encoder, or leave it out.")
    usual = "causal" if decoder and not is_sentence_model else "encoder"
    family = requested or usual
    return family, f"loaded as {family} on request; by its files it is {usual}" if family != usual else ""


@dataclass(frozen=True)
class ModelFiles:
    """Folders and weight files of a model: its own, or those of a base model and an adapter."""

    base: Path
    tokenizer: Path
    adapter: Path | None
    weights: tuple[Path, ...]

    @classmethod
    def of(cls, source: ModelSource, allow_unsafe_weights: bool) -> ModelFiles:
        """The files of a located model; an adapter's base model is located too.

        Raises:
            ModelError: weights that are missing or not safetensors, or an adapter on top of an adapter.
            MissingExtraError: an adapter, and peft is not installed.
        """
        inner = transformer_folder(source.folder)
        if not is_adapter(inner):
            weights = weight_files(inner, allow_unsafe_weights=allow_unsafe_weights)
            return cls(inner, inner, None, tuple(weights))
        require_peft()
        base_name, base_revision = base_model_of(inner)
        found = locate(base_name, base_revision, allow_unsafe_weights=allow_unsafe_weights)
        base = transformer_folder(found.folder)
        if is_adapter(base):
            raise ModelError(f"{source.name}: its base model {base_name} is an adapter itself; merge that one first.")
        weights = [
            *weight_files(base, allow_unsafe_weights=allow_unsafe_weights),
            *weight_files(inner, allow_unsafe_weights=allow_unsafe_weights, stem="adapter_model"),
        ]
        own_tokenizer = (inner / "tokenizer_config.json").is_file()
        return cls(base, inner if own_tokenizer else base, inner, tuple(weights))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """While open, transformers neither logs below errors nor draws progress bars."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

    verbosity = transformers_logging.get_verbosity()
    bars, hub_bars_off = transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        if hub_bars_off:
            disable_progress_bars()


def load_config(folder: Path, name: str, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration of a model's folder.

    Raises:
        ModelError: not readable, of a model with code of its own that is not trusted, or of a quantised model.
    """
    raw = read_object(folder / "config.json")
    if "auto_map" in raw and raw.get("model_type") not in CONFIG_MAPPING and not trust_remote_code:
        raise ModelError(
            f"{name}: the model comes with its own code, which would be run; "
            "pass --trust-remote-code if you trust its source."
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except MALFORMED as error:
        raise ModelError(f"{name}: config.json cannot be read: {reason(error)}") from error
    refuse_quantised_config(config, name)
    return config


def load_weights(
    folder: Path,
    config: PretrainedConfig,
    family: str,
    dtype: torch.dtype | None,
    trust_remote_code: bool,
    allow_unsafe_weights: bool,
    device_map: DeviceMap | None = None,
) -> PreTrainedModel:
    """The model with all its weights, with a language-model head for ``causal``, without any head for ``encoder``.

    Raises:
        ModelError: weights that cannot be loaded, are missing, or have no place in the model.
    """
    auto: Any = AutoModelForCausalLM if family == "causal" else AutoModel
    try:
        model, info = auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype or "auto",
            device_map=device_map,
            trust_remote_code=trust_remote_code,
            use_safetensors=None if allow_unsafe_weights else True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
        )
    except UNREADABLE as error:
        raise ModelError(f"{folder.name}: the weights cannot be loaded: {reason(error)}") from error
    _check_weights(model, info, folder.name)
    return model


def _check_weights(model: PreTrainedModel, info: dict[str, Any], name: str) -> None:
    """No parameter that reaches the read-out may be random, and no weight of a block may have been dropped."""
    if info["mismatched_keys"]:
        key, found, expected = min(info["mismatched_keys"])
        raise ModelError(
            f"{name}: weights of other sizes than config.json says: {len(info['mismatched_keys'])}, first {key}: "
            f"{list(found)} in the files, {list(expected)} expected. Fetch the model again."
        )
    parameters = {key for key, _ in model.named_parameters()}
    missing = sorted(key for key in info["missing_keys"] if key in parameters and "pooler" not in key.split("."))
    if missing:
        raise ModelError(
            f"{name}: {len(missing)} parameters of {type(model).__name__} are not in the weight files, first "
            f"{missing[0]}; random values would be scored. Check the files, or load it with the other family."
        )
    list_name = find_blocks(model)[0][0].rpartition(".")[0].rpartition(".")[2]
    in_block = re.compile(rf"(?:^|\.){re.escape(list_name)}\.\d+\..*weight$")
    dropped = sorted(key for key in info["unexpected_keys"] if in_block.search(key))
    if dropped:
        raise ModelError(
            f"{name}: {len(dropped)} weights of blocks in the files have no place in {type(model).__name__}, first "
            f"{dropped[0]}; the model would not be the one that was trained. Check config.json."
        )


def is_decoder(config: PretrainedConfig) -> bool:
    """Whether the architecture predicts the next token; BERT-like ones do so only when ``is_decoder`` is set."""
    architectures = getattr(config, "architectures", None) or []
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return type(config) not in MODEL_FOR_MASKED_LM_MAPPING or bool(getattr(config, "is_decoder", False))
    return any(name.endswith("ForCausalLM") for name in architectures)
