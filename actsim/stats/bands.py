"""Bands: sets of layers whose scores are averaged, read from text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from actsim.errors import UsageError
from actsim.stats.band_forms import BAND_FORMS, BandForm

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
