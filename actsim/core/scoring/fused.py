"""Exact sums on a CPU in one pass: small blocks of Gᵀ X are formed in registers, weighted, reduced and forgotten.

The kernel is C++ (``fused.cpp``), compiled at first use, see ``compiler``. It reads every sentence's own rows only, so
padding costs nothing here, and shares the threads of torch's OpenMP. Products and the sums within a block of a few
thousand parameters are float32, everything above float64. float64 models are left to ``tiled``, as are the units' sums.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from actsim.core.objectives import widened
from actsim.core.scoring import MOMENTS, ActivatedSets, Needs, Pattern, tiled
from actsim.core.scoring.compiler import NotCompiled, compiled
from actsim.core.scoring.tiled import activated, neuron_sums, pair_neurons, sketch, top_sets
from actsim.core.trace import Trace
from actsim.errors import UsageError

LOG = logging.getLogger("actsim")

__all__ = [
    "abs_sum",
    "activated",
    "gram",
    "is_available",
    "neuron_sums",
    "pair_moments",
    "pair_neurons",
    "sketch",
    "top_sets",
]

SOURCE = "fused.cpp"

BLOCK_BYTES, BLOCK_SHARE = 384 * 2**10, 3 / 8
"""Size of the blocks that are held at a time, and the share of a core's L2 cache that they keep to."""

INPUT_BYTES, INPUT_SHARE = 512 * 2**10, 1 / 2
"""The same of the columns of X that they are made of: both stay in that cache from one row of blocks to the next."""

MOST_COLUMNS = 256


class Job(ctypes.Structure):
    """One map and one batch; the twin of Job in fused.cpp."""

    _fields_ = (
        ("inputs", ctypes.c_void_p),
        ("grads", ctypes.c_void_p),
        ("tokens", ctypes.c_void_p),
        ("start", ctypes.c_void_p),
        ("sentences", ctypes.c_int64),
        ("all_tokens", ctypes.c_int64),
        ("d_in", ctypes.c_int64),
        ("d_out", ctypes.c_int64),
        ("weight", ctypes.c_void_p),
        ("weight_out", ctypes.c_int64),
        ("weight_in", ctypes.c_int64),
        ("pairs", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("n_pairs", ctypes.c_int64),
        ("n_slots", ctypes.c_int64),
        ("threshold", ctypes.c_void_p),
        ("tie_limit", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("absolute", ctypes.c_int32),
        ("minima", ctypes.c_int32),
        ("moments", ctypes.c_void_p),
        ("total", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    )


class _Scratch(threading.local):
    """Working memory of the kernel, used again from map to map; the largest that was needed."""

    floats = torch.empty(0)

    def of(self, size: int) -> Tensor:
        if self.floats.numel() < size:
            self.floats = torch.empty(size)
        return self.floats


_SCRATCH = _Scratch()


def pair_moments(
    trace: Trace, pairs: Int[Tensor, "pairs 2"], pattern: Pattern, need: Needs, sets: ActivatedSets | None = None
) -> Float[Tensor, "pairs moments"]:
    """The moments of each pair of sentences at one map, float64, in the order of MOMENTS.

    Raises:
        UsageError: the trace does not lie on a CPU, or there is no compiler.
    """
    if trace.dtype == torch.float64:
        return tiled.pair_moments(trace, pairs, pattern, need, sets)
    _refuse_elsewhere(trace)
    plan = _plan(pairs.numpy().tobytes())
    moments = torch.empty((len(pairs), len(MOMENTS)), dtype=torch.float64)
    held = {"pairs": plan.pairs, "slots": plan.slots, "first": plan.first, "moments": moments.numpy()}
    if sets is not None:
        held["threshold"] = sets.threshold.float().numpy()
        held["tie_limit"] = (sets.tie_limit - sets.offset).clamp(0, trace.map.weight.numel()).numpy()
    columns = _block_columns(plan.n_slots, trace)
    _run("pair_sums", trace, pattern, columns, held, n_pairs=len(pairs), n_slots=plan.n_slots, minima=need.minima)
    if not need.products:
        moments[:, :3] = 0
    return moments


def gram(trace: Trace, pattern: Pattern) -> Float[Tensor, "sentences sentences"]:
    """Σ P_a P_b of every two sentences at one map, float64: the moments of all pairs, each once.

    A block's patterns are in the cache when they are multiplied, and padding is not computed: for short sentences this
    takes half the time of a matrix product per tile, for long ones as much.

    Raises:
        UsageError: the trace does not lie on a CPU, or there is no compiler.
    """
    left, right = torch.triu_indices(trace.sentences, trace.sentences)
    moments = pair_moments(trace, torch.stack([left, right], dim=1), pattern, Needs(products=True))
    products = torch.zeros((trace.sentences, trace.sentences), dtype=torch.float64)
    products[left, right] = products[right, left] = moments[:, MOMENTS.index("dot")]
    return products


def abs_sum(trace: Trace, pattern: Pattern, total: Float[Tensor, "d_out d_in"]) -> None:
    """Add Σ_s |P_s| over the sentences of the trace to ``total``.

    Raises:
        UsageError: as ``pair_moments``.
    """
    if trace.dtype == torch.float64 or total.dtype != torch.float32 or not total.is_contiguous():
        tiled.abs_sum(trace, pattern, total)
        return
    _refuse_elsewhere(trace)
    _run("abs_sums", trace, pattern, _block_columns(1, trace), {}, n_slots=1, total=total.data_ptr())


def _run(
    function: str, trace: Trace, pattern: Pattern, columns: int, held: Mapping[str, np.ndarray], **fields: int
) -> None:
    """Call a function of the kernel with the operands of the trace, further arrays and further fields of the job."""
    library, threads = kernel(), torch.get_num_threads()
    segments = trace.operands()
    inputs = [segment.inputs.contiguous() for segment in segments]
    grads = [segment.grads.contiguous() for segment in segments]
    weight = widened(trace.map.weight)
    tokens, start = _places(trace.lengths)
    arrays = {**held, "inputs": _addresses(inputs), "grads": _addresses(grads), "tokens": tokens, "start": start}
    job = Job(
        **{name: array.ctypes.data for name, array in arrays.items()},
        sentences=len(tokens),
        all_tokens=int(start[-1] + tokens[-1]),
        d_in=weight.shape[1],
        d_out=weight.shape[0],
        weight=weight.data_ptr() if pattern.weighted else None,
        weight_out=weight.stride(0),
        weight_in=weight.stride(1),
        columns=columns,
        absolute=pattern.absolute,
        **fields,
    )
    scratch = _SCRATCH.of(library.scratch_floats(ctypes.byref(job), threads))
    job.scratch = scratch.data_ptr()
    getattr(library, function)(ctypes.byref(job), threads)


def _refuse_elsewhere(trace: Trace) -> None:
    if trace.device.type != "cpu" or not is_available():
        raise UsageError("the scoring backend 'fused' needs a CPU and a C++ compiler; choose 'tiled'.")


@dataclass(frozen=True)
class _Plan:
    """In what order the blocks of a batch are formed, and where they are held meanwhile.

    Attributes:
        pairs: the sentences of each pair.
        slots: where the blocks of the two lie while the pair is compared.
        first: whether each is formed for this pair; else it is still held from an earlier one.
        n_slots: blocks that are held at a time.
    """

    pairs: Int[np.ndarray, "pairs 2"]
    slots: Int[np.ndarray, "pairs 2"]
    first: UInt8[np.ndarray, "pairs 2"]
    n_slots: int


@functools.lru_cache(maxsize=16)
def _plan(pairs: bytes) -> _Plan:
    """A sentence's block is held from the first pair that needs it to the last: two blocks, where none is in two pairs.

    Args:
        pairs: the sentences of each pair as int64, in bytes, so that the maps of a batch share the plan.
    """
    both = np.frombuffer(pairs, dtype=np.int64).reshape(-1, 2)
    listed = both.tolist()
    last = {sentence: number for number, pair in enumerate(listed) for sentence in pair}
    slots, first = np.zeros_like(both), np.zeros(both.shape, dtype=np.uint8)
    held: dict[int, int] = {}
    free: list[int] = []
    for number, pair in enumerate(listed):
        for side, sentence in enumerate(pair):
            if sentence not in held:
                held[sentence] = free.pop() if free else len(held)
                first[number, side] = 1
            slots[number, side] = held[sentence]
        free += [held.pop(sentence) for sentence in set(pair) if last[sentence] == number]
    return _Plan(both, slots, first, int(slots.max(initial=0)) + 1)


@functools.lru_cache(maxsize=16)
def _places(lengths: tuple[int, ...]) -> tuple[Int[np.ndarray, " sentences"], Int[np.ndarray, " sentences"]]:
    """Tokens of each sentence, and those of all before it: the same for most maps of a pass."""
    tokens = np.array(lengths, dtype=np.int64)
    return tokens, tokens.cumsum() - tokens


def _addresses(rows: list[Tensor]) -> Int[np.ndarray, " sentences"]:
    """Where each sentence's rows begin."""
    return np.concatenate(
        [part.data_ptr() + np.arange(len(part)) * (part.stride(0) * part.element_size()) for part in rows]
    )


def _block_columns(slots: int, trace: Trace) -> int:
    """Columns of a block: whole panels, of which ``slots`` blocks and their X stay in the cache; those that go into the
    map with the least left over, and of these the most."""
    panel, (of_blocks, of_inputs) = kernel().panel_width(), _cache_bytes()
    tokens, rows, d_in = max(1, sum(trace.lengths)), slots * kernel().block_rows(), trace.map.weight.shape[1]
    fitting = min(MOST_COLUMNS, of_blocks // (4 * rows), of_inputs // (4 * tokens), d_in + panel - 1)
    choices = range(panel, max(panel, fitting) + 1, panel)
    return min(choices, key=lambda columns: (-(-d_in // columns) * columns, -columns))


@functools.cache
def _cache_bytes() -> tuple[int, int]:
    """Bytes for the blocks that are held, and for the columns of X that they are made of."""
    cache = kernel().second_level_cache()
    return min(BLOCK_BYTES, int(BLOCK_SHARE * cache)), min(INPUT_BYTES, int(INPUT_SHARE * cache))


@functools.cache
def is_available() -> bool:
    """Whether this machine can compile the kernel: tried once, and logged where it cannot."""
    try:
        kernel()
    except NotCompiled as error:
        LOG.info("%s: scoring without the compiled kernel, with the same results", error)
        return False
    return True


@functools.cache
def kernel() -> ctypes.CDLL:
    """The compiled functions; raises NotCompiled where there is no way to have them."""
    library = ctypes.CDLL(compiled(SOURCE))
    for name in ("panel_width", "block_rows", "second_level_cache", "scratch_floats"):
        getattr(library, name).restype = ctypes.c_int64
    library.pair_sums.restype = library.abs_sums.restype = None
    return library
