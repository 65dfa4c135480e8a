"""Is one model right more often than another on the same questions? An exact test and a bootstrap."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from actsim.errors import UsageError
from actsim.stats.bootstrap import check_level


class Proportion(NamedTuple):
    """A share of n, its standard error and its interval."""

    value: float
    stderr: float
    low: float
    high: float


class McNemar(NamedTuple):
    """On how many questions only the first is right, only the second, and the two-sided p-value."""

    only_a: int
    only_b: int
    p: float


def proportion(right: Bool[np.ndarray, " questions"], level: float = 0.95) -> Proportion:
    """The share p of questions that are answered rightly, with Wilson's interval.

    The standard error is √(p (1 − p) / (n − 1)), the one that lm-evaluation-harness prints; NaN for n = 1. With z the
    (1 + level) / 2 quantile of the normal distribution, the interval is

        (p + z²/2n ± z √(p (1 − p) / n + z²/4n²)) / (1 + z²/n).

    Raises:
        UsageError: ``level`` is not inside (0, 1).

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22, 209-212.
    """
    check_level(level)
    n, hits = len(right), int(right.sum())
    share = hits / n
    stderr = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else math.nan
    interval = scipy.stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return Proportion(share, stderr, float(interval.low), float(interval.high))


def mcnemar(right_a: Bool[np.ndarray, " questions"], right_b: Bool[np.ndarray, " questions"]) -> McNemar:
    """Exact two-sided test that both are right equally often, on the same questions.

    With b the questions that only the first answers rightly and c those that only the second does, b is binomial with
    b + c trials of probability 1/2 under the hypothesis, so that

        p = min(1, 2 Σ_{k ≤ min(b, c)} C(b + c, k) / 2^(b + c)),

    and 1 where b + c = 0. Questions on which both agree do not matter.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 153-157, with the binomial distribution in place of its approximation.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    trials = only_a + only_b
    p = float(scipy.stats.binomtest(only_a, trials).pvalue) if trials else 1.0
    return McNemar(only_a, only_b, p)


def bootstrap_difference(
    right_a: Bool[np.ndarray, " questions"],
    right_b: Bool[np.ndarray, " questions"],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Float[np.ndarray, " resamples"]:
    """Accuracy of the first minus that of the second in resamples of the questions.

    A question counts +1, −1 or 0, so a resample of n questions is one draw from the multinomial distribution of n
    trials with the shares of the three; nothing else of it matters.

    Raises:
        UsageError: ``resamples`` is less than 1.
    """
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}; 2000 is usual.")
    n = len(right_a)
    only_a, only_b, _ = mcnemar(right_a, right_b)
    drawn = rng.multinomial(n, np.array([only_a, only_b, n - only_a - only_b]) / n, size=resamples)
    return (drawn[:, 0] - drawn[:, 1]) / n
