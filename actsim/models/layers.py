"""Which parameters are scored: the blocks of a model, their linear maps, and proof that nothing is left out.

Everything is found by structure (the list of blocks a module lives in, its type), never by a count or a size.
Embeddings, norms, biases, poolers and heads are outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.pytorch_utils import Conv1D

from actsim.core.linears import LinearMap
from actsim.errors import ModelError

FLOAT_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

_ATTENTION = r"(?:\w*attn|\w*[aA]ttention|self)\."

KINDS: tuple[tuple[str, str], ...] = (
    ("dense", r"bottleneck\.(?:\w+\.)?dense"),  # MobileBERT: neither attention output nor MLP
    ("qkv", r"c_attn|query_key_value|Wqkv|qkv_proj|qkv"),
    ("qkv", _ATTENTION + r"in_proj"),
    ("q", r"q_proj|query_proj|query|q_lin|q_attn"),
    ("k", r"k_proj|key_proj|key|k_lin"),
    ("v", r"v_proj|value_proj|value|v_lin"),
    ("q", _ATTENTION + r"q"),
    ("k", _ATTENTION + r"k"),
    ("v", _ATTENTION + r"v"),
    ("o", r"o_proj|out_lin"),
    ("o", _ATTENTION + r"(?:output\.)?(?:dense|out_proj|c_proj|Wo|o)"),
    ("gate_up", r"gate_up_proj"),
    ("gate", r"gate_proj"),
    ("up", r"up_proj|fc1|fc_in|c_fc|dense_h_to_4h|intermediate\.dense|ffn|ffn\.lin1"),
    ("down", r"down_proj|fc2|fc_out|dense_4h_to_h|output\.dense|ffn_output|ffn\.lin2|mlp\.c_proj|mlp\.Wo"),
)
"""Kinds by the end of a module's name within its block; the first pattern that fits decides."""

_KIND_PATTERNS = [(kind, re.compile(rf"(?:.*\.)?(?:{pattern})")) for kind, pattern in KINDS]


@dataclass(frozen=True)
class Exclusion:
    """A parameter of the blocks, with two or more axes, that is left out on purpose."""

    name: str
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Coverage:
    """What is scored and what is not; together all parameters with two or more axes in the blocks.

    Attributes:
        maps: the linear maps, in the order of the blocks and of the modules within them.
        excluded: the declared exclusions.
        blocks: the modules that are layers 1 … L.
    """

    maps: tuple[LinearMap, ...]
    excluded: tuple[Exclusion, ...]
    blocks: tuple[nn.Module, ...]


def is_linear(module: nn.Module) -> bool:
    """Whether the module is a linear map whose weight is a plain matrix parameter."""
    return isinstance(module, nn.Linear | Conv1D) and isinstance(module._parameters.get("weight"), nn.Parameter)


def kind_of(name: str) -> str:
    """The role of a linear map, from its name within its block: ``self_attn.q_proj`` -> ``q``.

    A name that fits none of KINDS stands for itself (its last part).
    """
    for kind, pattern in _KIND_PATTERNS:
        if pattern.fullmatch(name):
            return kind
    return name.rpartition(".")[2]


def find_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The transformer blocks with their names, in order: the elements of the one outermost list with linear maps.

    A block that stands in the list several times (shared layers) is one block.

    Raises:
        ModelError: no such list, several of them (an encoder-decoder, several towers), or a block without a linear map.
    """
    lists = list(_block_lists(model, ""))
    if not lists:
        raise ModelError(
            f"{type(model).__name__}: no list of blocks with linear maps found (an nn.ModuleList whose elements "
            "contain nn.Linear or Conv1D); such a model cannot be scored by layer."
        )
    if len(lists) > 1:
        raise ModelError(
            f"{type(model).__name__}: {len(lists)} lists of blocks ({', '.join(name for name, _ in lists)}), one is "
            "needed. Encoder-decoders and models with several towers are not supported; load one part by itself."
        )
    name, module_list = lists[0]
    blocks: list[tuple[str, nn.Module]] = []
    for index, block in enumerate(module_list):
        if any(block is seen for _, seen in blocks):
            continue
        if not _holds_linear(block):
            raise ModelError(f"{type(model).__name__}: block {name}.{index} holds no linear map, so it has no pattern.")
        blocks.append((f"{name}.{index}", block))
    return blocks


def linear_maps(model: nn.Module) -> Coverage:
    """Every linear map of every block, checked against all parameters with two or more axes in the blocks.

    Raises:
        ModelError: the model is quantised, has unmerged adapters, or holds parameters that are neither weights of a
            linear map nor declared exclusions (fused experts, convolutions): it would be scored in part.
    """
    refuse_quantised(model)
    _refuse_adapters(model)
    blocks = find_blocks(model)
    maps: list[LinearMap] = []
    excluded: list[Exclusion] = []
    remainder: list[tuple[str, tuple[int, ...]]] = []
    layer_of: dict[int, int] = {}
    for layer, (block_name, block) in enumerate(blocks, start=1):
        captured = [
            LinearMap(
                f"{block_name}.{name}" if name else block_name, module, layer, kind_of(name), isinstance(module, Conv1D)
            )
            for name, module in block.named_modules()
            if is_linear(module)
        ]
        _refuse_sharing_across_blocks(captured, layer_of)
        maps += captured
        weights = {id(linear.parameter) for linear in captured}
        for exclusion in _other_parameters(block_name, block, weights):
            if exclusion.reason:
                excluded.append(exclusion)
            else:
                remainder.append((exclusion.name, exclusion.shape))
    if remainder:
        raise _remainder_error(model, remainder)
    return Coverage(tuple(maps), tuple(excluded), tuple(block for _, block in blocks))


def refuse_quantised(model: nn.Module) -> None:
    """Raise ModelError, naming the method, where weights are stored in anything but 16, 32 or 64-bit floats."""
    refuse_quantised_config(getattr(model, "config", None), type(model).__name__)
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        packed = {"qweight", "weight_packed"} & (module._buffers.keys() | module._parameters.keys())
        if packed or (isinstance(module, nn.Linear) and weight is not None and weight.dtype not in FLOAT_TYPES):
            stored = "packed integers" if weight is None else str(weight.dtype).removeprefix("torch.")
            raise ModelError(
                f"{type(model).__name__}: quantised model: {name} is a {type(module).__name__} with {stored} weights; "
                "its weights have no gradient pattern. Use the unquantised checkpoint."
            )


def refuse_quantised_config(config: PretrainedConfig | None, what: str) -> None:
    """Raise ModelError where the configuration says that the weights are quantised; names the method."""
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return
    as_dict = quantisation if isinstance(quantisation, dict) else getattr(quantisation, "to_dict", dict)()
    method = as_dict.get("quant_method") or "an unnamed method"
    raise ModelError(
        f"{what}: quantised with {getattr(method, 'value', method)}; quantised weights have no gradient pattern. "
        "Use the unquantised checkpoint."
    )


def _block_lists(module: nn.Module, name: str) -> Iterator[tuple[str, nn.ModuleList]]:
    """Outermost module lists with linear maps inside."""
    for child_name, child in module.named_children():
        full_name = f"{name}.{child_name}" if name else child_name
        if isinstance(child, nn.ModuleList) and _holds_linear(child):
            yield full_name, child
        elif not isinstance(child, nn.ModuleList):
            yield from _block_lists(child, full_name)


def _holds_linear(module: nn.Module) -> bool:
    return any(is_linear(inner) for inner in module.modules())


def _other_parameters(block_name: str, block: nn.Module, weights: set[int]) -> Iterator[Exclusion]:
    """Parameters with two or more axes that are not in ``weights``; an empty reason where none is declared."""
    seen: set[int] = set()
    for module_name, module in block.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim < 2 or id(parameter) in weights or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            full_name = ".".join(part for part in (block_name, module_name, name) if part)
            yield Exclusion(full_name, tuple(parameter.shape), _reason(module))


def _reason(module: nn.Module) -> str:
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.endswith("Norm"):
        return "norm"
    return ""


def _refuse_sharing_across_blocks(captured: list[LinearMap], layer_of: dict[int, int]) -> None:
    for linear in captured:
        first = layer_of.setdefault(id(linear.parameter), linear.layer)
        if first != linear.layer:
            raise ModelError(
                f"{linear.name}: its weight is shared between layers {first} and {linear.layer}, which are different "
                "blocks; such a parameter belongs to no one layer and is not supported."
            )


def _refuse_adapters(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if any(base.__module__.startswith("peft.") for base in type(module).__mro__):
            raise ModelError(
                f"{type(model).__name__}: unmerged PEFT adapter ({name or 'the model'} is a {type(module).__name__}); "
                "call merge_and_unload() on the model first, or load the adapter's folder."
            )


def _remainder_error(model: nn.Module, remainder: list[tuple[str, tuple[int, ...]]]) -> ModelError:
    shown = ", ".join(f"{name} {list(shape)}" for name, shape in remainder[:3])
    more = f" and {len(remainder) - 3} more" if len(remainder) > 3 else ""
    return ModelError(
        f"{type(model).__name__}: parameters in the blocks that are not the weight of a linear map: {shown}{more}; "
        "they cannot be scored, and the model would be scored in part only. Models with fused experts, convolutions or "
        "functional attention are not supported; choose a dense transformer."
    )
