"""Do two scores follow the same gold differently well? Tests for two correlations that share a variable.

The paired bootstrap assumes no more than that the pairs are a sample of exchangeable pairs; Steiger's test is its
closed-form companion for normal data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from actsim.errors import UsageError


class Steiger(NamedTuple):
    """Steiger's Z and its two-sided p-value; both NaN where the statistic is undefined."""

    z: float
    p: float


def steiger(r_a: float, r_b: float, r_ab: float, n: int) -> Steiger:
    """Two-sided test of ρ(a, gold) = ρ(b, gold) for two correlations with one gold, measured on the same n pairs.

    With Fisher's z(r) = artanh r, r̄ = (r_a + r_b) / 2 and the covariance of the two correlations at r̄,

        ψ = r_ab (1 − 2 r̄²) − r̄² (1 − 2 r̄² − r_ab²) / 2,        s = ψ / (1 − r̄²)²,
        Z = (z(r_a) − z(r_b)) √(n − 3) / √(2 − 2 s),

    which is about standard normal when the three variables are jointly normal. For correlations of ranks this is an
    approximation. Where both scores are one (r_ab = 1 and r_a = r_b), Z is 0 and p is 1.

    Args:
        r_a: correlation of the first score with the gold.
        r_b: correlation of the second score with the gold.
        r_ab: correlation of the two scores with each other.
        n: number of pairs.

    Returns:
        Z and p; NaN where n < 4, a correlation is undefined or a correlation with the gold is ±1.

    Source: Steiger (1980), "Tests for comparing elements of a correlation matrix", Psychological Bulletin 87,
    245-251, eq. 14 with the covariance of eq. 10, taken at the mean of the two correlations.
    """
    if n < 4 or not all(map(math.isfinite, (r_a, r_b, r_ab))) or max(abs(r_a), abs(r_b)) >= 1:
        return Steiger(math.nan, math.nan)
    if r_a == r_b:
        return Steiger(0.0, 1.0)
    pooled = ((r_a + r_b) / 2) ** 2
    psi = r_ab * (1 - 2 * pooled) - pooled * (1 - 2 * pooled - r_ab**2) / 2
    variance = 2 - 2 * psi / (1 - pooled) ** 2
    if variance <= 0:
        return Steiger(math.nan, math.nan)
    z = (math.atanh(r_a) - math.atanh(r_b)) * math.sqrt((n - 3) / variance)
    return Steiger(z, float(2 * scipy.stats.norm.sf(abs(z))))


def bootstrap_p(differences: Float[np.ndarray, " resamples"]) -> float:
    """Two-sided p-value that a difference is zero, from its bootstrap replicates d*.

        p = min(1, 2 (1 + min(#{d* ≤ 0}, #{d* ≥ 0})) / (B + 1))

    over the B defined replicates: the smallest 1 − level at which the percentile interval leaves out 0. The 1 keeps p
    above 0: it cannot be smaller than ``smallest_p(B)``. NaN when fewer than half of the replicates are defined.

    Source: the inversion of the percentile interval, Efron and Tibshirani (1993), "An Introduction to the Bootstrap",
    ch. 13 and 15; the 1 as in Davison and Hinkley (1997), "Bootstrap Methods and their Application", eq. 4.11.
    """
    defined = differences[~np.isnan(differences)]
    if len(defined) == 0 or 2 * len(defined) < len(differences):
        return math.nan
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, smallest_p(len(defined)) * (1 + tail))


def smallest_p(resamples: int) -> float:
    """The smallest p-value that ``bootstrap_p`` can give with so many resamples: 2 / (B + 1).

    Raises:
        UsageError: ``resamples`` is less than 1.
    """
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}; 2000 is usual.")
    return 2 / (resamples + 1)
