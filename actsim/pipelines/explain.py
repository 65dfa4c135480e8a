"""Where the common activation of two sentences sits: by layer, kind, attention head and MLP neuron."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actsim.config import check_shares
from actsim.core.consumers import PairNeurons
from actsim.core.linears import LinearMap
from actsim.core.objectives import OBJECTIVES
from actsim.core.passes import consume
from actsim.core.scoring import Pattern
from actsim.errors import NumericError, UsageError
from actsim.models.tokenise import sentence_batch
from actsim.models.units import ROWS, Slot, head_layout, neuron_layout

if TYPE_CHECKING:
    from actsim.config import Scoring
    from actsim.models.loading import LoadedModel


@dataclass(frozen=True)
class LayerShare:
    """A layer's share of the common activation."""

    layer: int
    share: float


@dataclass(frozen=True)
class KindShare:
    """The share of one kind of linear map of a layer; those of a layer sum to the layer's share."""

    layer: int
    kind: str
    share: float


@dataclass(frozen=True)
class HeadShare:
    """The share of one attention head.

    Attributes:
        layer: counted from 1.
        role: ``attention`` where every head has its own keys and values; else ``query`` (rows of q, columns of o) or
            ``key-value`` (rows of k and v, shared by several query heads).
        head: position among the heads of this role, from 0.
        share: the sum of ``kinds``.
        kinds: kind -> share.
    """

    layer: int
    role: str
    head: int
    share: float
    kinds: Mapping[str, float]


@dataclass(frozen=True)
class NeuronShare:
    """The share of one MLP neuron: its row of gate and up, its column of down.

    Attributes:
        layer: counted from 1.
        neuron: position in the MLP's inner width, from 0.
        share: the sum of ``kinds``.
        kinds: kind -> share.
    """

    layer: int
    neuron: int
    share: float
    kinds: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Shares of the common activation Σ P_a P_b, the numerator of the patterns' cosine, over all layers.

    Attributes:
        total: Σ P_a P_b over all scored parameters, in squared units of D.
        layers: every layer; the shares sum to 1.
        kinds: every kind of every layer, in block order.
        heads: the heads with the largest shares, largest first.
        neurons: the MLP neurons with the largest shares, largest first.
        n_heads: number of heads that were compared, 0 where they are not resolved.
        n_neurons: number of neurons that were compared, 0 where they are not resolved.
        notes: one line each, which layers' heads or neurons are not resolved and why.
    """

    total: float
    layers: tuple[LayerShare, ...]
    kinds: tuple[KindShare, ...]
    heads: tuple[HeadShare, ...]
    neurons: tuple[NeuronShare, ...]
    n_heads: int
    n_neurons: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A plain copy, ready for JSON."""
        return asdict(self)


def explain(a: str, b: str, loaded: LoadedModel, scoring: Scoring | None = None, top: int = 10) -> Explanation:
    """Split the common activation Σ P_a P_b of two sentences by layer, kind, attention head and MLP neuron.

    A unit's part is the sum of P_a ⊙ P_b over its rows and columns, divided by the sum over all layers. Heads and
    neurons are read off the shapes of the maps; where these do not settle the layout it is not guessed.

    Args:
        a: one sentence.
        b: the other.
        loaded: from ``load_model``.
        scoring: read-out, pattern and length; default ``loaded.default_scoring()``. Its measures are not used.
        top: how many heads and how many neurons are listed.

    Raises:
        UsageError: a signed pattern, an empty sentence, or ``top`` below 1.
        NumericError: no parameter is activated by both sentences, or a value that is not finite.
    """
    scoring = scoring or loaded.default_scoring()
    check_shares(scoring.pattern)
    if top < 1:
        raise UsageError(f"--top must be at least 1, got {top}.")
    common = _common_activation(a, b, loaded, scoring)
    total = math.fsum(float(common[linear.name][ROWS].sum()) for linear in loaded.maps)
    if not math.isfinite(total) or total <= 0:
        raise NumericError(
            f"the common activation of the two sentences is {total:.3g}, so nothing has a share of it; "
            "use --dtype float32 or choose another objective."
        )
    shares = {name: (rows / total, columns / total) for name, (rows, columns) in common.items()}
    layers, kinds = _by_layer_and_kind(loaded.maps, shares)
    head_slots, head_notes = _resolve(loaded, "heads", head_layout)
    neuron_slots, neuron_notes = _resolve(loaded, "neurons", neuron_layout)
    heads = _largest(head_slots, shares, top)
    neurons = _largest(neuron_slots, shares, top)
    return Explanation(
        total,
        layers,
        kinds,
        tuple(HeadShare(*unit) for unit in heads),
        tuple(NeuronShare(layer, index, share, by_kind) for layer, _, index, share, by_kind in neurons),
        _count(head_slots),
        _count(neuron_slots),
        (*head_notes, *neuron_notes),
    )


def _common_activation(a: str, b: str, loaded: LoadedModel, scoring: Scoring) -> dict[str, tuple[Tensor, Tensor]]:
    """Row and column sums of P_a ⊙ P_b of every map, float64; zeros where the read-out does not depend on it."""
    batch = sentence_batch(loaded, [a, b], scoring)
    pattern = Pattern(scoring.absolute, scoring.weighted)
    consumer, _ = consume(
        loaded,
        batch,
        OBJECTIVES[loaded.family].get(scoring.objective),
        lambda: PairNeurons(torch.tensor([[0, 1]]), pattern),
    )
    common = {}
    for linear in loaded.maps:
        if linear.name in consumer.sums:
            rows, columns = consumer.sums[linear.name]
            common[linear.name] = (rows[0], columns[0])
        else:
            d_out, d_in = linear.weight.shape
            common[linear.name] = (
                torch.zeros(d_out, dtype=torch.float64),
                torch.zeros(d_in, dtype=torch.float64),
            )
    return common


def _by_layer_and_kind(
    maps: Sequence[LinearMap], shares: Mapping[str, tuple[Tensor, Tensor]]
) -> tuple[tuple[LayerShare, ...], tuple[KindShare, ...]]:
    kinds: dict[tuple[int, str], float] = {}
    for linear in maps:
        group = (linear.layer, linear.kind)
        kinds[group] = kinds.get(group, 0.0) + float(shares[linear.name][ROWS].sum())
    layers: dict[int, float] = {}
    for (layer, _), share in kinds.items():
        layers[layer] = layers.get(layer, 0.0) + share
    return (
        tuple(LayerShare(layer, share) for layer, share in layers.items()),
        tuple(KindShare(layer, kind, share) for (layer, kind), share in kinds.items()),
    )


def _resolve(
    loaded: LoadedModel, what: str, layout: Callable[[Sequence[LinearMap], Any], list[Slot] | str]
) -> tuple[list[list[Slot]], list[str]]:
    """The slots of every layer that ``layout`` can tell, and one note per reason for those it cannot."""
    slots: list[list[Slot]] = []
    reasons: dict[str, list[int]] = {}
    for layer in range(1, loaded.n_layers + 1):
        found = layout([linear for linear in loaded.maps if linear.layer == layer], loaded.model.config)
        if isinstance(found, str):
            reasons.setdefault(found, []).append(layer)
        else:
            slots.append(found)
    notes = []
    for reason, layers in reasons.items():
        where = "" if len(layers) == loaded.n_layers else f" in layers {', '.join(map(str, layers))}"
        notes.append(f"{what} not resolved{where}: {reason}")
    return slots, notes


Unit = tuple[int, str, int, float, dict[str, float]]
"""Layer, role, position, share, share by kind."""


def _largest(layers: Sequence[Sequence[Slot]], shares: Mapping[str, tuple[Tensor, Tensor]], top: int) -> list[Unit]:
    """The ``top`` heads or neurons of all layers by share, the first of equal ones first."""
    candidates: list[Unit] = []
    for slots in layers:
        by_role: dict[str, dict[str, Tensor]] = {}
        for slot in slots:
            units = shares[slot.linear.name][slot.axis][slot.start : slot.start + slot.count * slot.width]
            kinds = by_role.setdefault(slot.role, {})
            kinds[slot.linear.kind] = kinds.get(slot.linear.kind, 0.0) + units.reshape(slot.count, -1).sum(dim=1)
        for role, kinds in by_role.items():
            whole = torch.stack(list(kinds.values())).sum(dim=0)
            order = torch.sort(whole, descending=True, stable=True).indices[:top]
            candidates += [
                (
                    slots[0].linear.layer,
                    role,
                    index,
                    float(whole[index]),
                    {kind: float(values[index]) for kind, values in kinds.items()},
                )
                for index in order.tolist()
            ]
    return sorted(candidates, key=lambda unit: -unit[3])[:top]


def _count(layers: Iterable[Sequence[Slot]]) -> int:
    """Number of heads or neurons, each role of a layer counted once."""
    return sum(count for slots in layers for count in {slot.role: slot.count for slot in slots}.values())
