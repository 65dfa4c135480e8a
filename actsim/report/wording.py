"""How figures and names are worded wherever a run is shown: terminal, Markdown and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""A JSON object out of a run's summary."""

MISSING = "–"
BASELINES = {
    "word_overlap": "word overlap",
    "hidden_mean": "mean hidden state",
    "hidden_last": "last-token hidden state",
    "embedding": "own embedding",
}


def defined(value: float | None) -> float | None:
    """The value as a float, or None when it is missing or NaN."""
    return None if value is None or math.isnan(value) else float(value)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """``0.653``, with its sign when ``signed``; "–" when undefined; never a negative zero."""
    value = defined(value)
    if value is None:
        return MISSING
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """``[0.602, 0.699]``, or "–" when an end is undefined."""
    if defined(low) is None or defined(high) is None:
        return MISSING
    return f"[{number(low, digits, signed=signed)}, {number(high, digits, signed=signed)}]"


def one_line(value: object) -> str:
    """The value as text on one line: line breaks become spaces, other control characters their escapes."""
    text = " ".join(str(value).split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def counted(number: int, noun: str) -> str:
    """``1 layer``, ``6 layers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(level: float) -> str:
    """``95 %`` for 0.95."""
    return f"{100 * level:g} %"


def data_label(summary: Row) -> str:
    """``sts-b, test``; the name alone where there is no split."""
    dataset = summary["dataset"]
    return ", ".join(one_line(dataset[key]) for key in ("name", "split") if dataset[key])


def baseline_label(name: str) -> str:
    """The name of a baseline in words."""
    return BASELINES.get(name, name.replace("_", " "))


def given_label(given: Iterable[str]) -> str:
    """The covariates of a partial correlation in words: ``word overlap, length difference``."""
    return ", ".join(name.replace("_", " ") for name in given)


def runs_of_layers(layers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive layers, first and last inclusive: 3, 5, 6 gives (3, 3), (5, 6)."""
    runs: list[tuple[int, int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], layer)
        else:
            runs.append((layer, layer))
    return runs


def layers_label(layers: Sequence[int]) -> str:
    """``layer 6``, ``layers 4-6`` or ``layers 3, 5-6``."""
    runs = runs_of_layers(layers)
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"layer {text}" if len(set(layers)) == 1 else f"layers {text}"


def band_label(band: Row) -> str:
    """``deep band (layers 4-6)``; a band that is named by its layers alone, such as ``21-30``, is ``layers 21-30``."""
    name, layers = one_line(band["name"]), layers_label(band["layers"])
    return layers if re.fullmatch(r"[\d,\s-]+", name) else f"{name} band ({layers})"


def statistic_text(row: Row) -> str:
    """``Spearman 0.653 [0.602, 0.699], n = 1379``, the interval left out where there is none."""
    text = f"Spearman {number(row['spearman'])}"
    ends = interval(row["ci_low"], row["ci_high"])
    return f"{text}{'' if ends == MISSING else ' ' + ends}, n = {row['n']}"


def headline_sentence(summary: Row) -> str:
    """``deep band (layers 4-6): Spearman 0.653 [0.602, 0.699], n = 1379``."""
    return f"{band_label(summary['band'])}: {statistic_text(summary['headline'])}"


def selection_sentence(selection: Row) -> str:
    """Where the band was chosen, with the figure there and here."""
    band = band_label({"name": selection["band"], "layers": selection["layers"]})
    return (
        f"Band chosen on the split {one_line(selection['split'])}: {band}; "
        f"Spearman {number(selection['spearman_selection'])} there, {number(selection['spearman_here'])} here."
    )


def difference_text(difference: Row | None) -> str:
    """``+0.012 [-0.010, +0.034]``, or "–" where there is no difference."""
    if difference is None or defined(difference["value"]) is None:
        return MISSING
    ends = interval(difference["ci_low"], difference["ci_high"], signed=True)
    return f"{number(difference['value'], signed=True)} {ends}"
