"""What the commands beside ``eval`` print: two sentences compared, a model described, files of a run.

Every function takes the JSON document that the command prints with ``--json``, so that both say the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from actsim.report.tables import ASCII_SIMPLE, MAX_BAR_CELLS, MIN_BAR_CELLS, TO_ASCII, BarScale
from actsim.report.wording import MISSING, band_label, counted, interval, number, one_line, template_lines

Document = Mapping[str, Any]

FILES_WIDTH = 79
ESTIMATES = {"weights": "weights", "neurons": "neurons", "neurons_absolute": "neurons, sum |.|"}
"""Keys of an estimate check's rows and how they are headed: the last adds up absolute values, as scores do."""
UNITS = {"head": "attention heads", "neuron": "MLP neurons"}
SYMBOLS_TO_ASCII = TO_ASCII | str.maketrans(
    {"Σ": "sum ", "∩": "&", "∪": "|", "∂": "d", "⊙": "*", "√": "sqrt", "⌊": "floor(", "⌋": ")"}
)


@dataclass(frozen=True)
class Ink:
    """Texts and tables for one width and character set.

    Attributes:
        width: columns of the console.
        ascii_only: whether its encoding is not UTF-8.
    """

    width: int
    ascii_only: bool

    def text(self, value: object, style: str = "") -> Text:
        """Text without markup, folded where a word is longer than the line."""
        line = str(value)
        if self.ascii_only:
            line = line.translate(SYMBOLS_TO_ASCII).encode("ascii", "backslashreplace").decode()
        return Text(line, style=style, overflow="fold")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        labels: Sequence[str] = (),
        lines: bool = False,
    ) -> Table:
        """A table of right-justified columns; those named in ``labels`` are left-justified and may fold.

        Args:
            columns: headings.
            rows: cells; a tuple is one line each.
            labels: headings of the columns with words.
            lines: leave room between the rows.
        """
        table = Table(
            box=ASCII_SIMPLE if self.ascii_only else SIMPLE,
            pad_edge=False,
            show_edge=False,
        )
        for heading in columns:
            label = heading in labels
            table.add_column(self.text(heading), justify="left" if label else "right", overflow="fold")
        for index, row in enumerate(rows):
            if lines and index:
                table.add_row()
            table.add_row(*(self._cell(value) for value in row))
        return table

    def _cell(self, value: object) -> RenderableType:
        if isinstance(value, tuple):
            return Text("\n").join(self.text(line) for line in value)
        return self.text(value)


@dataclass(frozen=True)
class Page:
    """A rich renderable that is built for the width and the character set of the console it meets."""

    blocks: Callable[[Ink], Iterable[RenderableType]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render for this console."""
        yield Group(*self.blocks(Ink(options.max_width, options.ascii_only)))


def files_lines(directory: Path, names: Iterable[str]) -> list[str]:
    """After an empty line the directory of a run on a line of its own, then the names of its files."""
    listed = textwrap.wrap(", ".join(names), FILES_WIDTH, initial_indent="  ", subsequent_indent="  ")
    return ["", f"files in {one_line(directory)}:", *listed]


# actsim score


def score_report(document: Document) -> Page:
    """Scores of two sentences by layer, the band's scores, and where it was asked for the explanation."""

    def blocks(ink: Ink) -> Iterable[RenderableType]:
        for name, sentence, readout in zip("ab", document["sentences"], document["readouts"], strict=True):
            yield ink.text(f"{name}: {one_line(sentence)}   (D = {readout:.4g})")
        model = one_line(document["model"]["name"])
        yield ink.text(f"{model}: {document['objective']}, {document['pattern']}", "dim")
        yield from (ink.text(line, "dim") for line in template_lines(document))
        yield Text()
        yield _layer_scores(ink, document)
        yield ink.text("* layers of the band", "dim")
        bands = ", ".join(f"{entry['measure']} {number(entry['band'])}" for entry in document["scores"])
        yield ink.text(f"{band_label(document['band'])}: {bands}", "bold")
        if "explanation" in document:
            yield from _explanation(ink, document["explanation"])
        if document["notes"]:
            yield Text()
            yield from (ink.text(f"- {one_line(note)}") for note in document["notes"])

    return Page(blocks)


def _layer_scores(ink: Ink, document: Document) -> Table:
    """One line per layer, one column per measure, and a bar of the first measure where there is room."""
    measures = [entry["measure"] for entry in document["scores"]]
    by_measure = [{row["layer"]: row["score"] for row in entry["layers"]} for entry in document["scores"]]
    band = set(document["band"]["layers"])
    headings = ["layer", *measures]
    rows = [
        [f"{layer}{' *' if layer in band else '  '}", *(number(scores[layer]) for scores in by_measure)]
        for layer in by_measure[0]
    ]
    room = min(ink.width - sum(3 + max(len(heading), 6) for heading in headings), MAX_BAR_CELLS)
    if room < MIN_BAR_CELLS:
        return ink.table(headings, rows)
    values = list(by_measure[0].values())
    lowest = min((value for value in values if value is not None), default=0.0)
    scale = BarScale(room, min(lowest, 0.0), ink.ascii_only)
    rows = [[*row, scale.bar(value)] for row, value in zip(rows, values, strict=True)]
    return ink.table([*headings, scale.heading()], rows, labels=[scale.heading()])


def _explanation(ink: Ink, explanation: Document) -> Iterable[RenderableType]:
    """Shares of the common activation in percent: by layer and kind, then the largest heads and neurons."""
    kinds = list(dict.fromkeys(row["kind"] for row in explanation["kinds"]))
    shares = {(row["layer"], row["kind"]): row["share"] for row in explanation["kinds"]}
    yield Text()
    yield ink.text("share of the common activation, %", "bold")
    yield ink.table(
        ["layer", "all", *kinds],
        [
            [row["layer"], percentage(row["share"]), *(percentage(shares.get((row["layer"], kind))) for kind in kinds)]
            for row in explanation["layers"]
        ],
    )
    for unit, columns in (("head", ("layer", "role", "head")), ("neuron", ("layer", "neuron"))):
        units = explanation[f"{unit}s"]
        if not units:
            continue
        own_kinds = list(dict.fromkeys(kind for row in units for kind in row["kinds"]))
        rows = [
            [
                *(row[column] for column in columns),
                percentage(row["share"]),
                *(percentage(row["kinds"].get(kind)) for kind in own_kinds),
            ]
            for row in units
        ]
        yield Text()
        yield ink.text(f"largest of {explanation[f'n_{unit}s']} {UNITS[unit]}, % of the whole", "bold")
        yield ink.table([*columns, "all", *own_kinds], rows, labels=["role"])


def percentage(share: float | None) -> str:
    """``12.300`` for 0.123; "–" where there is none."""
    return MISSING if share is None else f"{100 * share:.3f}"


# actsim info


def model_report(document: Document, runs: Sequence[tuple[int, int, Document]]) -> Page:
    """A model: where it came from, its maps by layer and kind, what is left out, what a pair costs.

    Args:
        document: the description of the model.
        runs: consecutive layers that are alike: first, last, the description of one.
    """

    def blocks(ink: Ink) -> Iterable[RenderableType]:
        yield from _model_heading(ink, document)
        yield Text()
        yield _maps(ink, runs)
        yield Text()
        yield _parameters(ink, document)
        yield from _exclusions(ink, document)
        yield Text()
        yield from _costs(ink, document)
        yield from (ink.text(f"- {one_line(note)}") for note in document["notes"])
        if "estimate_check" in document:
            yield Text()
            yield from _estimate_check(ink, document["estimate_check"])

    return Page(blocks)


def _model_heading(ink: Ink, document: Document) -> Iterable[RenderableType]:
    yield ink.text(one_line(document["name"]), "bold")
    yield ink.text(one_line(document["source_note"]))
    rows = [
        ["architecture", f"{document['architecture']}, {document['family']}, {counted(document['n_layers'], 'layer')}"],
        ["type", f"{document['dtype']} on {document['device']}"],
        ["read-out", f"{document['objective']} (of: {', '.join(document['objectives'])})"],
        ["sentences", f"at most {document['max_tokens']} tokens, {_side_by_side(document)}"],
    ]
    if document["pooling"]:
        rows.insert(2, ["pooling", " -> ".join((document["pooling"], *document["head"]))])
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(ink.text(name, "dim"), ink.text(one_line(value)))
    yield grid


def _side_by_side(document: Document) -> str:
    return "several side by side" if document["batchable"] else "one at a time"


def _maps(ink: Ink, runs: Sequence[tuple[int, int, Document]]) -> Table:
    """One line per kind of map, for layers that are alike once."""
    rows = []
    for first, last, layer in runs:
        label = f"{first}-{last}" if last > first else f"{first}"
        for kind in layer["kinds"]:
            shapes = ", ".join(dict.fromkeys(f"{d_out} x {d_in}" for d_out, d_in in kind["shapes"]))
            rows.append([label, kind["kind"], kind["maps"], shapes, f"{kind['parameters']:,}"])
            label = ""
        rows.append(["", "all", layer["maps"], "", f"{layer['parameters']:,}"])
    return ink.table(["layers", "kind", "maps", "out x in", "parameters, each layer"], rows, labels=["kind"])


def _parameters(ink: Ink, document: Document) -> Table:
    """Scored and unscored parameters, and those outside the blocks by part."""
    total = document["total_parameters"]
    rows = [("scored", document["scored_parameters"]), ("other in the blocks", document["unscored_in_blocks"])]
    rows += [(f"outside: {part['name']}", part["parameters"]) for part in document["parts"]]
    cells = [[name, f"{count:,}", percentage(count / total)] for name, count in [*rows, ("all", total)]]
    return ink.table(["", "parameters", "%"], cells, labels=[""])


def _exclusions(ink: Ink, document: Document) -> Iterable[Text]:
    """Declared exclusions and tied names; parameters with one reason share a line."""
    reasons: dict[str, list[Document]] = {}
    for exclusion in document["exclusions"]:
        reasons.setdefault(exclusion["reason"], []).append(exclusion)
    for reason, excluded in reasons.items():
        more = f" and {len(excluded) - 1} more" if len(excluded) > 1 else ""
        yield ink.text(f"- not scored: {excluded[0]['name']}{more}: {one_line(reason)}")
    if document["tied"]:
        yield ink.text(f"- parameters with a second name count once: {', '.join(document['tied'])}")


def _costs(ink: Ink, document: Document) -> Iterable[RenderableType]:
    """Estimated work of a pair and memory of a batch."""
    flops, memory = document["flops"], document["memory"]
    work = [[name.replace("_", " "), magnitude(value, 1000, "")] for name, value in flops.items() if name != "tokens"]
    yield ink.text(f"work of a pair, two sentences of {flops['tokens']} tokens", "bold")
    yield ink.table(["FLOPs", "estimate"], work, labels=["FLOPs"])
    yield Text()
    parts = ("weights", "activations", "traces", "workspace", "total")
    yield ink.text(f"memory of a batch of {memory['batch_tokens']} tokens, {memory['sentences']} sentences", "bold")
    rows = [[name, magnitude(memory[name], 1024, "iB")] for name in parts]
    yield ink.table(["peak memory", "estimate"], rows, labels=["peak memory"])


def magnitude(value: float, base: int, unit: str) -> str:
    """``1.23 G`` for 1.23e9 in base 1000, ``1.15 GiB`` in base 1024 with the unit ``iB``; whole below ``base``."""
    for prefix in ("", "K", "M", "G", "T", "P"):
        if abs(value) < base or prefix == "P":
            break
        value /= base
    suffix = unit if prefix else unit.removeprefix("i")
    return f"{value:.3g} {prefix}{suffix}".rstrip() if prefix else f"{value:g} {suffix}".rstrip()


def _estimate_check(ink: Ink, check: Document) -> Iterable[RenderableType]:
    """The first-order estimate against the true change of D, layer by layer."""
    yield ink.text("first-order estimate against the true change of D when a weight or a neuron is set to zero", "bold")
    yield ink.text(
        f"{check['objective']}, {check['dtype']}, texts: {check['texts']}; removed in each layer: "
        f"{check['weights_per_layer']} weights, {check['neurons_per_layer']} neurons"
    )
    headings = ["layer"]
    for name in ESTIMATES.values():
        headings += [f"{name}: ρ", "ratio"]
    rows = [
        [
            "all" if row["layer"] is None else row["layer"],
            *(number(row[estimate][figure]) for estimate in ESTIMATES for figure in ("spearman", "ratio_median")),
        ]
        for row in [*check["layers"], check["overall"]]
    ]
    yield ink.table(headings, rows)
    yield ink.text("ρ: Spearman of estimate and change; ratio: median of change / estimate", "dim")
    yield ink.text("estimate of a weight: |w ∂D/∂w|; of a neuron, a row of weights: |Σ w ∂D/∂w|", "dim")
    yield ink.text("neurons, sum |.|: Σ |w ∂D/∂w| of the same rows, added up as the scores do", "dim")
    for estimate, name in ESTIMATES.items():
        overall = check["overall"][estimate]
        quantiles = interval(overall["ratio_p10"], overall["ratio_p90"])
        yield ink.text(f"{name}: 80 % of the ratios in {quantiles}, n = {overall['n']}", "dim")
    yield from (ink.text(f"- {one_line(note)}") for note in check["notes"])
