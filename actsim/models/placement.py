"""Where the parts of a model lie when it is spread over several devices, and what of that can be scored.

accelerate lays a model out by a device map and sends every block's inputs to where the block lies. A map's trace stays
on the map's device; only sums are brought to the CPU. Needs the extra ``accelerate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from actsim.core.linears import LinearMap
from actsim.errors import ModelError, UsageError
from actsim.models.devices import free_memory, move

BESIDE_WEIGHTS = 4 * 2**30
"""Bytes that pruning a whole model on an accelerator may take there beside its weights: the hidden states of all
calibration samples (2 GiB for 128 samples of 2048 tokens, 4096 wide, in 16 bits) and the scores of a map in float32."""

DeviceMap = str | Mapping[str, str | int | torch.device]
"""The name of a layout, or module name -> device."""


def settle(model: nn.Module, place: torch.device, one_block_at_a_time: bool | None) -> tuple[str, list[str]]:
    """Move a model to its device, or leave it on the CPU for its blocks to go there one at a time.

    Args:
        model: on the CPU.
        place: the device that was asked for.
        one_block_at_a_time: None for where the device has less room than the weights and BESIDE_WEIGHTS.

    Returns:
        The device to which blocks go, empty where the whole model went; and what a reader must know of that.

    Raises:
        UsageError: one at a time on a CPU.
        ModelError: see ``move``.
    """
    if one_block_at_a_time and place.type == "cpu":
        raise UsageError("--one-block-at-a-time needs an accelerator, and the device is cpu; leave it out.")
    why = "on request" if one_block_at_a_time else ""
    if one_block_at_a_time is None and place.type != "cpu":
        why = _why_one_block(model, place)
    if why:
        return str(place), [f"the model lies on the CPU and its blocks go to {place} one at a time: {why}"]
    move(model, place)
    return "", []


def _why_one_block(model: nn.Module, place: torch.device) -> str:
    """What is short on a device; empty where nothing is."""
    needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) + BESIDE_WEIGHTS
    free = free_memory(str(place))
    return "" if needed <= free else f"{free / 2**30:.1f} GiB are free there, {needed / 2**30:.1f} GiB wanted"


def refuse_offloaded(model: nn.Module) -> None:
    """Raise ModelError where parameters have no values in place: accelerate keeps them in memory or on disk instead.

    Their weight is fetched for the forward pass and gone when its gradient arrives.
    """
    parameters = dict(model.named_parameters())
    absent = [name for name, parameter in parameters.items() if parameter.is_meta]
    if absent:
        raise ModelError(
            f"{type(model).__name__}: {len(absent)} of {len(parameters)} parameters do not fit on the devices and are "
            f"offloaded, first {absent[0]}; patterns need every weight in place. Use more or larger devices, "
            "--dtype bfloat16, or --device cpu."
        )


def refuse_split_blocks(blocks: Sequence[nn.Module], maps: Sequence[LinearMap]) -> None:
    """Raise ModelError where a block lies on several devices: its layer's patterns are compared as a whole."""
    for layer, block in enumerate(blocks, start=1):
        devices = sorted({str(parameter.device) for parameter in block.parameters()})
        if len(devices) > 1:
            first = next(linear.name for linear in maps if linear.layer == layer)
            raise ModelError(
                f"layer {layer} (with {first}) lies on {' and '.join(devices)}; a block has to lie on one device: "
                "give a device map by whole blocks, or auto."
            )


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids have to be: the device of the input embedding."""
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    weight = getattr(embedding, "weight", None)
    return weight.device if isinstance(weight, torch.Tensor) else model.device


def devices_by_module(model: nn.Module) -> dict[str, str]:
    """Name -> device of the largest modules that lie on one device each; empty where the whole model does."""
    return {} if len(_devices(model)) < 2 else dict(_placed(model, ""))


def _placed(module: nn.Module, name: str) -> Iterator[tuple[str, str]]:
    devices = _devices(module)
    if len(devices) == 1:
        yield name, devices.pop()
        return
    prefix = f"{name}." if name else ""
    for tensor_name, tensor in module.named_parameters(recurse=False):
        yield prefix + tensor_name, str(tensor.device)
    for child_name, child in module.named_children():
        yield from _placed(child, prefix + child_name)


def _devices(module: nn.Module) -> set[str]:
    return {str(parameter.device) for parameter in module.parameters()}
