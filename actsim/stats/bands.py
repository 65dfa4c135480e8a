"""Bands: sets of layers whose scores are averaged, read from text or chosen by their correlation with the gold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from actsim.errors import DataError, UsageError
from actsim.stats.band_forms import BAND_FORMS, BandForm
from actsim.stats.correlation import spearman

Column = Float[np.ndarray, " pairs"]


@dataclass(frozen=True)
class Band:
    """A set of layers whose scores are averaged.

    Attributes:
        name: how the band was asked for, e.g. ``"deep"`` or ``"21-30"``.
        layers: ascending, counted from 1.
    """

    name: str
    layers: tuple[int, ...]

    @classmethod
    def parse(cls, spec: str, n_layers: int) -> Band:
        """Read a band: ``all``, ``deep`` (⌊L/2⌋ + 1 … L), ``last``, ``last:K``, or layers and ranges with commas.

        Ranges are inclusive; a layer that is named twice counts once. ``BandForm`` has the grammar.

        Raises:
            UsageError: another form, a reversed range, or a layer outside 1 … L.
        """
        try:
            form = BandForm.read(spec)
            return cls(form.name, form.layers(n_layers))
        except ValueError as reason:
            raise UsageError(
                f"cannot read --layers {spec!r}: {reason}; the model has layers 1 to {n_layers}; allowed: {BAND_FORMS}."
            ) from None

    def average(self, layer_scores: Float[np.ndarray, "pairs layers"]) -> Column:
        """Mean of the band's layer scores, one value per pair; NaN where one of them is."""
        return layer_scores[:, np.array(self.layers) - 1].mean(axis=1)


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
