"""What a linear map leaves behind of some sentences: its inputs and the gradients of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from actsim.core.linears import LinearMap
from actsim.core.objectives import widened


@dataclass(frozen=True)
class Segment:
    """X and G of the sentences of one pass, padded to the longest of them.

    Attributes:
        inputs: X, in the model's type.
        grads: G, multiplied by the trace's scale, in the model's type; rows of padding are zero.
        lengths: rows of each sentence up to its last own one; what comes after adds nothing.
    """

    inputs: Float[Tensor, "sentences rows d_in"]
    grads: Float[Tensor, "sentences rows d_out"]
    lengths: tuple[int, ...]

    @classmethod
    def of(
        cls,
        inputs: Float[Tensor, "sentences rows d_in"],
        grads: Float[Tensor, "sentences rows d_out"],
        valid: Bool[Tensor, "sentences rows"],
    ) -> Segment:
        """A segment whose sentences' own rows are the ``valid`` ones."""
        place = torch.arange(1, valid.shape[1] + 1, device=valid.device)
        return cls(inputs, grads, tuple((valid * place).amax(dim=1).tolist()))

    def widened(self, scale: float) -> Segment:
        """In float32 or wider, G divided by ``scale``."""
        grads = widened(self.grads)
        return Segment(widened(self.inputs), grads / scale if scale != 1.0 else grads, self.lengths)


@dataclass(frozen=True)
class Trace:
    """What the sentences of a batch left at one linear map: X and G = ∂D/∂y of every use, side by side along the rows.

    The gradient of D with respect to W is Gᵀ X, sentence by sentence.

    Attributes:
        map: the linear map.
        segments: the sentences in their order, those that went through the model together in one segment.
        scale: the power of two that D was multiplied by before the backward pass.
    """

    map: LinearMap
    segments: tuple[Segment, ...]
    scale: float = 1.0

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return sum(len(segment.lengths) for segment in self.segments)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Rows of each sentence."""
        return tuple(length for segment in self.segments for length in segment.lengths)

    @property
    def device(self) -> torch.device:
        """Where X and G lie."""
        return self.segments[0].inputs.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that products of X and G have."""
        return torch.promote_types(self.segments[0].inputs.dtype, self.segments[0].grads.dtype)

    def operands(self) -> list[Segment]:
        """The segments in float32 or wider, the scale divided out."""
        return [segment.widened(self.scale) for segment in self.segments]

    def sentence(self, index: int) -> tuple[Float[Tensor, "rows d_in"], Float[Tensor, "rows d_out"]]:
        """X and G of one sentence, its own rows, in float32 or wider, the scale divided out."""
        for segment in self.segments:
            if index < len(segment.lengths):
                one, rows = slice(index, index + 1), segment.lengths[index]
                own = Segment(segment.inputs[one, :rows], segment.grads[one, :rows], (rows,)).widened(self.scale)
                return own.inputs[0], own.grads[0]
            index -= len(segment.lengths)
        raise IndexError(f"the trace has {self.sentences} sentences")


TraceHandler = Callable[[Trace], None]


class Joined:
    """Traces of several passes over parts of a batch, handed on as one trace of the whole batch.

    Everything but the last part's is held until the last part's arrives.

    Args:
        handler: called with the joined trace of each parameter.
        sizes: number of sentences of each part, in the batch's order.
        last: the part whose traces come last.
    """

    def __init__(self, handler: TraceHandler, sizes: tuple[int, ...], last: int) -> None:
        self._handler, self._sizes, self._last = handler, sizes, last
        self._waiting: dict[int, dict[int, Trace]] = {}

    def take(self, part: int, trace: Trace) -> None:
        """The trace of the sentences of ``part``."""
        key = id(trace.map.parameter)
        self._waiting.setdefault(key, {})[part] = trace
        if part == self._last:
            self._hand_on(key)

    def flush(self) -> None:
        """Hand on what the last part did not use."""
        for key in list(self._waiting):
            self._hand_on(key)

    def _hand_on(self, key: int) -> None:
        traces = self._waiting.pop(key)
        first = next(iter(traces.values()))
        segments: list[Segment] = []
        for part, size in enumerate(self._sizes):
            segments += traces[part].segments if part in traces else (unused(first, size),)
        self._handler(Trace(first.map, tuple(segments), first.scale))


def unused(like: Trace, sentences: int) -> Segment:
    """What ``sentences`` leave that a map like that of ``like`` was not used for: no rows."""
    d_out, d_in = like.map.weight.shape
    segment = like.segments[0]
    return Segment(
        segment.inputs.new_zeros((sentences, 0, d_in)),
        segment.grads.new_zeros((sentences, 0, d_out)),
        (0,) * sentences,
    )
