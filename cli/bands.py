"""The form of ``--layers``, told before a model is loaded; which layers there are only the model can tell."""

from __future__ import annotations

from typing import Any

import click

from actsim.stats.band_forms import BAND_FORMS, BandForm


class BandType(click.ParamType):
    """A band in one of the forms of ``Band.parse``, as it was given."""

    name = "BAND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is a band of no model."""
        try:
            BandForm.read(str(value))
        except ValueError as reason:
            self.fail(f"{reason}; allowed: {BAND_FORMS}.", param, ctx)
        return str(value)
