"""One forward and one backward pass over a batch of sentences, every map's trace handed on as it completes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from actsim.core.batch import Batch
from actsim.core.capture import GradientOverflow, Trace, TraceHandler, capture_linears, stack_traces
from actsim.core.hidden import HiddenStates, capture_hidden
from actsim.core.linears import LinearMap
from actsim.core.objectives import Objective, ReadOut, Target
from actsim.core.precision import to_float64
from actsim.errors import NumericError

SENSITIVITY_FLOOR = 1e-6
"""A D whose Σ |G ⊙ Y| is below this share of |D| hardly depends on the activations: its gradient is noise."""

SENSITIVITY_ROUNDINGS = 32
"""The same in units of the model's own rounding, where that is coarser. The norm of one LayerNormed token of fresh
weights, whose true gradient is zero, has up to 15 of them at BERT-base's size; of trained models the sum is 10 |D|."""

HALF_SCALES = (2.0**10, 2.0**5, 1.0)
"""What D is multiplied by in float16, tried in order until every gradient stays in range."""


Consumer = TypeVar("Consumer", bound=TraceHandler)


@runtime_checkable
class ScoredModel(Target, Protocol):
    """What a pass needs of a loaded model."""

    @property
    def maps(self) -> Sequence[LinearMap]:
        """The linear maps that are traced."""
        ...

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks, one per layer."""
        ...

    @property
    def batchable(self) -> bool:
        """Whether rows can be told apart by sentence in a batch."""
        ...


@dataclass(frozen=True)
class PassResult:
    """What a pass leaves beside the traces: the read-outs, and the blocks' hidden states where they were asked for."""

    readout: ReadOut
    hidden: HiddenStates | None


def run_pass(
    target: ScoredModel,
    batch: Batch,
    objective: Objective,
    handler: TraceHandler,
    *,
    hidden: bool = False,
    scale: float = 1.0,
) -> PassResult:
    """Run the sentences of ``batch`` through the model and its gradient back, tracing every linear map.

    A model whose rows cannot be told apart by sentence runs one sentence at a time; its traces are kept until the
    batch is complete, so that ``handler`` sees the same as from any other model.

    Args:
        target: the model, its maps and blocks.
        batch: the sentences.
        objective: the read-out D.
        handler: called with the Trace of each parameter.
        hidden: also pool the hidden states after every block.
        scale: what D is multiplied by before the backward pass; every trace carries it and divides it out.

    Raises:
        NumericError: D or a gradient is not finite, or D hardly depends on the activations. GradientOverflow where a
            smaller scale may help (float16); ``handler`` has then seen a part of the batch only.
    """
    if target.batchable or len(batch.labels) == 1:
        return _pass(target, batch, objective, handler, hidden, scale)
    sentences = len(batch.labels)
    traces: dict[int, dict[int, Trace]] = {}

    def keep(sentence: int, trace: Trace) -> None:
        traces.setdefault(id(trace.map.parameter), {})[sentence] = trace

    results = [
        _pass(target, batch.sentence(index), objective, partial(keep, index), hidden, scale)
        for index in range(sentences)
    ]
    for parameter in list(traces):
        handler(stack_traces(traces.pop(parameter), sentences))
    return _join(results)


@torch.inference_mode(False)
def consume(
    target: ScoredModel,
    batch: Batch,
    objective: Objective,
    make_consumer: Callable[[], Consumer],
    *,
    hidden: bool = False,
) -> tuple[Consumer, PassResult]:
    """``run_pass`` into a consumer; in float16 again with a smaller scale of D, and a new consumer, on overflow.

    Raises:
        NumericError: as ``run_pass``, with the last scale.
    """
    scales = HALF_SCALES if target.maps[0].parameter.dtype == torch.float16 else (1.0,)
    for scale in scales[:-1]:
        consumer = make_consumer()
        try:
            return consumer, run_pass(target, batch, objective, consumer, hidden=hidden, scale=scale)
        except GradientOverflow:
            continue
    consumer = make_consumer()
    return consumer, run_pass(target, batch, objective, consumer, hidden=hidden, scale=scales[-1])


def _pass(
    target: ScoredModel, batch: Batch, objective: Objective, handler: TraceHandler, hidden: bool, scale: float
) -> PassResult:
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        capture_hidden(target.blocks if hidden else (), batch) as states,
        capture_linears(target.maps, batch, handler, scale=scale) as capture,
    ):
        readout = objective(target, batch)
        _check_values(readout.values.detach(), batch)
        (readout.values.sum() * scale).backward()
    rounding = torch.finfo(target.maps[0].parameter.dtype).eps
    _check_sensitivity(readout.values.detach(), capture.sensitivity, rounding, batch)
    detached = ReadOut(readout.values.detach(), readout.top_token, readout.margin, readout.pooled)
    return PassResult(detached, states if hidden else None)


def _check_values(values: Float[Tensor, " sentences"], batch: Batch) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        index = int((~finite).nonzero()[0])
        raise NumericError(f"{batch.labels[index]}: the read-out D is {float(values[index])}; use --dtype float32.")


def _check_sensitivity(values: Float[Tensor, " sentences"], sensitivity: Tensor, rounding: float, batch: Batch) -> None:
    floor = max(SENSITIVITY_FLOOR, SENSITIVITY_ROUNDINGS * rounding)
    flat = sensitivity < floor * to_float64(values).abs()
    if bool(flat.any()):
        index = int(flat.nonzero()[0])
        raise NumericError(
            f"{batch.labels[index]}: the read-out D = {float(values[index]):.4g} hardly depends on the activations "
            f"(sum of |gradient * activation| = {float(sensitivity[index]):.2g}): it is nearly constant, as the norm "
            "of one LayerNormed token is; choose another objective or pooling."
        )


def _join(results: Sequence[PassResult]) -> PassResult:
    def joined(name: str) -> Tensor | None:
        parts = [getattr(result.readout, name) for result in results]
        return None if parts[0] is None else torch.cat(parts)

    values = torch.cat([result.readout.values for result in results])
    readout = ReadOut(values, joined("top_token"), joined("margin"), joined("pooled"))
    states = [result.hidden for result in results]
    return PassResult(readout, HiddenStates.join([state for state in states if state is not None]))
