"""Capture the inputs and output gradients of every linear map while the backward pass runs.

Weights never require a gradient: the backward pass carries the gradients of activations alone, and each map's
trace is handed on the moment the last use of its parameter has its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from actsim.core.batch import Batch
from actsim.core.linears import LinearMap
from actsim.core.objectives import widened
from actsim.core.precision import widest_float
from actsim.errors import ModelError, NumericError


@dataclass(frozen=True)
class Trace:
    """What a batch of sentences left at one linear map: X and G = ∂D/∂y of every use, side by side along the tokens.

    Rows of padding are zero in ``grads``. The gradient of D with respect to W is Gᵀ X, sentence by sentence.

    Attributes:
        map: the linear map.
        inputs: X, in the model's type.
        grads: G, multiplied by ``scale``, in the model's type.
        valid: which rows belong to the sentence.
        scale: the power of two that D was multiplied by before the backward pass.
    """

    map: LinearMap
    inputs: Float[Tensor, "sentences rows d_in"]
    grads: Float[Tensor, "sentences rows d_out"]
    valid: Bool[Tensor, "sentences rows"]
    scale: float = 1.0

    def operands(self) -> tuple[Float[Tensor, "sentences rows d_in"], Float[Tensor, "sentences rows d_out"]]:
        """X and G in float32 or wider, the scale divided out."""
        grads = widened(self.grads)
        return widened(self.inputs), grads / self.scale if self.scale != 1.0 else grads


class GradientOverflow(NumericError):
    """A half-precision gradient left its range; the pass may be repeated with a smaller scale."""


TraceHandler = Callable[[Trace], None]


@dataclass
class Capture:
    """State of one open capture: the uses seen in the forward pass, and the gradients that have arrived.

    Attributes:
        sensitivity: Σ |G ⊙ Y| of each sentence over all maps: how strongly D depends on the captured activations at
            all, in the units of D.
    """

    batch: Batch
    handler: TraceHandler
    scale: float = 1.0
    sensitivity: Tensor = field(init=False)
    _uses: dict[int, int] = field(default_factory=dict, init=False)
    _arrived: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = field(default_factory=dict, init=False)
    _maps: dict[int, LinearMap] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.sensitivity = torch.zeros(len(self.batch.labels), dtype=torch.float64)

    def observe(self, linear: LinearMap, inputs: Tensor, output: Tensor) -> Tensor:
        """Note one use of ``linear`` in the forward pass and wait for the gradient of its output.

        Returns:
            What the model goes on with: the output, or a copy of it where nothing before it has a gradient. A leaf
            could not be modified in place, which some models do.
        """
        if not torch.is_grad_enabled():
            return output
        self._check_finite(linear, "output", self._by_sentence(linear, output.detach()))
        if not output.requires_grad:
            output = output.requires_grad_().clone()
        key = id(linear.parameter)
        self._maps.setdefault(key, linear)
        self._uses[key] = self._uses.get(key, 0) + 1
        output.register_hook(partial(self._receive, key, inputs.detach(), inputs._version, output.detach()))
        return output

    def _receive(self, key: int, inputs: Tensor, version: int, output: Tensor, grad: Tensor) -> None:
        linear = self._maps[key]
        if inputs._version != version:
            raise ModelError(
                f"{linear.name}: the model overwrites the input of this map after using it, so its gradient cannot be "
                "formed; change the model's code to leave the input alone."
            )
        rows, grads, outputs = (self._by_sentence(linear, tensor) for tensor in (inputs, grad, output))
        self._check_finite(linear, "gradient", grads)
        effect = (widened(grads) * widened(outputs)).abs().sum(dim=(1, 2), dtype=widest_float(grads.device))
        self.sensitivity += effect.cpu() / self.scale
        whole = rows.shape[1] == self.batch.input_ids.shape[1]
        valid = self.batch.valid if whole else torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        uses = self._arrived.setdefault(key, [])
        uses.append((rows, grads, valid.to(rows.device)))
        if len(uses) == self._uses[key]:
            self._hand_on(key)

    def _hand_on(self, key: int) -> None:
        uses = self._arrived.pop(key)
        self._uses.pop(key)
        inputs, grads, valid = (
            uses[0] if len(uses) == 1 else (torch.cat(parts, dim=1) for parts in zip(*uses, strict=True))
        )
        self.handler(Trace(self._maps[key], inputs, grads, valid, self.scale))

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

    def _check_finite(self, linear: LinearMap, what: str, tensor: Float[Tensor, "sentences rows width"]) -> None:
        """A non-finite input shows in the output, so outputs and gradients are looked at."""
        if bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            return
        finite = torch.isfinite(tensor).all(dim=2).all(dim=1)
        if bool(finite.all()):
            return
        label = self.batch.labels[int((~finite).nonzero()[0])]
        kind = GradientOverflow if what == "gradient" and tensor.dtype == torch.float16 else NumericError
        raise kind(
            f"{label}: layer {linear.layer}, module {linear.name}: the {what} is not finite in {tensor.dtype}; "
            "use --dtype float32."
        )


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
    capture = Capture(batch, handler, scale)
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


def stack_traces(traces: Mapping[int, Trace], sentences: int) -> Trace:
    """Traces of single sentences at one map as one trace of ``sentences`` of them, padded with zero rows.

    Args:
        traces: position of the sentence -> its trace. A sentence that the map was not used for has zero rows only.
        sentences: number of sentences.
    """
    longest = max(trace.inputs.shape[1] for trace in traces.values())
    first = next(iter(traces.values()))

    def stacked(name: str) -> Tensor:
        like = getattr(first, name)
        rows = torch.zeros((sentences, longest, *like.shape[2:]), dtype=like.dtype, device=like.device)
        for sentence, trace in traces.items():
            part = getattr(trace, name)
            rows[sentence, : part.shape[1]] = part[0]
        return rows

    return Trace(first.map, stacked("inputs"), stacked("grads"), stacked("valid"), first.scale)
