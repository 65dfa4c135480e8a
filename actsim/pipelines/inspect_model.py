"""What a model is made of, what of it is scored, and what scoring a pair costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from actsim.core.objectives import OBJECTIVES
from actsim.errors import UsageError
from actsim.models.costs import Flops, Memory, estimate_costs

if TYPE_CHECKING:
    from actsim.config import Scoring
    from actsim.models.loading import LoadedModel

DEFAULT_TOKENS = 32
"""Tokens per sentence that costs are stated for; STS-B sentences have about half as many."""


@dataclass(frozen=True)
class KindDescription:
    """The linear maps of one kind in one layer.

    Attributes:
        kind: q, k, v, o, gate, up, down, qkv, gate_up or the model's own name.
        maps: how many.
        shapes: [d_out, d_in] of each.
        parameters: their weights, one that is shared counted once.
    """

    kind: str
    maps: int
    shapes: tuple[tuple[int, int], ...]
    parameters: int


@dataclass(frozen=True)
class LayerDescription:
    """One block.

    Attributes:
        layer: counted from 1.
        kinds: in order of appearance.
        maps: number of linear maps.
        parameters: scored parameters.
        unscored: the block's other parameters: norms, biases, declared exclusions.
    """

    layer: int
    kinds: tuple[KindDescription, ...]
    maps: int
    parameters: int
    unscored: int


@dataclass(frozen=True)
class ExclusionDescription:
    """A parameter of the blocks, with two or more axes, that is left out on purpose."""

    name: str
    shape: tuple[int, ...]
    reason: str
    parameters: int


@dataclass(frozen=True)
class PartDescription:
    """Parameters outside the blocks: one module beside the list of blocks or beside one of its parents."""

    name: str
    parameters: int


@dataclass(frozen=True)
class ModelDescription:
    """Everything ``actsim info`` shows of a model.

    Attributes:
        name: as in results.
        source_note: where it was found.
        revision: commit on the hub, or None.
        architecture: class of the transformer.
        family: ``causal`` or ``encoder``.
        dtype: floating point type of the weights.
        device: where they are.
        pooling: an encoder's pooling, or None.
        head: modules after the pooling.
        objective: the read-out D that costs are stated for.
        objectives: those the family has, its default first.
        max_tokens: longer sentences are cut.
        batchable: whether several sentences go through side by side.
        batch_note: why not; else empty.
        n_layers: number of layers L.
        layers: all of them.
        exclusions: parameters of the blocks that are left out, with the reason.
        parts: parameters outside the blocks.
        tied: further names of parameters that have several, each counted once.
        scored_parameters: Σ over the layers.
        unscored_in_blocks: norms, biases and exclusions of the blocks.
        total_parameters: scored + unscored in blocks + parts.
        scored_share: scored / total.
        flops: of one pair.
        memory: of one batch.
        notes: one line each, from loading.
    """

    name: str
    source_note: str
    revision: str | None
    architecture: str
    family: str
    dtype: str
    device: str
    pooling: str | None
    head: tuple[str, ...]
    objective: str
    objectives: tuple[str, ...]
    max_tokens: int
    batchable: bool
    batch_note: str
    n_layers: int
    layers: tuple[LayerDescription, ...]
    exclusions: tuple[ExclusionDescription, ...]
    parts: tuple[PartDescription, ...]
    tied: tuple[str, ...]
    scored_parameters: int
    unscored_in_blocks: int
    total_parameters: int
    scored_share: float
    flops: Flops
    memory: Memory
    notes: tuple[str, ...]

    def folded_layers(self) -> list[tuple[int, int, LayerDescription]]:
        """Runs of consecutive layers that differ in nothing but their number: first, last, the first's description."""
        runs: list[tuple[int, int, LayerDescription]] = []
        for layer in self.layers:
            if runs and (runs[-1][2].kinds, runs[-1][2].unscored) == (layer.kinds, layer.unscored):
                runs[-1] = (runs[-1][0], layer.layer, runs[-1][2])
            else:
                runs.append((layer.layer, layer.layer, layer))
        return runs

    def to_dict(self) -> dict[str, Any]:
        """A plain copy, ready for JSON."""
        return asdict(self)


def describe_model(
    loaded: LoadedModel, scoring: Scoring | None = None, tokens_per_sentence: int = DEFAULT_TOKENS
) -> ModelDescription:
    """Describe a model and estimate what scoring costs, by a trial forward pass of one sentence.

    Args:
        loaded: from ``load_model``; left as it was found.
        scoring: read-out, measures and batch size; default ``loaded.default_scoring()``.
        tokens_per_sentence: length that costs are stated for; at most ``scoring.max_tokens`` is used.

    Raises:
        UsageError: an objective that the model does not have, or fewer than one token.
        NumericError: one token, where the objective needs two.
    """
    scoring = scoring or loaded.default_scoring()
    if tokens_per_sentence < 1:
        raise UsageError(f"--tokens must be at least 1, got {tokens_per_sentence}.")
    flops, memory = estimate_costs(loaded, scoring, min(tokens_per_sentence, scoring.max_tokens))
    identity = loaded.identity()
    layers = tuple(_describe_layers(loaded))
    parts = _parts(loaded)
    scored = sum(layer.parameters for layer in layers)
    unscored = sum(layer.unscored for layer in layers)
    total = scored + unscored + sum(part.parameters for part in parts)
    return ModelDescription(
        name=identity["name"],
        source_note=loaded.source.get("note", "a model in memory"),
        revision=identity["revision"],
        architecture=identity["architecture"],
        family=loaded.family,
        dtype=loaded.dtype,
        device=", ".join(loaded.devices),
        pooling=identity["pooling"],
        head=tuple(identity["head"]),
        objective=scoring.objective,
        objectives=tuple(OBJECTIVES[loaded.family]),
        max_tokens=loaded.max_tokens,
        batchable=loaded.batchable,
        batch_note=loaded.batch_note,
        n_layers=loaded.n_layers,
        layers=layers,
        exclusions=tuple(ExclusionDescription(e.name, e.shape, e.reason, math.prod(e.shape)) for e in loaded.excluded),
        parts=parts,
        tied=_further_names(loaded.model),
        scored_parameters=scored,
        unscored_in_blocks=unscored,
        total_parameters=total,
        scored_share=scored / total,
        flops=flops,
        memory=memory,
        notes=loaded.notes,
    )


def _describe_layers(loaded: LoadedModel) -> Iterator[LayerDescription]:
    """Layer by layer; a parameter that several maps or blocks share is counted where it comes first."""
    seen: set[int] = set()
    for layer, block in enumerate(loaded.blocks, start=1):
        own = [linear for linear in loaded.maps if linear.layer == layer]
        kinds = []
        for kind in dict.fromkeys(linear.kind for linear in own):
            maps = [linear for linear in own if linear.kind == kind]
            shapes = tuple((int(linear.weight.shape[0]), int(linear.weight.shape[1])) for linear in maps)
            kinds.append(KindDescription(kind, len(maps), shapes, _count((m.parameter for m in maps), seen)))
        scored = sum(kind.parameters for kind in kinds)
        yield LayerDescription(layer, tuple(kinds), len(own), scored, _count(block.parameters(), seen))


def _count(parameters: Iterable[nn.Parameter], seen: set[int]) -> int:
    """Number of weights in the parameters that are not in ``seen``, where they are entered."""
    count = 0
    for parameter in parameters:
        if id(parameter) not in seen:
            seen.add(id(parameter))
            count += parameter.numel()
    return count


def _parts(loaded: LoadedModel) -> tuple[PartDescription, ...]:
    """Parameters outside the blocks, by the outermost module that holds no block."""
    block_names = [name for name, module in loaded.model.named_modules() if any(module is b for b in loaded.blocks)]
    above = {prefix for name in block_names for prefix in _prefixes(name)}
    in_blocks = {id(parameter) for block in loaded.blocks for parameter in block.parameters()}
    counts: dict[str, int] = {}
    for name, parameter in loaded.model.named_parameters():
        if id(parameter) not in in_blocks:
            part = next((prefix for prefix in _prefixes(name) if prefix not in above), name)
            counts[part] = counts.get(part, 0) + parameter.numel()
    head = _count(loaded.head.parameters(), set())
    return tuple(PartDescription(*part) for part in counts.items()) + (
        (PartDescription("modules after the pooling", head),) if head else ()
    )


def _prefixes(name: str) -> Iterator[str]:
    """``a.b.c`` -> a, a.b: the names of the modules above."""
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _further_names(model: nn.Module) -> tuple[str, ...]:
    first = {name for name, _ in model.named_parameters()}
    return tuple(name for name, _ in model.named_parameters(remove_duplicate=False) if name not in first)
