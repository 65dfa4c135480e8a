"""The transformer inside of an MTEB model, ready to be scored, and left afterwards as it was found."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actsim.errors import ModelError
from actsim.models.loading import LoadedModel, wrap_model
from actsim.models.pooling import Pooling
from actsim.models.sentence import LEGACY_POOLING
from actsim.models.tokenizer import prepare_tokenizer, resolve_max_tokens

INNER = ("model", "_model", "mdl", "module")
"""Attributes under which wrappers keep the model that they wrap."""

LOOKED_FOR = (
    "a SentenceTransformer whose first modules are Transformer and Pooling, one transformers model beside its "
    f"tokenizer, a model of actsim in .loaded, or one of these in .{', .'.join(INNER)}"
)


@dataclass(frozen=True)
class _Parts:
    """What an MTEB model is made of, as ``wrap_model`` takes it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: str | None = None
    pooling: Pooling | None = None
    max_seq_length: int | None = None
    lowercase: bool = False


@contextmanager
def opened(model: Any, *, max_tokens: int | None = None) -> Iterator[LoadedModel]:
    """Open an MTEB model for scoring.

    A SentenceTransformer is read as ``load_model`` reads its folder: by its pooling, its length and its lower-casing;
    what follows the pooling does not enter the read-out. Any other transformers model is a causal language model where
    it has a head and is a decoder, else an encoder with mean pooling, which ``LoadedModel.notes`` says. Floating point
    type and device are the model's own. Its tokenizer is copied; training mode, gradients and cache are restored when
    the context ends.

    Args:
        model: an MTEB model, a SentenceTransformer, or whatever holds a transformers model and its tokenizer.
        max_tokens: cut sentences here; default the model's limit.

    Raises:
        ModelError: no transformer found, several of them, or one that cannot be scored; see ``wrap_model``.
        UsageError: a length that the model has no positions for.
    """
    found = _find(model, seen=[])
    if found is None:
        raise ModelError(
            f"{_called(model)} cannot be opened for scoring; looked for {LOOKED_FOR}. "
            "Wrap the model in a class that holds one of these, or load it with mteb's SentenceTransformer wrapper."
        )
    if isinstance(found, LoadedModel):
        length = found.max_tokens if max_tokens is None else _checked_length(found, max_tokens)
        yield replace(found, max_tokens=length)
        return
    tokenizer = prepare_tokenizer(copy.deepcopy(found.tokenizer), lowercase=found.lowercase)
    if found.max_seq_length is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, found.max_seq_length)
    with _left_as_found(found.model):
        yield wrap_model(
            found.model,
            tokenizer,
            name=_called(model),
            family=found.family,
            pooling=found.pooling,
            max_tokens=max_tokens,
        )


def _checked_length(loaded: LoadedModel, max_tokens: int) -> int:
    return resolve_max_tokens(max_tokens, loaded.model, loaded.tokenizer)


def _called(model: Any) -> str:
    """The name by MTEB's metadata where it has some, and the class."""
    name = getattr(getattr(model, "mteb_model_meta", None), "name", None)
    kind = type(model).__name__
    return f"{name} ({kind})" if name else kind


def _find(holder: Any, seen: list[Any]) -> LoadedModel | _Parts | None:
    """What can be scored in ``holder``: itself, what it holds, or what the model that it wraps holds."""
    if any(holder is other for other in seen):
        return None
    seen.append(holder)
    loaded = holder if isinstance(holder, LoadedModel) else getattr(holder, "loaded", None)
    if isinstance(loaded, LoadedModel):
        return loaded
    if isinstance(holder, SentenceTransformer):
        return _parts_of_sentence_transformer(holder)
    models, tokenizers = _held(holder, PreTrainedModel), _held(holder, PreTrainedTokenizerBase)
    if len(models) > 1:
        kinds = ", ".join(type(model).__name__ for model in models)
        raise ModelError(f"{_called(holder)} holds {len(models)} transformers ({kinds}); which to score is unknown.")
    if models and len(tokenizers) == 1:
        return _Parts(models[0], tokenizers[0])
    inner = (getattr(holder, name, None) for name in INNER)
    return next((found for value in inner if value is not None and (found := _find(value, seen))), None)


def _held(holder: Any, kind: type) -> list[Any]:
    """The distinct objects of a type that ``holder`` has as attributes or submodules."""
    values = [*getattr(holder, "__dict__", {}).values(), *(holder.children() if isinstance(holder, nn.Module) else ())]
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


def _parts_of_sentence_transformer(model: SentenceTransformer) -> _Parts:
    modules = list(model.children())
    kinds = [type(module).__name__ for module in modules]
    transformers = _held(modules[0], PreTrainedModel) if modules else []
    output = getattr(modules[0], "module_output_name", "token_embeddings") if modules else None
    if kinds[:2] != ["Transformer", "Pooling"] or len(transformers) != 1 or output != "token_embeddings":
        raise ModelError(
            f"SentenceTransformer of {', '.join(kinds) or 'no modules'}: its read-out is not known; "
            "supported are Transformer, giving token embeddings, and Pooling, whatever follows."
        )
    return _Parts(
        transformers[0],
        model.tokenizer,
        family="encoder",
        pooling=Pooling(_pooling_modes(modules[1])),
        max_seq_length=model.max_seq_length,
        lowercase=bool(getattr(modules[0], "do_lower_case", False)),
    )


def _pooling_modes(pooling: nn.Module) -> tuple[str, ...]:
    """The modes in their order of concatenation; earlier releases kept one flag per mode."""
    modes: Any = getattr(pooling, "pooling_mode", None)
    if modes is None:
        return tuple(mode for flag, mode in LEGACY_POOLING.items() if getattr(pooling, flag, False))
    return (modes,) if isinstance(modes, str) else tuple(modes)


@contextmanager
def _left_as_found(model: PreTrainedModel) -> Iterator[None]:
    """Restore at the end what ``wrap_model`` changes: training mode, which parameters learn, the cache."""
    training = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    config: Any = model.config
    had_cache, cache = hasattr(config, "use_cache"), getattr(config, "use_cache", None)
    try:
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter in learning:
            parameter.requires_grad_(True)
        if had_cache:
            config.use_cache = cache
        elif hasattr(config, "use_cache"):
            del config.use_cache
