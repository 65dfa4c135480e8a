"""One forward and one backward pass over a batch of sentences, every map's trace handed on as it completes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from actsim.core.batch import Batch
from actsim.core.capture import GradientOverflow, capture_linears
from actsim.core.hidden import HiddenStates, capture_hidden
from actsim.core.linears import LinearMap
from actsim.core.objectives import Objective, ReadOut, Target
from actsim.core.trace import Joined, TraceHandler

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
    most_tokens: int | None = None,
) -> PassResult:
    """Run the sentences of ``batch`` through the model and its gradient back, tracing every linear map.

    Sentences of similar length go through together, so that little is computed for padding (``Batch.parts``); a model
    whose rows cannot be told apart by sentence runs one sentence at a time. The traces of all but the last part are
    kept until the last one's arrive, and ``handler`` sees one trace of the whole batch. Large parts go first: what
    they give back is room for the smaller ones.

    Args:
        target: the model, its maps and blocks.
        batch: the sentences.
        objective: the read-out D.
        handler: called with the Trace of each parameter.
        hidden: also pool the hidden states after every block.
        scale: what D is multiplied by before the backward pass; every trace carries it and divides it out.
        most_tokens: the most padded tokens that go through together, where the batch is larger than that.

    Raises:
        NumericError: D or a gradient is not finite, or D hardly depends on the activations. GradientOverflow where a
            smaller scale may help (float16); ``handler`` has then seen a part of the batch only.
    """
    parts = batch.parts(most_tokens) if target.batchable else [batch.part(i, i + 1) for i in range(len(batch.labels))]
    if len(parts) == 1:
        return _pass(target, batch, objective, handler, hidden, scale)
    order = sorted(range(len(parts)), key=lambda number: -parts[number].input_ids.numel())
    joined = Joined(handler, tuple(len(part.labels) for part in parts), last=order[-1])
    results = {
        number: _pass(target, parts[number], objective, partial(joined.take, number), hidden, scale) for number in order
    }
    joined.flush()
    return _join([results[number] for number in range(len(parts))])


@torch.inference_mode(False)
def consume(
    target: ScoredModel,
    batch: Batch,
    objective: Objective,
    make_consumer: Callable[[], Consumer],
    *,
    hidden: bool = False,
    most_tokens: int | None = None,
) -> tuple[Consumer, PassResult]:
    """``run_pass`` into a consumer; in float16 again with a smaller scale of D, and a new consumer, on overflow.

    Raises:
        NumericError: as ``run_pass``, with the last scale.
    """
    scales = HALF_SCALES if target.maps[0].parameter.dtype == torch.float16 else (1.0,)
    run = partial(run_pass, target, batch, objective, hidden=hidden, most_tokens=most_tokens)
    for scale in scales[:-1]:
        consumer = make_consumer()
        try:
            return consumer, run(handler=consumer, scale=scale)
        except GradientOverflow:
            continue
    consumer = make_consumer()
    return consumer, run(handler=consumer, scale=scales[-1])


def _pass(
    target: ScoredModel, batch: Batch, objective: Objective, handler: TraceHandler, hidden: bool, scale: float
) -> PassResult:
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        flat_memory(target.maps[0].parameter),
        capture_hidden(target.blocks if hidden else (), batch) as states,
        capture_linears(target.maps, batch, handler, scale=scale) as capture,
    ):
        readout = objective(target, batch)
        capture.check_forward(readout.values.detach())
        (readout.values.sum() * scale).backward()
    capture.check_sensitivity(readout.values.detach())
    detached = ReadOut(readout.values.detach(), readout.top_token, readout.margin, readout.pooled)
    return PassResult(detached, states if hidden else None)


def flat_memory(parameter: Tensor) -> AbstractContextManager[None]:
    """While open, a model of such parameters does without oneDNN if they are float32 on a CPU and MKL multiplies there.

    oneDNN keeps the code that it makes for every shape it meets, and no two batches have the same shapes: memory grew
    by half over a thousand pairs, for a GELU that is no faster. bfloat16 and float16 products need it.
    """
    applies = parameter.device.type == "cpu" and parameter.dtype == torch.float32 and torch.backends.mkl.is_available()
    return _WITHOUT_ONEDNN if applies else nullcontext()


class _WithoutOneDNN(AbstractContextManager[None]):
    """oneDNN is off, for all threads, while any of them is inside."""

    def __init__(self) -> None:
        self._lock, self._inside, self._was_on = threading.Lock(), 0, False
        self._onednn: Any = torch.backends.mkldnn

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_on, self._onednn.enabled = self._onednn.enabled, False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._onednn.enabled = self._was_on


_WITHOUT_ONEDNN = _WithoutOneDNN()


def _join(results: Sequence[PassResult]) -> PassResult:
    def joined(name: str) -> Tensor | None:
        parts = [getattr(result.readout, name) for result in results]
        return None if parts[0] is None else torch.cat(parts)

    values = torch.cat([result.readout.values for result in results])
    readout = ReadOut(values, joined("top_token"), joined("margin"), joined("pooled"))
    states = [result.hidden for result in results]
    return PassResult(readout, HiddenStates.join([state for state in states if state is not None]))
