"""A model's tokenizer, made ready for right-padded batches, and how many tokens the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from actsim.errors import ModelError, UsageError
from actsim.models.folder import reason

UNLIMITED = 1_000_000
"""Tokenizers without a limit of their own report an absurdly large one."""

FALLBACK_MAX_TOKENS = 512
"""For models that state no limit at all."""


def load_tokenizer(
    folder: Path, *, trust_remote_code: bool = False, lowercase: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder, see ``prepare_tokenizer``.

    Raises:
        ModelError: it cannot be loaded, for example because a package it needs is missing.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except (OSError, ValueError, LookupError, ImportError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder.name}: the tokenizer cannot be loaded: {reason(error)}") from error
    return prepare_tokenizer(tokenizer, lowercase=lowercase)


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, *, lowercase: bool = False) -> PreTrainedTokenizerBase:
    """Pad on the right; where there is no padding token, an existing one stands in, always under a zero mask.

    The vocabulary is not changed.

    Args:
        tokenizer: changed in place and returned.
        lowercase: lower-case sentences first, as sentence-transformers' ``do_lower_case`` says.
    """
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        stand_in = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
        tokenizer.pad_token = stand_in
    if lowercase:
        _lowercase(tokenizer)
    return tokenizer


def _lowercase(tokenizer: PreTrainedTokenizerBase) -> None:
    if not tokenizer.is_fast:
        tokenizer.do_lower_case = True
        return
    from tokenizers.normalizers import Lowercase, Sequence

    backend = tokenizer.backend_tokenizer
    backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer is not None else [])])


def position_limit(model: PreTrainedModel) -> int | None:
    """The most tokens that the model has positions for; None where its configuration names no limit.

    Embeddings of positions with a padding index (RoBERTa, MPNet) start to count after it.
    """
    config: Any = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit < 1:
        limit = None
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings") and module.padding_idx is not None:
            limit = min(limit or UNLIMITED, module.num_embeddings - module.padding_idx - 1)
    return limit


def resolve_max_tokens(
    requested: int | None,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int | None = None,
    *,
    option: str = "--max-tokens",
) -> int:
    """How many tokens a sentence may have, special tokens included.

    Without a request the smallest of: the sentence-transformers folder's own limit, the tokenizer's, the model's
    positions. A request may go beyond the first two, never beyond the positions. ``option`` is how a message calls it.

    Raises:
        UsageError: a request that the model has no positions for, or that leaves no room for the sentence.
    """
    positions = position_limit(model)
    stated = [limit for limit in (max_seq_length, tokenizer.model_max_length) if limit and limit < UNLIMITED]
    default = min([*stated, *([positions] if positions else [])], default=FALLBACK_MAX_TOKENS)
    if requested is None:
        return default
    most = positions or default
    special = tokenizer.num_special_tokens_to_add()
    if not special < requested <= most:
        raise UsageError(
            f"{option} {requested}: this model takes {special + 1} to {most} tokens ({special} of them special); "
            "choose within that, or leave it out."
        )
    return requested
