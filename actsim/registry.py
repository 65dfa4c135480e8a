"""Registries: a name stands for "module:attribute" and is imported when it is first asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actsim.errors import UsageError


def unknown_name(what: str, got: str, allowed: Iterable[str], next_step: str = "") -> UsageError:
    """The error for a name that is not known, with the nearest known names suggested."""
    names = list(allowed)
    by_lower = {name.lower(): name for name in names}
    near = [by_lower[name] for name in difflib.get_close_matches(got.lower(), by_lower, n=2, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    tail = f" {next_step}" if next_step else ""
    return UsageError(f"unknown {what} {got!r}; known: {', '.join(names)}.{hint}{tail}")


def refuse_repeated(what: str, names: Sequence[str]) -> None:
    """Raise UsageError for a name that is given more than once."""
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the {what} {name} is given twice; name each once.")


class Registry:
    """An ordered mapping from public names to lazily imported objects.

    Args:
        what: the noun used in messages, e.g. ``"measure"``.
        entries: name -> ``"package.module:attribute"``.
    """

    def __init__(self, what: str, entries: dict[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def register(self, name: str, target: str) -> None:
        """Add ``name``; a name already taken by another target is a UsageError."""
        taken = self._entries.setdefault(name, target)
        if taken != target:
            raise UsageError(f"{self.what} {name!r} is already registered as {taken}; choose another name.")

    def check(self, name: str) -> str:
        """Return ``name`` when it is known; raise UsageError with suggestions otherwise."""
        if name not in self._entries:
            raise unknown_name(self.what, name, self._entries)
        return name

    def get(self, name: str) -> Any:
        """Import and return the object that ``name`` stands for."""
        module, _, attribute = self._entries[self.check(name)].partition(":")
        return getattr(importlib.import_module(module), attribute)
