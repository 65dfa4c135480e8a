"""Load a causal language model or an encoder, ready to be scored: every map found, every parameter accounted for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actsim.config import Scoring
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.errors import ModelError, UsageError
from actsim.models.adapters import merge_adapter
from actsim.models.checkpoint import (
    ModelFiles,
    decide_family,
    is_decoder,
    load_config,
    load_weights,
    quiet_transformers,
)
from actsim.models.devices import dtype_name, resolve_device, resolve_dtype
from actsim.models.folder import weights_sha256
from actsim.models.layers import Exclusion, linear_maps
from actsim.models.locate import DEFAULT_MODEL, locate
from actsim.models.placement import (
    DeviceMap,
    devices_by_module,
    input_device,
    refuse_offloaded,
    refuse_split_blocks,
    settle,
)
from actsim.models.pooling import Hidden, Mask, Pooling
from actsim.models.probe import probe_rows
from actsim.models.sentence import SentenceModules, read_sentence_modules
from actsim.models.settings import check_family, check_settings
from actsim.models.tokenizer import load_tokenizer, prepare_tokenizer, resolve_max_tokens

if TYPE_CHECKING:
    from actsim.models.controls import Control


@dataclass
class LoadedModel:
    """A model in evaluation mode, no parameter of which requires a gradient, and all that scoring needs to know of it.

    Attributes:
        model: the transformer.
        tokenizer: pads on the right.
        family: ``causal`` or ``encoder``.
        maps: the linear maps that are scored, in block order.
        excluded: parameters of the blocks, with two or more axes, that are not scored, each with its reason.
        blocks: the blocks, one per layer.
        pooling: token states -> sentence (encoders), or None.
        head: what follows the pooling, Dense and Normalize modules; may be empty.
        max_tokens: longer sentences are cut.
        dtype: the model's floating point type, by name.
        device: where token ids go, by name: the device of the input embedding.
        batchable: whether rows can be told apart by sentence; if not, sentences run one at a time.
        batch_note: why not, in one line; empty otherwise.
        source: where it came from: kind, name, revision, folder, note, sha256 of the weights.
        notes: one line each, what a reader of the results must know.
        device_map: module name -> device of a model that is spread over several, else empty.
        block_device: where blocks go one at a time while they are pruned, the model lying on the CPU; else empty.
        control: where this is no model but its control, which one; see ``actsim.models.controls``.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: str
    maps: tuple[LinearMap, ...]
    excluded: tuple[Exclusion, ...]
    blocks: tuple[nn.Module, ...]
    pooling: Pooling | None
    head: nn.Sequential
    max_tokens: int
    dtype: str
    device: str
    batchable: bool
    batch_note: str
    source: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    device_map: dict[str, str] = field(default_factory=dict)
    block_device: str = ""
    control: Control | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers L; they count from 1."""
        return len(self.blocks)

    @property
    def pad_token(self) -> int:
        """Id that fills a batch on the right, always under a zero mask."""
        return int(self.tokenizer.pad_token_id)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices on which layers 1 … L lie, each once, in this order."""
        return tuple(dict.fromkeys(str(linear.parameter.device) for linear in self.maps))

    @property
    def scoring_device(self) -> str:
        """The first layer's device, or, where the layers' devices are not of one kind, a name that has no backend of
        its own: patterns are then formed by what runs everywhere."""
        kinds = {torch.device(device).type for device in self.devices}
        return self.devices[0] if len(kinds) == 1 else "several"

    def identity(self) -> dict[str, Any]:
        """What makes it this model and no other, ready for JSON and free of machine paths."""
        return {
            "name": self.source["name"],
            "revision": self.source["revision"],
            "sha256": self.source["sha256"],
            "architecture": type(self.model).__name__,
            "family": self.family,
            "pooling": self.pooling.name if self.pooling else None,
            "head": [f"{type(module).__name__}({module.extra_repr()})" for module in self.head],
            **({"control": asdict(self.control)} if self.control else {}),
        }

    def default_scoring(self) -> Scoring:
        """The paper's pattern and the family's default read-out, for this model's type and length."""
        objective = next(iter(OBJECTIVES[self.family]))
        return Scoring(objective=objective, max_tokens=self.max_tokens, dtype=self.dtype)

    @torch.no_grad()
    def embed(self, pooled: Float[Tensor, "sentences pooled"]) -> Float[Tensor, "sentences width"]:
        """The model's own embedding from the pooled state: the head's modules, one after the other."""
        return self.head(pooled.to(self.device))

    def embed_from_hidden(self, hidden: Hidden, mask: Mask) -> Float[Tensor, "sentences width"]:
        """The model's own embedding from the last hidden state, in float32 or wider.

        Raises:
            ModelError: a causal language model, which has no pooling.
        """
        if self.pooling is None:
            raise ModelError(f"{type(self.model).__name__} was loaded as a causal language model: it has no embedding.")
        return self.embed(self.pooling(hidden.to(_wide(hidden.dtype)), mask))


def load_model(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | None = None,
    trust_remote_code: bool = False,
    allow_unsafe_weights: bool = False,
    family: str | None = None,
    max_tokens: int | None = None,
    device_map: DeviceMap | None = None,
    one_block_at_a_time: bool | None = False,
) -> LoadedModel:
    """Find, load and check a model.

    Args:
        name_or_path: a folder or a hub id, see ``actsim.models.locate``.
        revision: branch, tag or commit on the hub.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: float32, float16, bfloat16 or float64; default float32 on the CPU, the checkpoint's on an accelerator.
        trust_remote_code: run code that comes with the model.
        allow_unsafe_weights: open pickled weights where there is no safetensors file.
        family: ``causal`` or ``encoder``; default by the model's configuration.
        max_tokens: cut sentences here; default the model's limit.
        device_map: spread a model that is larger than one device: ``auto``, ``sequential``, or module name -> device.
        one_block_at_a_time: leave the model on the CPU, for what prunes it; None to decide by memory, see ``settle``.

    Raises:
        UsageError: a name, device, type, family or length that is impossible.
        ModelError: not found, not loadable, not all parameters of its blocks accounted for, or too large.
        MissingExtraError: an adapter, and peft is not installed; a device map, and accelerate is not.
    """
    check_settings(family=family, device=device, dtype=dtype, device_map=device_map)
    if device_map is not None and one_block_at_a_time:
        raise UsageError("--one-block-at-a-time and --device-map exclude each other; give one of them.")
    place = resolve_device(device)
    wanted_dtype = resolve_dtype(dtype, place)
    source = locate(name_or_path, revision, allow_unsafe_weights=allow_unsafe_weights)
    files = ModelFiles.of(source, allow_unsafe_weights)
    sentence = read_sentence_modules(source.folder, allow_unsafe_weights=allow_unsafe_weights)
    with quiet_transformers():
        config = load_config(files.base, source.name, trust_remote_code)
        resolved, family_note = decide_family(config, is_sentence_model=sentence is not None, requested=family)
        model = load_weights(
            files.base, config, resolved, wanted_dtype, trust_remote_code, allow_unsafe_weights, device_map
        )
        refuse_offloaded(model)
        if files.adapter is not None:
            model = merge_adapter(model, files.adapter)
        tokenizer = load_tokenizer(
            files.tokenizer, trust_remote_code=trust_remote_code, lowercase=sentence is not None and sentence.lowercase
        )
    sha256 = source.sha256 or weights_sha256(_weight_files(files, sentence))
    record = {**asdict(source), "folder": str(source.folder), "sha256": sha256}
    notes = [*([family_note] if family_note else []), *_sentence_notes(sentence, resolved)]
    block_device, more = ("", []) if device_map is not None else settle(model, place, one_block_at_a_time)
    loaded = _assemble(model, tokenizer, resolved, sentence, max_tokens, record, [*notes, *more])
    return replace(loaded, block_device=block_device)


def weights_identity(
    name_or_path: str | Path, *, revision: str | None = None, allow_unsafe_weights: bool = False
) -> str:
    """What tells the weights of a model from others before it is loaded: its commit on the hub, or their SHA-256.

    ``load_model`` records the one as ``source["revision"]``, the other as ``source["sha256"]``.

    Raises:
        UsageError, ModelError, MissingExtraError: as ``load_model``.
    """
    source = locate(name_or_path, revision, allow_unsafe_weights=allow_unsafe_weights)
    if source.revision is not None:
        return source.revision
    sentence = read_sentence_modules(source.folder, allow_unsafe_weights=allow_unsafe_weights)
    return weights_sha256(_weight_files(ModelFiles.of(source, allow_unsafe_weights), sentence))


def _weight_files(files: ModelFiles, sentence: SentenceModules | None) -> list[Path]:
    return [*files.weights, *(sentence.head_files if sentence else ())]


def wrap_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    family: str | None = None,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
) -> LoadedModel:
    """Make a model that is already in memory ready to be scored; checks as ``load_model`` does.

    The model is put into evaluation mode and its parameters are frozen; the tokenizer pads on the right afterwards.

    Args:
        model: a causal language model or an encoder.
        tokenizer: its tokenizer.
        name: what results call it.
        family: ``causal`` or ``encoder``; default by whether it has a language-model head and is a decoder.
        pooling: an encoder's pooling, default the mean.
        max_tokens: cut sentences here; default the model's limit.

    Raises:
        UsageError: an impossible family or length.
        ModelError: not all parameters of the blocks accounted for, or unmerged adapters.
    """
    check_family(family)
    has_head = model.get_output_embeddings() is not None
    resolved = family or ("causal" if has_head and is_decoder(model.config) else "encoder")
    if resolved == "causal" and not (has_head and is_decoder(model.config)):
        raise UsageError(f"{type(model).__name__} is not a causal language model with a head; use family='encoder'.")
    sentence = SentenceModules(pooling, nn.Sequential(), (), None, False, None) if pooling else None
    refuse_offloaded(model)
    record = {"kind": "memory", "name": name, "revision": None, "sha256": parameters_sha256(model)}
    scored: Any = model if resolved == "causal" else model.base_model
    prepared = prepare_tokenizer(tokenizer)
    return _assemble(scored, prepared, resolved, sentence, max_tokens, record, _sentence_notes(sentence, resolved))


def _assemble(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    family: str,
    sentence: SentenceModules | None,
    max_tokens: int | None,
    source: dict[str, Any],
    notes: Iterable[str],
) -> LoadedModel:
    model.eval().requires_grad_(False)
    model.config.use_cache = False
    coverage = linear_maps(model)
    refuse_split_blocks(coverage.blocks, coverage.maps)
    place = input_device(model)
    length = resolve_max_tokens(max_tokens, model, tokenizer, sentence.max_seq_length if sentence else None)
    batch_note = probe_rows(model, coverage.maps, max_tokens=length, pad_token=int(tokenizer.pad_token_id)) or ""
    head = sentence.head if sentence and family == "encoder" else nn.Sequential()
    head.eval().requires_grad_(False)
    pooling = (sentence.pooling if sentence else Pooling()) if family == "encoder" else None
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        family=family,
        maps=coverage.maps,
        excluded=coverage.excluded,
        blocks=coverage.blocks,
        pooling=pooling,
        head=head.to(device=place, dtype=_wide(model.dtype)),
        max_tokens=length,
        dtype=dtype_name(model.dtype),
        device=str(place),
        batchable=not batch_note,
        batch_note=batch_note,
        source=source,
        notes=(*notes, *([batch_note] if batch_note else [])),
        device_map=devices_by_module(model),
    )


def _sentence_notes(sentence: SentenceModules | None, family: str) -> list[str]:
    if family == "causal":
        return []
    if sentence is None:
        return ["no sentence-transformers pooling found: mean pooling"]
    if sentence.prompt:
        return [f"the model's default prompt {sentence.prompt!r} is not put in front of the sentences"]
    return []


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def parameters_sha256(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
