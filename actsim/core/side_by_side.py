"""Two passes at a time on a CPU, each with half of the threads: what one does alone, the other computes beside.

A pass is a chain of small steps. The threads of one pass wait for each other after every step, and all but one wait
while Python decides on the next; threads of another pass have work meanwhile. Both share the weights. Each has its own
copy of the modules, since what a pass captures hangs on them.
"""

from __future__ import annotations

import copy
import ctypes
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from actsim.core.batch import PairBatch
from actsim.core.linears import LinearMap
from actsim.core.passes import ScoredModel

LOG = logging.getLogger("actsim")

AT_A_TIME = 2
"""Passes that go side by side. More would leave each fewer tokens, and its matrix products would lose."""

HELD_BYTES = 512 * 2**20
"""What the inputs and gradients of all linear maps may take of as many whole batches; else batches are halved."""

LARGEST_SHARE = 2 / 3
"""Share of the token budget that a half may have; with one that is larger, one pass goes at a time."""

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc's ``mallopt``."""

Target = TypeVar("Target", bound=ScoredModel)
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Stopped(Exception):
    """Ends a pass whose result nobody waits for any more."""


@dataclass(frozen=True)
class Plan:
    """How the batches of a run go through the model.

    Attributes:
        at_a_time: passes that go side by side, 1 or AT_A_TIME.
        passes: of each batch, what goes through by itself: the batch, or its halves.
    """

    at_a_time: int
    passes: tuple[tuple[PairBatch, ...], ...]


def plan_passes(batches: Sequence[PairBatch], batch_tokens: int, target: ScoredModel) -> Plan:
    """Go through two batches at a time, where the threads of a CPU can be shared out evenly and the model be copied.

    Whole ones where memory is no matter (the last of an odd number is halved, so that nobody waits for it), else
    halves, which together hold what one batch would; one at a time where single pairs are too large for that. A pure
    function of its arguments and of torch's number of threads.

    Args:
        batches: of the whole run.
        batch_tokens: the budget that they were planned for.
        target: the model.
    """
    whole = tuple((batch,) for batch in batches)
    if not batches or not _can_share(target):
        return Plan(1, whole)
    if AT_A_TIME * max(batch.tokens for batch in batches) * _bytes_per_token(target.maps) <= HELD_BYTES:
        last = batches[-1].halves() if len(batches) % AT_A_TIME else whole[-1]
        return Plan(AT_A_TIME, (*whole[:-1], last))
    halved = tuple(batch.halves() if batch.tokens > batch_tokens / 2 else (batch,) for batch in batches)
    if all(half.tokens <= LARGEST_SHARE * batch_tokens for halves in halved for half in halves):
        return Plan(AT_A_TIME, halved)
    return Plan(1, whole)


def _can_share(target: ScoredModel) -> bool:
    """Whether threads and weights of the model can be shared out to passes; why not is logged where it is the model."""
    if any(linear.parameter.device.type != "cpu" for linear in target.maps) or torch.get_num_threads() % AT_A_TIME:
        return False
    patched = [name for name, own in target.model.named_modules() if "forward" in vars(own)]
    if patched:
        LOG.info("one pass at a time: the forward of %r was replaced, a copy might run the original", patched[0])
        return False
    try:
        _copy(target)
    except (TypeError, RuntimeError, AttributeError) as error:
        LOG.info("one pass at a time: the model's modules cannot be copied (%s)", error)
        return False
    return True


def _bytes_per_token(maps: Sequence[LinearMap]) -> int:
    """Of X and G of every map."""
    return sum(sum(linear.weight.shape) * linear.parameter.itemsize for linear in maps)


def side_by_side(
    work: Callable[[Target, Item], Result], items: Sequence[Item], target: Target, at_a_time: int
) -> Generator[Result, None, None]:
    """``work`` of every item, in their order, ``at_a_time`` of them computed at once.

    Close the iterator where it is not used up: passes under way then end at their next linear map.

    Args:
        work: called with the model, or a copy of its modules, and an item; by several threads, where several go at a
            time.
        items: one for each call.
        target: the model, a dataclass; its fields model, maps and blocks are copied.
        at_a_time: how many go at once, as planned; 1 calls in turn, in the calling thread.

    Raises:
        Whatever ``work`` raises, for the first item that it fails for.
    """
    if at_a_time == 1:
        yield from (work(target, item) for item in items)
        return
    stop, threads = threading.Event(), torch.get_num_threads()
    if len(items) == 1:  # what is left of a run has the threads, and so the bits, that it would have had among others
        torch.set_num_threads(threads // at_a_time)
        try:
            yield work(target, items[0])
        finally:
            torch.set_num_threads(threads)
        return
    idle: SimpleQueue[Target] = SimpleQueue()
    for _ in range(at_a_time):
        idle.put(_watched(_copy(target), stop))

    def one(item: Item) -> Result:
        own = idle.get()
        try:
            return work(own, item)
        finally:
            idle.put(own)

    pool = ThreadPoolExecutor(at_a_time, "actsim-pass", lambda: torch.set_num_threads(threads // at_a_time))
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(one, item))
            if len(ahead) > 2 * at_a_time:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _copy(target: Target) -> Target:
    shared: dict[int, Any] = {id(parameter): parameter for parameter in target.model.parameters()}
    own = copy.deepcopy({name: getattr(target, name) for name in ("model", "maps", "blocks")}, shared)
    return replace(target, **own)  # type: ignore[type-var]


def _watched(target: Target, stop: threading.Event) -> Target:
    """The target, whose passes end at their next linear map, forward or backward, once ``stop`` is set."""

    def check(*_: Any) -> None:
        if stop.is_set():
            raise _Stopped

    def used(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        check()
        if output.requires_grad:
            output.register_hook(check)

    for linear in target.maps:
        linear.module.register_forward_hook(used)
    return target


def share_heap() -> bool:
    """Have all threads of this process share one heap from now on, where the C library is glibc; whether it does.

    glibc gives threads heaps of their own, and what one pass frees in its heap is no room for the other: a fifth more
    memory for two of them. It cannot be undone, so that a program decides on it and not this library. Where the
    environment variable MALLOC_ARENA_MAX is set, it stays as it is.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_ARENA_MAX, 1) == 1
