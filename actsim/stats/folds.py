"""Intervals of a figure of many samples from the same figure of several groups of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]


def fold_interval(whole: Floats, folds: Floats, level: float) -> tuple[Floats, Floats]:
    """The interval of ``whole``, a figure of all samples, from the same figure of k folds of them.

    whole ± t · s / √k, with s the standard deviation of the folds' figures and t the quantile of Student's distribution
    with k - 1 degrees of freedom: the random group method (Wolter, Introduction to Variance Estimation, 2007,
    chapter 2). The folds' figures may all be off in one direction, as those of fewer samples are; only how far they
    lie apart counts. It speaks of other samples of the same domain, not of other domains.

    Args:
        whole: figures [...].
        folds: the folds' figures [..., k].
        level: coverage.

    Returns:
        Lower and upper ends [...]; NaN where k < 2 or a figure is undefined.
    """
    k = folds.shape[-1]
    if k < 2:
        undefined = np.full(np.shape(whole), np.nan)
        return undefined, undefined
    reach = student.ppf((1 + level) / 2, k - 1) * folds.std(axis=-1, ddof=1) / np.sqrt(k)
    return whole - reach, whole + reach
