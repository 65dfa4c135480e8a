"""The form of ``--layers``, told before a model is loaded; which layers there are only the model can tell."""

from __future__ import annotations

import re
from typing import Any

import click

FORMS = "all, deep, last, last:4, 21-30, 3,5,6 or a mixture such as 1-3,6"

_TERM = r"\d+(?:\s*-\s*\d+)?"
_BAND = re.compile(rf"all|deep|last(?:\s*:\s*\d+)?|{_TERM}(?:\s*,\s*{_TERM})*", re.ASCII)


class BandForm(click.ParamType):
    """A band in one of the forms of ``Band.parse``, as it was given."""

    name = "BAND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is a band of no model: another form, a reversed range, layer 0."""
        band = str(value).strip()
        if not _BAND.fullmatch(band):
            terms = (term.strip() for term in band.split(","))
            wrong = next((term for term in terms if not re.fullmatch(_TERM, term, re.ASCII)), band)
            self.fail(f"{wrong!r} is neither a layer nor a range; allowed: {FORMS}.", param, ctx)
        for first, last in re.findall(r"(\d+)(?:\s*-\s*(\d+))?", band):
            if int(first) < 1:
                self.fail(f"{band!r}: layers count from 1; allowed: {FORMS}.", param, ctx)
            if last and int(last) < int(first):
                self.fail(f"{first}-{last} is reversed; write {last}-{first}.", param, ctx)
        return str(value)
