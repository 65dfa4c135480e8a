"""Which rows and columns of a block's linear maps belong to which attention head or MLP neuron.

Read off the maps' shapes and the configuration; where these do not settle the layout, it is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actsim.core.linears import LinearMap

QKV_BLOCKS = ("gpt2", "phi3", "modernbert")
"""Model types whose fused query-key-value rows are all queries, then all keys, then all values, head by head."""
QKV_BY_HEAD = ("gpt_neox",)
"""Model types whose fused rows go head by head: query, key and value of head 0, then of head 1, …"""
GATE_UP_HALVES = {"phi3": "gate_up", "modernbert": "Wi"}
"""Model type -> kind of its fused MLP input map, whose two halves of rows belong to the same neurons."""

ROWS, COLUMNS = 0, 1
"""Axes of a weight [d_out, d_in]."""


@dataclass(frozen=True)
class Slot:
    """Which units of a map are which heads or neurons: ``count`` runs of ``width`` units each, from ``start``.

    Attributes:
        linear: the map.
        axis: ROWS or COLUMNS of its weight.
        role: the heads' role; ``neuron`` for neurons.
        start: first unit.
        count: number of heads or neurons.
        width: units per head; 1 for neurons.
    """

    linear: LinearMap
    axis: int
    role: str
    start: int
    count: int
    width: int = 1


def head_layout(maps: Sequence[LinearMap], config: Any) -> list[Slot] | str:
    """Which rows and columns of a layer's attention maps are which heads; a reason where that is not certain.

    The head width is the configuration's ``head_dim``, or hidden size / heads. Head h of separate q, k, v and o maps
    has units h·width … (h+1)·width - 1, the convention of all of transformers' attention modules; of fused maps only
    known layouts are read.

    Args:
        maps: the linear maps of one layer.
        config: the model's configuration.
    """
    config = config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    hidden = getattr(config, "hidden_size", None)
    width = getattr(config, "head_dim", None) or (hidden // heads if hidden and isinstance(heads, int) else None)
    if not isinstance(heads, int) or not isinstance(width, int):
        return "the configuration gives no number or width of heads"
    found = {kind: [linear for linear in maps if linear.kind == kind] for kind in ("q", "k", "v", "o", "qkv")}
    if len(found["o"]) != 1 or found["o"][0].weight.shape[1] != heads * width:
        return f"no single output map whose columns are {heads} heads of {width}"
    if len(found["qkv"]) == 1 and not (found["q"] or found["k"] or found["v"]):
        return _fused_heads(found["qkv"][0], found["o"][0], heads, width, config.model_type)
    if any(len(found[kind]) != 1 for kind in "qkv"):
        return "not one map each for queries, keys and values"
    q, k, v = (found[kind][0] for kind in "qkv")
    key_value, odd = divmod(k.weight.shape[0], width)
    if q.weight.shape[0] != heads * width or odd or k.weight.shape[0] != v.weight.shape[0] or heads % key_value:
        return f"the rows of q, k and v are not {heads} heads of {width} and a divisor of them"
    query_role, key_value_role = _roles(heads, key_value)
    return [
        Slot(q, ROWS, query_role, 0, heads, width),
        Slot(k, ROWS, key_value_role, 0, key_value, width),
        Slot(v, ROWS, key_value_role, 0, key_value, width),
        Slot(found["o"][0], COLUMNS, query_role, 0, heads, width),
    ]


def _fused_heads(qkv: LinearMap, o: LinearMap, heads: int, width: int, model_type: str) -> list[Slot] | str:
    rows = qkv.weight.shape[0]
    if model_type in QKV_BY_HEAD and rows == 3 * heads * width:
        return [Slot(qkv, ROWS, "attention", 0, heads, 3 * width), Slot(o, COLUMNS, "attention", 0, heads, width)]
    key_value, odd = divmod(rows - heads * width, 2 * width)
    if model_type not in QKV_BLOCKS or odd or key_value < 1 or heads % key_value:
        return f"the order of rows in the fused map {qkv.name.rpartition('.')[2]} of {model_type} is not known"
    query_role, key_value_role = _roles(heads, key_value)
    return [
        Slot(qkv, ROWS, query_role, 0, heads, width),
        Slot(qkv, ROWS, key_value_role, heads * width, key_value, width),
        Slot(qkv, ROWS, key_value_role, (heads + key_value) * width, key_value, width),
        Slot(o, COLUMNS, query_role, 0, heads, width),
    ]


def _roles(heads: int, key_value: int) -> tuple[str, str]:
    return ("attention", "attention") if heads == key_value else ("query", "key-value")


def neuron_layout(maps: Sequence[LinearMap], config: Any) -> list[Slot] | str:
    """Which rows and columns of a layer's MLP maps are which neurons; a reason where that is not certain.

    Args:
        maps: the linear maps of one layer.
        config: the model's configuration.
    """
    fused_kind = GATE_UP_HALVES.get(config.get_text_config().model_type)
    down = [linear for linear in maps if linear.kind == "down"]
    inputs = [linear for linear in maps if linear.kind in ("gate", "up")]
    fused = [linear for linear in maps if linear.kind == fused_kind]
    if len(down) != 1:
        return f"{len(down)} maps of the kind down"
    width = down[0].weight.shape[1]
    last = Slot(down[0], COLUMNS, "neuron", 0, width)
    if len(fused) == 1 and not inputs and fused[0].weight.shape[0] == 2 * width:
        return [Slot(fused[0], ROWS, "neuron", 0, width), Slot(fused[0], ROWS, "neuron", width, width), last]
    kinds = [linear.kind for linear in inputs]
    if "up" not in kinds or len(set(kinds)) < len(kinds) or any(m.weight.shape[0] != width for m in inputs):
        return f"the maps before down do not have one row for each of its {width} columns"
    return [*(Slot(linear, ROWS, "neuron", 0, width) for linear in inputs), last]
