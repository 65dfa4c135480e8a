"""How densely parameters are activated over a set of samples: mean patterns, and what their distribution is.

Ā(w) is the mean over samples of A(s, w) = |w · ∂D(s)/∂w|. A log-histogram of Ā whose edges include the thresholds γ
gives the counts over every γ exactly, and the Gini coefficient within a bound that it states.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from actsim.core.linears import LinearMap
from actsim.core.precision import to_float64, widest_float
from actsim.core.scoring import Pattern, backend
from actsim.core.scoring.tiled import PREFIX_BITS, log_bin
from actsim.core.trace import Trace
from actsim.errors import NumericError

CHUNK = 2**20
"""Parameters that are counted together: the temporaries stay in a CPU's cache."""

FINITE_BINS = 255 << (PREFIX_BITS - 8)
"""Log-bins of finite values: the exponent 255 stands for infinities and NaN."""


class MeanPatterns:
    """Sums |P| of every parameter over samples, for some of a model's maps; a consumer of traces.

    The sums are float32, one accumulator per parameter; the backend sums a batch before it touches them. Samples are
    taken in folds: those of one fold, then ``close_fold``, then the next. A fold's sums are kept apart until it is
    closed, so that memory is two accumulators per parameter whatever the number of folds.

    Args:
        maps: the linear maps, of those that share a parameter one, see ``distinct_maps``.
        pattern: absolute; weighted by W or not.
        scorer: name of the scoring backend.
    """

    def __init__(self, maps: Sequence[LinearMap], pattern: Pattern, scorer: str = "tiled") -> None:
        self.maps = {id(linear.parameter): linear for linear in maps}
        self._pattern, self._backend = pattern, backend(scorer)
        self._fold = {key: _zeros(linear) for key, linear in self.maps.items()}
        self._closed = {key: _zeros(linear) for key, linear in self.maps.items()}

    def batch(self, taken: set[int]) -> BatchSums:
        """A consumer of one batch's traces that passes over the parameters in ``taken``, to which it adds.

        A pass that is repeated after an overflow is given the same set, and adds nothing twice.
        """
        return BatchSums(self, taken)

    def add(self, trace: Trace) -> None:
        """Add the samples of a trace to the open fold."""
        self._backend.abs_sum(trace, self._pattern, self._fold[id(trace.map.parameter)])

    def sums(self, linear: LinearMap) -> Float[Tensor, "d_out d_in"]:
        """Σ |P| of one map over all samples so far."""
        key = id(linear.parameter)
        return self._closed[key] + self._fold[key]

    def close_fold(self, samples: int, thresholds: Sequence[float]) -> dict[int, dict[str, Histogram]]:
        """The distribution of the open fold's means, see ``profile``; its sums then count among those of all folds."""
        found = _profile(self.maps, self._fold, samples, thresholds)
        for key, sums in self._fold.items():
            self._closed[key] += sums
            sums.zero_()
        return found

    def profile(self, samples: int, thresholds: Sequence[float]) -> dict[int, dict[str, Histogram]]:
        """The distribution of Ā over the samples of all closed folds: layer -> kind -> histogram.

        Args:
            samples: how many there were.
            thresholds: γ, each at least 0.

        Raises:
            NumericError: a sum is not finite; names layer and module.
        """
        return _profile(self.maps, self._closed, samples, thresholds)


@dataclass(frozen=True)
class BatchSums:
    """Hands each parameter's trace of one batch on once, however often the pass is repeated."""

    sums: MeanPatterns
    taken: set[int]

    def __call__(self, trace: Trace) -> None:
        """Take one trace."""
        key = id(trace.map.parameter)
        if key not in self.taken:
            self.sums.add(trace)
            self.taken.add(key)


@dataclass(frozen=True)
class Histogram:
    """Non-negative values in cells between consecutive edges: log-bins, and every threshold γ as an edge.

    A log-bin holds its lower edge; a value equal to a threshold lies below it, so that counts are of values > γ.
    Histograms over the same thresholds add.

    Attributes:
        thresholds: γ in increasing order, the first is 0.
        counts: values in each cell.
        sums: their sum.
        squares: Σ of the squares of all values.
    """

    thresholds: tuple[float, ...]
    counts: Int[Tensor, " cells"]
    sums: Float[Tensor, " cells"]
    squares: float

    @classmethod
    def of(cls, values: Tensor, thresholds: Sequence[float]) -> Histogram:
        """The histogram of non-negative finite values of any shape.

        The cell of a value is its log-bin plus the number of thresholds below it: both grow with the value, so that no
        two cells share a number.
        """
        edges = _distinct(thresholds)
        cells = FINITE_BINS + len(edges)
        counts = torch.zeros(cells, dtype=torch.int64)
        sums = torch.zeros(cells, dtype=torch.float64)
        squares = 0.0
        for chunk in values.float().flatten().split(CHUNK):
            if widest_float(chunk.device) is not torch.float64:
                chunk = chunk.cpu()
            below = torch.bucketize(chunk, _rounded_down(edges).to(chunk.device), out_int32=True)
            cell = log_bin(chunk) + below
            wide = chunk.double()
            counts += torch.bincount(cell, minlength=cells).cpu()
            sums += torch.bincount(cell, weights=wide, minlength=cells).cpu()
            squares += float(wide.square().sum())
        return cls(edges, counts, sums, squares)

    def __add__(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values."""
        if self.thresholds != other.thresholds:
            raise ValueError("histograms over different thresholds do not add")
        return Histogram(
            self.thresholds, self.counts + other.counts, self.sums + other.sums, self.squares + other.squares
        )

    @property
    def n(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return float(self.sums.sum()) / self.n

    def counts_over(self) -> dict[float, int]:
        """The number of values > γ, for every threshold γ."""
        number = torch.arange(len(self.thresholds))
        last = log_bin(_rounded_down(self.thresholds)) + number  # the last cell of values that are not above it
        up_to = self.counts.cumsum(0)
        return dict(zip(self.thresholds, (up_to[-1] - up_to[last]).tolist(), strict=True))

    def gini(self) -> tuple[float, float]:
        """The Gini coefficient Σ_i Σ_j |x_i - x_j| / (2 n² μ) and the most it can be off, from counts and sums alone.

        Between cells the sum is exact. Within a cell of c values with mean m between l and u it lies between 0 and
        2 c² (m - l)(u - m) / (u - l), which is reached with all values at the two ends (Gastwirth 1972, The estimation
        of the Lorenz curve and Gini index). The figure is the middle of what is possible. NaN where all values are 0.
        """
        filled = self.counts > 0
        counts, sums = self.counts[filled].double(), self.sums[filled]
        edges = edges_of(self.thresholds)
        low, high = edges[:-1][filled], edges[1:][filled]
        total, n = float(sums.sum()), float(counts.sum())
        if total == 0:
            return float("nan"), float("nan")
        before = counts.cumsum(0) - counts
        after = n - before - counts
        between = float((sums * (before - after)).sum()) / (n * total)
        means = (sums / counts).clamp(low, high)
        spread = (means - low) * (high - means) / (high - low).clamp(min=torch.finfo(torch.float64).tiny)
        within = float((counts.square() * spread).sum()) / (n * total)
        return between + within / 2, within / 2

    def participation(self) -> float:
        """The participation ratio (Σx)² / (n Σx²): 1 where all values are equal, 1/n where one alone is not zero.

        NaN where all values are 0.
        """
        total = float(self.sums.sum())
        return total * total / (self.n * self.squares) if self.squares > 0 else float("nan")


def _distinct(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Zero and the thresholds, in order, each once."""
    if any(not 0 <= threshold < float("inf") for threshold in thresholds):
        raise ValueError(f"thresholds must be finite and at least 0, got {list(thresholds)}")
    return tuple(sorted({0.0, *thresholds}))


@functools.cache
def edges_of(thresholds: tuple[float, ...]) -> Float[Tensor, " edges"]:
    """Where the cells of a histogram over these thresholds begin, and where the last one ends."""
    bins = torch.arange(FINITE_BINS + 1, dtype=torch.int32) << (31 - PREFIX_BITS)
    merged = torch.cat([bins.view(torch.float32), _rounded_down(thresholds)]).double()
    return merged.clamp(max=torch.finfo(torch.float32).max).sort().values


def _rounded_down(thresholds: Sequence[float]) -> Float[Tensor, " thresholds"]:
    """The largest float32 that is not above each threshold: a float32 value is above both or neither."""
    exact = torch.tensor(thresholds, dtype=torch.float64)
    nearest = exact.float()
    return torch.where(nearest.double() > exact, torch.nextafter(nearest, torch.zeros_like(nearest)), nearest)


def _zeros(linear: LinearMap) -> Float[Tensor, "d_out d_in"]:
    weight = linear.weight
    return torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)


def _profile(
    maps: Mapping[int, LinearMap], sums: Mapping[int, Tensor], samples: int, thresholds: Sequence[float]
) -> dict[int, dict[str, Histogram]]:
    """Layer -> kind -> distribution of the sums divided by the number of samples; maps of one kind together."""
    found: dict[int, dict[str, Histogram]] = {}
    for key, linear in maps.items():
        total = to_float64(sums[key].sum(dtype=widest_float(sums[key].device)))
        if not bool(total.isfinite()):
            raise NumericError(
                f"layer {linear.layer}, module {linear.name}: the mean pattern is not finite; use --dtype float32."
            )
        own = Histogram.of(sums[key] / samples, thresholds)
        kinds = found.setdefault(linear.layer, {})
        kinds[linear.kind] = kinds[linear.kind] + own if linear.kind in kinds else own
    return found


def whole(kinds: Mapping[str, Histogram]) -> Histogram:
    """The histogram of a whole layer out of those of its kinds."""
    first, *others = kinds.values()
    for other in others:
        first = first + other
    return first
