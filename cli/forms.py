"""Values of options that have a form of their own: column names by role, texts that are not empty."""

from __future__ import annotations

import re
from typing import Any

import click


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
