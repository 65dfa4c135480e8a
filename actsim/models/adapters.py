"""PEFT adapters: found, applied to their base model, and merged into its weights."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from transformers import PreTrainedModel

from actsim.errors import MissingExtraError, ModelError
from actsim.models.folder import read_json, reason


def base_model_of(folder: Path) -> tuple[str, str | None]:
    """Name or path, and revision, of the model that the adapter in ``folder`` was trained on.

    Raises:
        ModelError: the adapter does not say.
    """
    settings = read_json(folder / "adapter_config.json")
    base = settings.get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{folder.name}: adapter_config.json names no base model; merge the adapter and load the result."
        )
    return base, settings.get("revision")


def require_peft() -> None:
    """Raise MissingExtraError unless the package peft is installed."""
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError("peft", "peft", "a model with an adapter")


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Apply the adapter in ``folder`` to ``model`` and merge it: W <- W + ΔW.

    Raises:
        ModelError: the adapter's weights do not fit, or its kind cannot be merged (prompts, prefixes).
    """
    from peft import PeftConfig, PeftModel

    settings = PeftConfig.from_pretrained(str(folder))
    kind = getattr(settings.peft_type, "value", settings.peft_type)
    if settings.is_prompt_learning:
        raise ModelError(
            f"{folder.name}: a {kind} adapter is not part of the weights and cannot be merged; not supported."
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            wrapped = PeftModel.from_pretrained(model, str(folder))
            merged = wrapped.merge_and_unload(safe_merge=True)
        except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
            raise ModelError(
                f"{folder.name}: the {kind} adapter cannot be merged into its base model: {reason(error)}"
            ) from error
    missing = [str(warning.message) for warning in caught if "missing adapter keys" in str(warning.message)]
    if missing:
        raise ModelError(
            f"{folder.name}: the adapter does not fit {type(model).__name__}: {' '.join(missing[0].split())[:200]}"
        )
    return merged
