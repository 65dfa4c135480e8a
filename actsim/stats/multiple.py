"""Several tests at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Holm's adjusted p-values: rejecting where they are below α keeps the family-wise error at α.

    With the m p-values in ascending order p₍₁₎ ≤ … ≤ p₍ₘ₎, whatever their dependence,

        adjusted p₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎).

    A p-value that is NaN stays NaN and does not count as a test.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
    6, 65-70; the adjusted form of Wright (1992), Biometrics 48, 1005-1013.
    """
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    ascending = tests[np.argsort(p_values[tests], kind="stable")]
    factors = np.arange(len(ascending), 0, -1)
    adjusted[ascending] = np.maximum.accumulate(np.minimum(1, factors * p_values[ascending]))
    return adjusted
