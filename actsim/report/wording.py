"""How figures and names are worded wherever a run is shown: terminal, Markdown and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actsim.config import PLAIN

Row = Mapping[str, Any]
"""A JSON object out of a run's summary."""

MISSING = "–"
BASELINES = {
    "word_overlap": "word overlap",
    "hidden_mean": "mean hidden state",
    "hidden_last": "last-token hidden state",
    "embedding": "own embedding",
}
CONTROLS = {"random-weights": "random weights", "shuffled-tokens": "shuffled tokens"}
DOUBTS = {
    "random-weights": "need not come from what the model has learned",
    "shuffled-tokens": "need not depend on the order of the words",
}
"""What it means for the headline when a control reaches it."""
ABOVE, BELOW, NOT_DISTINGUISHABLE = "above", "below", "not distinguishable from"


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


def control_label(control: Row) -> str:
    """``random weights (seed 0)``."""
    return f"{CONTROLS.get(control['name'], control['name'])} (seed {control['seed']})"


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


def template_lines(document: Row) -> list[str]:
    """``template: …`` on one line, where there is one around the sentences."""
    template = document.get("template", PLAIN)
    return [] if template == PLAIN else [f"template: {one_line(template)}"]


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


def verdict(difference: Row | None) -> str | None:
    """Where the headline stands to a baseline, by the interval of headline minus baseline (or a correlation to 0).

    Returns:
        ``above`` when the interval lies above 0, ``below`` when it lies below, ``not distinguishable from`` when it
        holds 0, None when there is no interval.
    """
    low = None if difference is None else defined(difference["ci_low"])
    high = None if difference is None else defined(difference["ci_high"])
    if low is None or high is None:
        return None
    if low > 0:
        return ABOVE
    return BELOW if high < 0 else NOT_DISTINGUISHABLE


def figure_text(row: Row) -> str:
    """``0.640 [0.597, 0.679]``, with its n where it is undefined."""
    if defined(row["spearman"]) is None:
        return f"{MISSING}, n = {row['n']}"
    return f"{number(row['spearman'])} {interval(row['ci_low'], row['ci_high'])}"


def unbeaten_overlap(summary: Row) -> Row | None:
    """The row of word overlap where the headline is not above it; None where it is, or cannot be compared."""
    rows = (row for row in summary["baselines"] if row["name"] == "word_overlap")
    return next((row for row in rows if verdict(row["difference"]) in (BELOW, NOT_DISTINGUISHABLE)), None)


def control_sentence(summary: Row) -> str | None:
    """What speaks against the headline, in plain words with the figures; None where nothing does.

    A control whose interval reaches the headline's own, word overlap that is not beaten, a partial correlation (all
    covariates held constant) whose interval does not lie above 0.
    """
    doubts = [_control_doubt(summary, control) for control in summary.get("controls", ()) if reaches(summary, control)]
    if (row := unbeaten_overlap(summary)) is not None:
        doubts.append(
            f"The headline is {verdict(row['difference'])} word overlap, which knows no model: {figure_text(row)}, "
            f"difference {difference_text(row['difference'])}."
        )
    partial = summary["partial"][-1] if summary["partial"] else None
    if partial is not None and verdict(partial) in (BELOW, NOT_DISTINGUISHABLE):
        where = "holds 0" if verdict(partial) == NOT_DISTINGUISHABLE else "lies below 0"
        doubts.append(
            f"Given {given_label(partial['given'])}, the partial correlation is {figure_text(partial)}: its interval "
            f"{where}."
        )
    return " ".join(doubts) or None


def reaches(summary: Row, control: Row) -> bool:
    """Whether the upper end of the control's interval is at least the lower end of the headline's."""
    reach, floor = defined(control["headline"]["ci_high"]), defined(summary["headline"]["ci_low"])
    return reach is not None and floor is not None and reach >= floor


def _control_doubt(summary: Row, control: Row) -> str:
    headline, own = summary["headline"], control["headline"]
    what = "part of what" if verdict(control["difference"]) == ABOVE else "what"
    paired = {
        ABOVE: ", though the paired difference leaves out 0",
        BELOW: ", and the control is the better one",
        NOT_DISTINGUISHABLE: ", and the paired difference holds 0",
    }.get(verdict(control["difference"]) or "", "")
    return (
        f"The interval of the control {control_label(control)}, {figure_text(own)}, reaches the headline's own, "
        f"{figure_text(headline)}{paired} ({difference_text(control['difference'])}): {what} the headline shows "
        f"{DOUBTS[control['name']]}."
    )


def layer_sentences(summary: Row) -> list[str]:
    """Which layers beat which control and baseline, one sentence each, by paired intervals; and partial correlations.

    A layer is set against the same layer of a control, and of a baseline that has a figure per layer.
    """
    measure = summary["headline"]["measure"]
    sentences = []
    for control in summary.get("controls", ()):
        found = {row["layer"]: row["difference"] for row in control["layers"]}
        sentences.append(f"{measure} of a layer against {control_label(control)}: {_by_verdict(found)}.")
    names = dict.fromkeys(row["name"] for row in summary.get("layer_differences", ()))
    per_layer = {row["name"] for row in summary["baselines"] if row["layer"] is not None}
    for name in names:
        found = {row["layer"]: row["difference"] for row in summary["layer_differences"] if row["name"] == name}
        same = " of the same layer" if name in per_layer else ""
        sentences.append(f"{measure} of a layer against {baseline_label(name)}{same}: {_by_verdict(found)}.")
    if rows := summary.get("partial_layers"):
        found = {row["layer"]: {**row, "value": row["spearman"]} for row in rows}
        given = given_label(rows[0]["given"])
        sentences.append(f"{measure} of a layer given {given}, partial correlation: {_by_verdict(found, '0')}.")
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _by_verdict(differences: Mapping[int, Row], what: str = "it") -> str:
    """``above it in layers 2-4, by +0.031 [+0.010, +0.052] (layer 2) to …; not distinguishable from it in layer 1``."""
    parts = []
    for where in (ABOVE, NOT_DISTINGUISHABLE, BELOW):
        layers = [layer for layer, row in differences.items() if verdict(row) == where]
        if layers:
            first, last = (pick(layers, key=lambda layer: differences[layer]["value"]) for pick in (min, max))
            ends = " to ".join(f"{difference_text(differences[end])} (layer {end})" for end in (first, last))
            ends = difference_text(differences[first]) if len(layers) == 1 else ends
            parts.append(f"{where} {what} in {layers_label(layers)}, {ends}")
    unknown = [layer for layer, row in differences.items() if verdict(row) is None]
    if unknown:
        parts.append(f"without an interval in {layers_label(unknown)}")
    return "; ".join(parts)
