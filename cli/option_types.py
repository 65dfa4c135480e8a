"""What an option may hold beyond click's own types; bad values are refused before a model is loaded."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from actsim.stats.band_forms import BAND_FORMS, BandForm


class Columns(click.ParamType):
    """``ROLE=NAME`` pairs with commas between them, as a mapping from role to column name."""

    name = "ROLE=NAME,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Split at the commas that a new role follows, so that a column's name may have commas of its own."""
        if isinstance(value, dict):
            return value
        columns: dict[str, str] = {}
        for term in re.split(r",(?=\s*\w+=)", value):
            role, equals, name = term.partition("=")
            role = role.strip()
            if not (role and equals and name):
                self.fail(f"{term!r} is not ROLE=NAME; write e.g. a=left,b=right,gold=score.", param, ctx)
            if role in columns:
                self.fail(f"the role {role!r} is given twice; name one column for it.", param, ctx)
            columns[role] = name
        return columns


class Number(click.FloatRange):
    """A finite number in a range: click itself lets ``nan`` and ``inf`` pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is not finite or out of range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Sentence(click.ParamType):
    """A text that is not empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse a blank text, and bytes that are no UTF-8."""
        text = str(value)
        if not text.strip():
            self.fail("the sentence is empty; give a text.", param, ctx)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.fail("the sentence is not valid UTF-8; convert it.", param, ctx)
        return text


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
