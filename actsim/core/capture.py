"""Capture the inputs and output gradients of every linear map while the backward pass runs.

Weights never require a gradient: the backward pass carries the gradients of activations alone, and each map's
trace is handed on the moment the last use of its parameter has its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from actsim.core.batch import Batch
from actsim.core.linears import LinearMap
from actsim.core.objectives import widened
from actsim.core.precision import to_float64
from actsim.core.trace import Segment, Trace, TraceHandler
from actsim.errors import ModelError, NumericError


class GradientOverflow(NumericError):
    """A half-precision gradient left its range; the pass may be repeated with a smaller scale."""


SENSITIVITY_FLOOR = 1e-6
"""A D whose Σ |G ⊙ Y| is below this share of |D| hardly depends on the activations: its gradient is noise."""

SENSITIVITY_ROUNDINGS = 32
"""The same in units of the model's own rounding, where that is coarser. The norm of one LayerNormed token of fresh
weights, whose true gradient is zero, has up to 15 of them at BERT-base's size; of trained models the sum is 10 |D|."""


@dataclass
class Capture:
    """State of one open capture: the uses seen in the forward pass, and the gradients that have arrived.

    Attributes:
        sensitivity_floor: share of |D| that Σ |G ⊙ Y| over the maps has to reach: how strongly D depends on the
            captured activations at all. It is added up until every sentence has reached it.
        last_layer: the layer in which a read-out of one position leaves most maps a single row, see ``_only_row``, and
            whose Y are kept for that sum. It hardly ever needs those of other layers, which are then computed again.
    """

    batch: Batch
    handler: TraceHandler
    scale: float = 1.0
    sensitivity_floor: float = SENSITIVITY_FLOOR
    last_layer: int = 0
    _sensitivity: Tensor = field(init=False)
    _floor: Tensor = field(init=False)
    _sensitive: bool = field(default=False, init=False)
    _uses: dict[int, int] = field(default_factory=dict, init=False)
    _arrived: dict[int, list[Segment]] = field(default_factory=dict, init=False)
    _maps: dict[int, LinearMap] = field(default_factory=dict, init=False)
    _outputs: list[tuple[LinearMap, Tensor]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._sensitivity = torch.zeros(len(self.batch.labels), dtype=torch.float64)
        self._floor = torch.zeros_like(self._sensitivity)

    def observe(self, linear: LinearMap, inputs: Tensor, output: Tensor) -> Tensor:
        """Note one use of ``linear`` in the forward pass and wait for the gradient of its output.

        Returns:
            What the model goes on with: the output, or a copy of it where nothing before it has a gradient. A leaf
            could not be modified in place, which some models do.
        """
        if not torch.is_grad_enabled():
            return output
        self._outputs.append((linear, _sums(self._by_sentence(linear, output.detach()))))
        if not output.requires_grad:
            output = output.requires_grad_().clone()
        key = id(linear.parameter)
        self._maps.setdefault(key, linear)
        self._uses[key] = self._uses.get(key, 0) + 1
        held = output.detach() if linear.layer == self.last_layer else None
        output.register_hook(partial(self._receive, key, inputs.detach(), inputs._version, held))
        return output

    def check_forward(self, values: Float[Tensor, " sentences"]) -> None:
        """To be called with the read-outs between the forward and the backward pass.

        Raises:
            NumericError: an output or a read-out is not finite; names the sentence and the first such module.
        """
        sums, self._outputs = self._outputs, []
        first = sums[0][1].device if sums else None
        if sums and not _all_finite(torch.stack([own.to(first) for _, own in sums])):
            linear, own = next(entry for entry in sums if not bool(entry[1].isfinite().all()))
            raise self._not_finite(linear, "output", own, NumericError)
        if not bool(values.isfinite().all()):
            index = int((~values.isfinite()).nonzero()[0])
            raise NumericError(
                f"{self.batch.labels[index]}: the read-out D is {float(values[index])}; use --dtype float32."
            )
        self._floor = self.sensitivity_floor * to_float64(values).abs()

    def check_sensitivity(self, values: Float[Tensor, " sentences"]) -> None:
        """To be called after the backward pass.

        Raises:
            NumericError: Σ |G ⊙ Y| of a sentence, over all maps, is below ``sensitivity_floor`` · |D|.
        """
        flat = self._sensitivity < self._floor
        if bool(flat.any()):
            index = int(flat.nonzero()[0])
            raise NumericError(
                f"{self.batch.labels[index]}: the read-out D = {float(values[index]):.4g} hardly depends on the "
                f"activations (sum of |gradient * activation| = {float(self._sensitivity[index]):.2g}): it is nearly "
                "constant, as the norm of one LayerNormed token is; choose another objective or pooling."
            )

    def _receive(self, key: int, inputs: Tensor, version: int, output: Tensor | None, grad: Tensor) -> None:
        linear = self._maps[key]
        if inputs._version != version:
            raise ModelError(
                f"{linear.name}: the model overwrites the input of this map after using it, so its gradient cannot be "
                "formed; change the model's code to leave the input alone."
            )
        rows, grads = self._by_sentence(linear, inputs), self._by_sentence(linear, grad)
        sums = _sums(grads)
        if not _all_finite(sums):
            kind = GradientOverflow if grads.dtype == torch.float16 else NumericError
            raise self._not_finite(linear, "gradient", sums, kind)
        if not self._sensitive:
            outputs = linear.outputs(inputs) if output is None else output
            products = widened(grads) * widened(self._by_sentence(linear, outputs))
            self._sensitivity += to_float64(_sums(products.abs_())) / self.scale
            self._sensitive = not bool((self._sensitivity < self._floor).any())
        whole = rows.shape[1] == self.batch.input_ids.shape[1]
        uses = self._arrived.setdefault(key, [])
        uses.append(Segment(rows, grads, self.batch.sizes if whole else (rows.shape[1],) * len(rows)))
        if len(uses) == self._uses[key]:
            self._hand_on(key)

    def _hand_on(self, key: int) -> None:
        uses = self._arrived.pop(key)
        self._uses.pop(key)
        linear, segment = self._maps[key], _side_by_side(uses)
        if linear.layer == self.last_layer:
            segment = _only_row(segment)
        self.handler(Trace(linear, (segment,), self.scale))

    def flush(self) -> None:
        """Hand on the parameters some of whose uses D does not depend on: those uses add nothing."""
        for key in list(self._arrived):
            self._hand_on(key)

    def _by_sentence(self, linear: LinearMap, tensor: Tensor) -> Tensor:
        """Rows of a map's input or output as [sentences, rows, width], by the shapes it was called with."""
        sentences, tokens = self.batch.input_ids.shape
        width = tensor.shape[-1]
        if sentences == 1:
            return tensor.reshape(1, -1, width)
        if tensor.ndim == 3 and tensor.shape[:2] == (sentences, tokens):
            return tensor
        if tensor.ndim == 2 and tensor.shape[0] == sentences * tokens:
            return tensor.reshape(sentences, tokens, width)
        raise ModelError(
            f"{linear.name}: rows of shape {tuple(tensor.shape)} cannot be told apart by sentence in a batch of "
            f"{sentences} x {tokens} tokens; this model has to run one sentence at a time."
        )

    def _not_finite(self, linear: LinearMap, what: str, sums: Tensor, kind: type[NumericError]) -> NumericError:
        label = self.batch.labels[int((~sums.isfinite()).nonzero()[0])]
        return kind(
            f"{label}: layer {linear.layer}, module {linear.name}: the {what} is not finite in "
            f"{linear.parameter.dtype}; use --dtype float32."
        )


def _all_finite(values: Tensor) -> bool:
    """Whether every value is finite: their sum tells, but for one that overflows."""
    return math.isfinite(float(values.sum())) or bool(values.isfinite().all())


def _sums(tensor: Float[Tensor, "sentences rows width"]) -> Float[Tensor, " sentences"]:
    """Sum of each sentence's values, not finite where one of them is not."""
    return tensor.sum(dim=(1, 2), dtype=widened(tensor[:0]).dtype)


@contextmanager
def capture_linears(
    maps: Sequence[LinearMap], batch: Batch, handler: TraceHandler, *, scale: float = 1.0
) -> Iterator[Capture]:
    """While open, every use of ``maps`` is traced; ``handler`` gets each parameter's trace during the backward pass.

    The model's modules are left as they were found, also after an exception.

    Args:
        maps: the linear maps to trace.
        batch: the sentences that go through; rows are told apart by its shape.
        handler: called once per parameter with its Trace.
        scale: what D is multiplied by before the backward pass.

    Raises:
        ModelError: a map's rows cannot be told apart by sentence, or its input is overwritten after use.
        NumericError: an output or a gradient is not finite; names sentence, layer and module.
    """
    rounding = torch.finfo(maps[0].parameter.dtype).eps
    floor = max(SENSITIVITY_FLOOR, SENSITIVITY_ROUNDINGS * rounding)
    capture = Capture(batch, handler, scale, floor, max(linear.layer for linear in maps))
    handles = []

    def hook(
        linear: LinearMap, _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
    ) -> Tensor:
        return capture.observe(linear, args[0] if args else next(iter(kwargs.values())), output)

    try:
        for linear in maps:
            handles.append(linear.module.register_forward_hook(partial(hook, linear), with_kwargs=True))
        yield capture
        capture.flush()
    finally:
        for handle in handles:
            handle.remove()


def _side_by_side(uses: Sequence[Segment]) -> Segment:
    """The uses of one parameter as one segment: Gᵀ X of the whole is the sum over the uses."""
    if len(uses) == 1:
        return uses[0]
    before = sum(use.inputs.shape[1] for use in uses[:-1])
    return Segment(
        torch.cat([use.inputs for use in uses], dim=1),
        torch.cat([use.grads for use in uses], dim=1),
        tuple(before + length for length in uses[-1].lengths),
    )


def _only_row(segment: Segment) -> Segment:
    """The one row of each sentence that has a gradient, where none has more: the others add nothing to Gᵀ X.

    So it is in the last block for a read-out of one position, whose queries, attention output and MLP reach it
    through that position alone: Gᵀ X has rank 1 and costs T times less.
    """
    reached = (segment.grads != 0).any(dim=2)
    if segment.grads.shape[1] <= 1 or int(reached.sum(dim=1).max()) > 1:
        return segment
    sentence = torch.arange(len(reached), device=reached.device)
    row = reached.int().argmax(dim=1)
    inputs, grads = (part[sentence, row].unsqueeze(1) for part in (segment.inputs, segment.grads))
    return Segment(inputs, grads, (1,) * len(reached))
