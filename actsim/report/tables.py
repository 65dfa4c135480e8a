"""The tables of a run: what the terminal shows last, ``layers.csv`` and ``kinds.csv``.

Every function takes the ``summary`` mapping of a run. A correlation that is undefined is ``None`` there; it is
shown as "–" with its n, and is an empty field in the csv files.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE, Box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from actsim.report.wording import (
    MISSING,
    Row,
    baseline_label,
    control_label,
    data_label,
    defined,
    difference_text,
    given_label,
    headline_sentence,
    interval,
    number,
    one_line,
    percent,
    selection_sentence,
    statistic_text,
    template_lines,
)

STATISTICS = ("n", "spearman", "ci_low", "ci_high", "pearson", "kendall")
MAX_BAR_CELLS = 40
MIN_BAR_CELLS = 8
NARROW = 72
ASCII_SIMPLE = Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)
TO_ASCII = str.maketrans({MISSING: "-", "…": "...", "²": "2", "‖": "||", "×": "x", "ρ": "rho", "γ": "gamma"})


def measure_layers(summary: Row, measure: str) -> dict[int, Row]:
    """The rows of one measure by layer, in the order of the layers."""
    rows = [row for row in summary["layers"] if row["measure"] == measure]
    return {row["layer"]: row for row in sorted(rows, key=lambda row: row["layer"])}


def kind_rows(summary: Row, measure: str) -> dict[str, dict[int, Row]]:
    """The rows of one measure by module kind, then by layer, in order of appearance."""
    found: dict[str, dict[int, Row]] = {}
    for row in summary["kinds"]:
        if row["measure"] == measure:
            found.setdefault(row["kind"], {})[row["layer"]] = row
    return found


def layer_baselines(summary: Row) -> dict[str, dict[int, Row]]:
    """Baselines that have a figure per layer: name -> layer -> row, in order of appearance."""
    found: dict[str, dict[int, Row]] = {}
    for row in summary["baselines"]:
        if row["layer"] is not None:
            found.setdefault(row["name"], {})[row["layer"]] = row
    return found


def beside_layers(summary: Row) -> dict[str, tuple[str, dict[int, Row]]]:
    """What stands beside the layers of the headline measure: key -> (label, layer -> row).

    The controls, as ``control_<name>``, and the partial correlations given all covariates, as ``partial``.
    """
    found = {
        f"control_{control['name'].replace('-', '_')}": (
            control_label(control),
            {row["layer"]: row for row in control["layers"]},
        )
        for control in summary.get("controls", ())
    }
    if rows := summary.get("partial_layers"):
        found["partial"] = ("partial", {row["layer"]: row for row in rows})
    return found


def strongest(rows: Iterable[Row]) -> Row | None:
    """The row of the largest defined Spearman correlation, or None."""
    known = [row for row in rows if defined(row["spearman"]) is not None]
    return max(known, key=lambda row: row["spearman"], default=None)


# csv


def _field(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A csv file; floats in full, an undefined one as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_field(value) for value in row] for row in rows)
    return text.getvalue()


def layers_csv(summary: Row) -> str:
    """One row per layer and measure: its statistics, the baselines of that layer, then what ``beside_layers`` finds.

    Floats are written with ``repr`` and parse back to the same bits; an undefined value is an empty field.
    """
    baselines, others = layer_baselines(summary), beside_layers(summary)
    ends = ("spearman", "ci_low", "ci_high")
    header = ["layer", "measure", *STATISTICS, *(f"{name}_{end}" for name in (*baselines, *others) for end in ends)]
    headline = summary["headline"]["measure"]
    rows = []
    for row in summary["layers"]:
        beside = [found.get(row["layer"], {}) for found in baselines.values()]
        beside += [found.get(row["layer"], {}) if row["measure"] == headline else {} for _, found in others.values()]
        own = [row["layer"], row["measure"], *(row[name] for name in STATISTICS)]
        rows.append([*own, *(other.get(end) for other in beside for end in ends)])
    return csv_text(header, rows)


def kinds_csv(summary: Row) -> str:
    """One row per layer, module kind and measure, in the form of ``layers_csv``."""
    header = ["layer", "kind", "measure", *STATISTICS]
    return csv_text(header, ([row[name] for name in header] for row in summary["kinds"]))


# terminal


@dataclass(frozen=True)
class BarScale:
    """Bars on a scale from ``low`` (at most 0) to 1, at most ``cells`` characters wide.

    With a negative ``low`` the bars start at an axis: to its right for positive values, to its left for
    negative ones, both in the same unit.
    """

    cells: int
    low: float
    ascii_only: bool = False

    @property
    def unit(self) -> float:
        """Cells per 1.0."""
        return (self.cells - 2) / (1 - self.low) if self.low < 0 else float(self.cells)

    @property
    def left(self) -> int:
        """Cells to the left of the axis; 0 where no value is negative and there is no axis."""
        return math.ceil(-self.low * self.unit) if self.low < 0 else 0

    def heading(self) -> str:
        """The scale: 0 where the bars start, 1 where they would end."""
        length = int(self.unit) + (1 if self.left else 0)
        return " " * self.left + "0".ljust(length - 1) + "1"

    def bar(self, value: float | None) -> str:
        """The bar of ``value``, drawn in eighths of a cell (halves when negative, whole cells in ASCII)."""
        length = (defined(value) or 0.0) * self.unit
        if self.ascii_only:
            left, axis, right = "#" * round(max(-length, 0)), "|", "#" * round(max(length, 0))
        else:
            whole, eighths = divmod(round(max(length, 0) * 8), 8)
            right = "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]
            whole, half = divmod(round(max(-length, 0) * 2), 2)
            left, axis = "▐" * half + "█" * whole, "│"
        return left.rjust(self.left) + axis + right if self.left else right


def terminal_table(summary: Row, width: int | None = None) -> RenderableType:
    """The last thing an evaluation prints: layer table, headline, baselines, partial correlations, notes.

    Args:
        summary: the summary of a run.
        width: columns to stay within; the console's width when None or larger than that.
    """
    return TerminalReport(summary, width)


@dataclass(frozen=True)
class TerminalReport:
    """A rich renderable; plain ASCII where the console's encoding is not UTF-8."""

    summary: Row
    width: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render for this console's width and encoding."""
        width = min(self.width or options.max_width, options.max_width)
        painter = _Painter(self.summary, width, options.ascii_only)
        yield Constrain(Group(*painter.blocks()), width)


class _Painter:
    """Builds the blocks of a TerminalReport for one width and one character set."""

    def __init__(self, summary: Row, width: int, ascii_only: bool) -> None:
        self.summary = summary
        self.width = width
        self.ascii_only = ascii_only
        self.level = percent(summary["level"])

    def blocks(self) -> Iterable[RenderableType]:
        """All blocks from the heading to the notes."""
        summary = self.summary
        yield from self.heading()
        yield Text()
        yield self.layer_table()
        yield self.text(f"* layers of the headline band; intervals at {self.level}", "dim")
        if partial := summary.get("partial_layers"):
            yield self.text(f"partial: given {given_label(partial[0]['given'])}", "dim")
        if len(summary["bands"]) > 1:
            longest = max(len(row["measure"]) for row in summary["bands"])
            for row in summary["bands"]:
                yield self.text(f"{row['measure']:<{longest}}  {statistic_text(row)}")
        yield self.text(headline_sentence(summary), "bold")
        if summary["selection"]:
            yield self.text(selection_sentence(summary["selection"]))
        if summary.get("controls"):
            yield Text()
            yield self.control_table()
        if summary["baselines"]:
            yield Text()
            yield self.baseline_table()
        if summary["partial"]:
            yield Text()
            yield self.partial_table()
        if summary["notes"]:
            yield Text()
            yield from (self.text(f"- {one_line(note)}") for note in summary["notes"])

    def text(self, value: str, style: str = "") -> Text:
        """Text without markup, folded where a word is longer than the line."""
        return Text(self.plain(value), style=style, overflow="fold")

    def plain(self, value: str) -> str:
        """The value in the console's character set."""
        if not self.ascii_only:
            return value
        return value.translate(TO_ASCII).encode("ascii", "backslashreplace").decode()

    def heading(self) -> Iterable[Text]:
        """Data set, model and how the patterns were scored."""
        summary = self.summary
        yield self.text(f"{data_label(summary)}: {summary['n_pairs']} pairs", "bold")
        yield self.text(one_line(summary["model"]["name"]))
        yield self.text(f"{summary['objective']}, {summary['pattern']}, {summary['headline']['measure']}", "dim")
        yield from (self.text(line, "dim") for line in template_lines(summary))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], labels: str = "") -> Table:
        """A table of right-justified columns; those named in ``labels`` are left-justified and may fold.

        On a narrow screen all columns may fold: then nothing is cut off.
        """
        table = Table(box=ASCII_SIMPLE if self.ascii_only else SIMPLE, pad_edge=False, show_edge=False)
        for heading in columns:
            label = heading == labels
            table.add_column(
                self.text(heading),
                justify="left" if label else "right",
                no_wrap=self.width >= NARROW and not label,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*(self.text(value) for value in row))
        return table

    def layer_table(self) -> RenderableType:
        """One line per layer of the headline measure."""
        summary = self.summary
        rows = measure_layers(summary, summary["headline"]["measure"])
        hidden = layer_baselines(summary).get("hidden_mean")
        _, partial = beside_layers(summary).get("partial", ("", None))
        band = set(summary["band"]["layers"])
        columns: list[tuple[str, Callable[[int, Row], str]]] = [
            ("layer", lambda layer, row: f"{layer}{' *' if layer in band else '  '}"),
            ("Spearman", lambda layer, row: number(row["spearman"])),
            (f"{self.level} interval", lambda layer, row: interval(row["ci_low"], row["ci_high"])),
        ]
        if self.shows_n(rows.values()):
            columns.append(("n", lambda layer, row: str(row["n"])))
        if partial is not None:
            columns.append(("partial", lambda layer, row: number(partial.get(layer, {}).get("spearman"))))
        if hidden is not None:
            columns.append(("hidden_mean", lambda layer, row: number(hidden.get(layer, {}).get("spearman"))))
        cells = [[show(layer, row) for _, show in columns] for layer, row in rows.items()]
        headings = [heading for heading, _ in columns]
        scale, bars = self.bars([row["spearman"] for row in rows.values()], headings, cells)
        if bars:
            headings.append(scale)
            cells = [[*line, drawn] for line, drawn in zip(cells, bars, strict=True)]
        return self.table(headings, cells, labels=scale)

    def bars(
        self, values: Sequence[float | None], headings: Sequence[str], cells: Sequence[Sequence[str]]
    ) -> tuple[str, list[str]]:
        """The scale and one bar per value in the room that the other columns leave; none where that is too narrow."""
        columns = zip(headings, *cells, strict=True)
        taken = sum(3 + max(len(text) for text in column) for column in columns)
        room = min(self.width - taken, MAX_BAR_CELLS)
        if room < MIN_BAR_CELLS:
            return "", []
        low = min((value for value in map(defined, values) if value is not None), default=0.0)
        scale = BarScale(room, min(low, 0.0), self.ascii_only)
        return scale.heading(), [scale.bar(value) for value in values]

    def shows_n(self, rows: Iterable[Row]) -> bool:
        """Whether some row rests on fewer than all pairs, or is undefined."""
        return any(row["n"] != self.summary["n_pairs"] or defined(row["spearman"]) is None for row in rows)

    def baseline_table(self) -> RenderableType:
        """Baselines with their paired difference to the headline; of those per layer the strongest."""
        summary = self.summary
        lines: list[tuple[str, Row]] = []
        for row in summary["baselines"]:
            if row["layer"] is None:
                lines.append((baseline_label(row["name"]), row))
        for name, rows in layer_baselines(summary).items():
            best = strongest(rows.values())
            if best is None:
                best = next(iter(rows.values()))
            lines.append((f"{name}, layer {best['layer']}", best))
        return self.statistic_table("baseline (best layer)", lines, difference="baseline")

    def control_table(self) -> RenderableType:
        """The headline under every control, with the paired difference to it."""
        lines = [
            (control_label(control), {**control["headline"], "difference": control["difference"]})
            for control in self.summary["controls"]
        ]
        return self.statistic_table("control", lines, difference="control")

    def partial_table(self) -> RenderableType:
        """Partial Spearman correlations of the headline band."""
        lines = [(given_label(row["given"]), row) for row in self.summary["partial"]]
        return self.statistic_table("headline, partial given", lines)

    def statistic_table(self, title: str, lines: Sequence[tuple[str, Row]], *, difference: str = "") -> RenderableType:
        """Label, Spearman, interval, n where it differs, and the headline minus ``difference`` where that is named."""
        shows_n = self.shows_n(row for _, row in lines)
        headings = [title, "Spearman", f"{self.level} interval"]
        headings += ["n"] if shows_n else []
        headings += [f"headline minus {difference}"] if difference else []
        cells = []
        for label, row in lines:
            line = [label, number(row["spearman"]), interval(row["ci_low"], row["ci_high"])]
            line += [str(row["n"])] if shows_n else []
            line += [difference_text(row["difference"])] if difference else []
            cells.append(line)
        return self.table(headings, cells, labels=title)
