"""How a band of layers is written: the grammar of ``--layers``, read before there is a model and without numpy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

BAND_FORMS = "all, deep, last, last:4, 21-30, 3,5,6 or a mixture such as 1-3,6"


@dataclass(frozen=True)
class BandForm:
    """A band as it was written; which layers it names only a number of layers can tell.

    Attributes:
        name: how it was asked for, without spaces.
        last: K of ``last:K``, 1 for ``last``; None for the other forms.
        ranges: first and last of each range, a single layer being both; empty for ``all``, ``deep`` and ``last:K``.
    """

    name: str
    last: int | None
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, spec: str) -> BandForm:
        """Read ``all``, ``deep``, ``last``, ``last:K``, or layers and ranges with commas.

        Raises:
            ValueError: what is a band of no model: another form, a reversed range, layer 0, the last 0 layers. Its
                message is the reason alone.
        """
        name = re.sub(r"\s*([,:-])\s*", r"\1", spec.strip())
        if name in ("all", "deep"):
            return cls(name, None, ())
        if match := re.fullmatch(r"last(?::([0-9]+))?", name):
            return cls(name, _count(int(match[1] or 1)), ())
        return cls(name, None, tuple(_range(term) for term in name.split(",")))

    def layers(self, n_layers: int) -> tuple[int, ...]:
        """The layers 1 … L that the band names, ascending and each once; ``deep`` is ⌊L/2⌋ + 1 … L.

        Raises:
            ValueError: a layer beyond L, or more layers than L; its message is the reason alone.
        """
        if self.name == "all":
            return tuple(range(1, n_layers + 1))
        if self.name == "deep":
            return tuple(range(n_layers // 2 + 1, n_layers + 1))
        if self.last is not None:
            return tuple(range(n_layers - _count(self.last, n_layers) + 1, n_layers + 1))
        for _, last in self.ranges:
            if last > n_layers:
                raise ValueError(f"layer {last} does not exist")
        return tuple(sorted({layer for first, last in self.ranges for layer in range(first, last + 1)}))


def _count(count: int, most: float = math.inf) -> int:
    if not 1 <= count <= most:
        raise ValueError(f"{count} is not a possible number of layers")
    return count


def _range(term: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", term)
    if match is None:
        raise ValueError(f"{term!r} is neither a layer nor a range")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(f"{term} is reversed; write {last}-{first}")
    if first < 1:
        raise ValueError(f"layer {first} does not exist: layers count from 1")
    return first, last
