"""The band of layers whose mean score follows the gold most closely."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from actsim.errors import DataError
from actsim.stats.bands import Band, Column
from actsim.stats.correlation import spearman


def choose_band(gold: Column, layer_scores: Float[np.ndarray, "pairs layers"]) -> tuple[Band, float]:
    """The contiguous band with the highest Spearman correlation, and that correlation.

    All L (L + 1) / 2 windows of layers are candidates; of equal ones the wider wins, then the deeper. Meant for a
    split other than the one reported: the correlation is the best of many, hence too high for that split.

    Raises:
        DataError: no candidate has a defined correlation (constant gold or scores).
    """
    n_layers = layer_scores.shape[1]
    best: tuple[float, int, int] | None = None
    for first in range(1, n_layers + 1):
        for last in range(first, n_layers + 1):
            rho = spearman(_window(first, last).average(layer_scores), gold)
            candidate = (rho, last - first + 1, last)
            if not math.isnan(rho) and (best is None or candidate > best):
                best = candidate
    if best is None:
        raise DataError(
            f"no band can be chosen on these {len(gold)} pairs: the gold or every layer's score is constant; "
            "select on a split with varied gold scores."
        )
    rho, width, last = best
    return _window(last - width + 1, last), rho


def _window(first: int, last: int) -> Band:
    return Band(str(first) if first == last else f"{first}-{last}", tuple(range(first, last + 1)))
