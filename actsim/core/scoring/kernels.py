"""Triton kernels of the scoring backend ``triton``: the only file that imports the package.

A program owns one tile of W, held in registers, and goes through the batch's pairs (or sentences). For each it forms
the tile of the patterns with one product Gᵀ X per sentence over the sentence's own tokens, reduces it and leaves a few
numbers behind. Products take the model's type and accumulate in float32; float32 is multiplied in full, never in TF32.

What bounds it on an H100, by estimate: at 16 to 32 tokens, half-precision products take a fifth to two fifths of the
time of the arithmetic after them (ten instructions per element and pair, six of them unavoidable), and a tile needs
BLOCK_OUT + BLOCK_IN columns of X and G for BLOCK_OUT x BLOCK_IN elements, which asks the L2 cache for nearly all it can
give. So tiles are as large as registers allow. Two products and W are 3 x 64 values per thread, which is 212 to 254 of
its 255 registers by the compiler's count for sm_90, at 64 x 128 with 4 warps (two programs per multiprocessor) or
128 x 128 with 8 (one program, a third less traffic). Sentences of one batch are of similar length, so that a product is
usually a single step: the loop over pairs is then flat, and Triton fetches the next pair's rows while it works on this
one. Times on a device: not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, no_type_check

from actsim.errors import MissingExtraError

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError as error:
    raise MissingExtraError("triton", "gpu", "the scoring backend 'triton'") from error

HALF_TILES = [
    triton.Config({"BLOCK_OUT": 64, "BLOCK_IN": 128}, num_warps=4, num_stages=3),
    triton.Config({"BLOCK_OUT": 128, "BLOCK_IN": 128}, num_warps=8, num_stages=3),
    triton.Config({"BLOCK_OUT": 64, "BLOCK_IN": 64}, num_warps=4, num_stages=3),
]
"""Tiles for float16 and bfloat16."""

FLOAT_TILES = [
    triton.Config({"BLOCK_OUT": 64, "BLOCK_IN": 64}, num_warps=8, num_stages=2),
    triton.Config({"BLOCK_OUT": 64, "BLOCK_IN": 64}, num_warps=4, num_stages=2),
]
"""Tiles for float32, whose products run on the ordinary cores and hold their operands in registers too."""

LEAST_TOKENS, HALF_TOKENS, FLOAT_TOKENS = 16, 64, 32
"""Tokens that one product takes at least (``tl.dot`` allows no fewer), and at most: longer sentences are gone through
in steps."""

DIGIT_BITS = 16
"""Bits of a key that one pass of ``count_digits`` tells."""


@triton.jit
@no_type_check
def _add3(a, b, c, x, y, z):
    return a + x, b + y, c + z


INTERPRETED = not isinstance(_add3, triton.JITFunction)
"""Whether TRITON_INTERPRET was set at import: kernels then run on the CPU, slowly, for tests."""

_WIDEN = tl.constexpr(INTERPRETED)
"""The interpreter cannot multiply bfloat16; in float32 the products are the same."""


@triton.jit
@no_type_check
def _product(grad, values, sums):
    """Gᵀ X of some tokens, added to ``sums``."""
    if _WIDEN:
        grad, values = grad.to(tl.float32), values.to(tl.float32)
    return tl.dot(tl.trans(grad), values, acc=sums, input_precision="ieee")


@triton.jit
@no_type_check
def _units(d_in, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr):
    """Output and input units of the program's tile."""
    columns = tl.cdiv(d_in, BLOCK_IN)
    tile = tl.program_id(0)
    outs = (tile // columns) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    ins = (tile % columns) * BLOCK_IN + tl.arange(0, BLOCK_IN)
    return outs, ins


@triton.jit
@no_type_check
def _weight_tile(weight, outs, ins, d_out, d_in, w_out, w_in):
    """W of the tile, float32, zero outside the map."""
    place = outs[:, None].to(tl.int64) * w_out + ins[None, :].to(tl.int64) * w_in
    inside = (outs[:, None] < d_out) & (ins[None, :] < d_in)
    return tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def _pattern_tile(
    inputs,
    grads,
    span,
    w,
    outs,
    ins,
    d_out,
    d_in,
    WEIGHTED: tl.constexpr,
    ONE_STEP: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """The tile of W ⊙ Gᵀ X of the sentence whose first row and number of rows lie at ``span``; zero outside the map.

    An element is the same to the last bit whatever the tile's size: its tokens are added in their order.
    """
    start, length = tl.load(span).to(tl.int64), tl.load(span + 1)
    tokens = tl.arange(0, BLOCK_T)[:, None]
    grad_at = grads + start * d_out + tokens * d_out + outs[None, :]
    input_at = inputs + start * d_in + tokens * d_in + ins[None, :]
    known_out, known_in = outs[None, :] < d_out, ins[None, :] < d_in
    product = tl.zeros((BLOCK_OUT, BLOCK_IN), dtype=tl.float32)
    if ONE_STEP:
        own = tokens < length
        grad = tl.load(grad_at, mask=own & known_out, other=0.0)
        values = tl.load(input_at, mask=own & known_in, other=0.0)
        product = _product(grad, values, product)
    else:
        for first in range(0, length, BLOCK_T):
            own = tokens < length - first
            grad = tl.load(grad_at, mask=own & known_out, other=0.0)
            values = tl.load(input_at, mask=own & known_in, other=0.0)
            product = _product(grad, values, product)
            grad_at += BLOCK_T * d_out
            input_at += BLOCK_T * d_in
    if WEIGHTED:
        product = product * w
    return product


@triton.jit
@no_type_check
def _put_sums(cell, x, y, z, TOGETHER: tl.constexpr):
    """Store the sums of three tiles; summed together, warps wait for each other once instead of three times."""
    if TOGETHER:
        x, y, z = tl.reduce((x, y, z), 1, _add3)
        a, b, c = tl.reduce((x, y, z), 0, _add3)
    else:
        a, b, c = tl.sum(x), tl.sum(y), tl.sum(z)
    tl.store(cell, a)
    tl.store(cell + 1, b)
    tl.store(cell + 2, c)


@triton.jit
@no_type_check
def _members(values, outs, ins, d_out, d_in, threshold, tie_limit):
    """1.0 where a value belongs to the activated set, else 0.0."""
    index = outs[:, None] * d_in + ins[None, :]
    member = (values > threshold) | ((values == threshold) & (index < tie_limit))
    known = (outs[:, None] < d_out) & (ins[None, :] < d_in)
    return (member & known).to(tl.float32)


@triton.jit
@no_type_check
def moments(
    inputs,
    grads,
    weight,
    spans,
    thresholds,
    tie_limits,
    by_tile,
    d_out,
    d_in,
    w_out,
    w_in,
    n_pairs,
    run,
    ABSOLUTE: tl.constexpr,
    WEIGHTED: tl.constexpr,
    PRODUCTS: tl.constexpr,
    MINIMA: tl.constexpr,
    SETS: tl.constexpr,
    TOGETHER: tl.constexpr,
    ONE_STEP: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Moments of ``run`` pairs over one tile of W, by_tile[tiles, pairs, 9].

    inputs [rows, d_in] and grads [rows, d_out] hold the sentences' rows one after another; weight has the strides w_out
    and w_in. spans[pairs, 2, 2] is the first row and the number of rows of a and of b; thresholds[pairs, 2] and
    tie_limits[pairs, 2], indices within the map, are read for SETS.
    """
    outs, ins = _units(d_in, BLOCK_OUT, BLOCK_IN)
    w = _weight_tile(weight, outs, ins, d_out, d_in, w_out, w_in) if WEIGHTED else 1.0
    first = tl.program_id(1) * run
    for pair in range(first, tl.minimum(first + run, n_pairs)):
        span_a, span_b = spans + 4 * pair, spans + 4 * pair + 2
        a = _pattern_tile(
            inputs, grads, span_a, w, outs, ins, d_out, d_in, WEIGHTED, ONE_STEP, BLOCK_T, BLOCK_OUT, BLOCK_IN
        )
        b = _pattern_tile(
            inputs, grads, span_b, w, outs, ins, d_out, d_in, WEIGHTED, ONE_STEP, BLOCK_T, BLOCK_OUT, BLOCK_IN
        )
        cell = by_tile + (tl.program_id(0).to(tl.int64) * n_pairs + pair) * 9
        if PRODUCTS:
            common = a * b
            if ABSOLUTE:
                common = tl.abs(common)
            _put_sums(cell, common, a * a, b * b, TOGETHER)
        if ABSOLUTE:
            a, b = tl.abs(a), tl.abs(b)
        if MINIMA:
            _put_sums(cell + 3, a, b, tl.minimum(a, b), TOGETHER)
        if SETS:
            of_a, of_b = 2 * pair, 2 * pair + 1
            in_a = _members(a, outs, ins, d_out, d_in, tl.load(thresholds + of_a), tl.load(tie_limits + of_a))
            in_b = _members(b, outs, ins, d_out, d_in, tl.load(thresholds + of_b), tl.load(tie_limits + of_b))
            _put_sums(cell + 6, in_a, in_b, in_a * in_b, TOGETHER)


@triton.jit
@no_type_check
def count_digits(
    inputs,
    grads,
    weight,
    spans,
    prefixes,
    bits_of,
    counts,
    d_out,
    d_in,
    w_out,
    w_in,
    n_sentences,
    run,
    gain,
    offset,
    shift,
    WEIGHTED: tl.constexpr,
    BY_INDEX: tl.constexpr,
    DIGIT_BITS: tl.constexpr,
    ONE_STEP: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
):
    """Add to counts[sentences, 2 ** DIGIT_BITS] how often each digit follows the sentence's prefix in the keys.

    A key is the bits of an absolute value times ``gain`` (they order as the values do) or, BY_INDEX, the index, counted
    from ``offset``, of a value whose bits are bits_of[sentence]. The digit begins at bit ``shift``; what lies above it
    has to equal prefixes[sentence]. spans[sentences, 2] is the first row and the number of rows.
    """
    outs, ins = _units(d_in, BLOCK_OUT, BLOCK_IN)
    w = _weight_tile(weight, outs, ins, d_out, d_in, w_out, w_in) if WEIGHTED else 1.0
    known = (outs[:, None] < d_out) & (ins[None, :] < d_in)
    first = tl.program_id(1) * run
    for sentence in range(first, tl.minimum(first + run, n_sentences)):
        span = spans + 2 * sentence
        values = _pattern_tile(
            inputs, grads, span, w, outs, ins, d_out, d_in, WEIGHTED, ONE_STEP, BLOCK_T, BLOCK_OUT, BLOCK_IN
        )
        key = (tl.abs(values) * gain).to(tl.int32, bitcast=True).to(tl.int64)
        counted = known
        if BY_INDEX:
            counted = known & (key == tl.load(bits_of + sentence))
            key = offset + outs[:, None].to(tl.int64) * d_in + ins[None, :]
        counted = counted & ((key >> (shift + DIGIT_BITS)) == tl.load(prefixes + sentence))
        digit = (key >> shift) & ((1 << DIGIT_BITS) - 1)
        tl.atomic_add(counts + sentence * (1 << DIGIT_BITS) + digit, 1, mask=counted, sem="relaxed")


def _timed(call: Callable[[], Any], quantiles: Sequence[float]) -> Any:
    """Milliseconds of a launch, measured for a fifth of the time that Triton would take."""
    return triton.testing.do_bench(call, warmup=5, rep=20, quantiles=quantiles)


@cache
def tuned(single: bool) -> Any:
    """``moments`` for float32 or for half precision, with the fastest tiles for each size of map and of sentence.

    They are timed at the first use; another process may choose others, which add up in another order. Interpreted, it
    is the first tile.
    """
    tiles = FLOAT_TILES if single else HALF_TILES
    keys = ["d_out", "d_in", "PRODUCTS", "MINIMA", "SETS", "BLOCK_T", "ONE_STEP"]
    return triton.autotune(tiles[:1] if INTERPRETED else tiles, key=keys, do_bench=_timed)(moments)
