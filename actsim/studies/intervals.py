"""How a study is summed up, and the interval over its seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from actsim.errors import UsageError
from actsim.stats.bootstrap import check_level


@dataclass(frozen=True)
class Intervals:
    """How intervals and p-values are made; changes no cell, so a finished study is summed up again at once.

    Attributes:
        level: coverage of the intervals.
        resamples: of the bootstrap over items.
        permutations: of the permutation tests.
        seed: of both.
    """

    level: float = 0.95
    resamples: int = 2000
    permutations: int = 4999
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse before anything is pruned what cannot be summed up."""
        check_level(self.level)
        for name, usual in (("resamples", 2000), ("permutations", 4999)):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(self, name)}; {usual} is usual.")


def t_interval(values: npt.NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    """mean ± t √(s²/n), of n values; None for a single value, or where one is undefined."""
    if len(values) < 2 or np.isnan(values).any():
        return None, None
    half = scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
