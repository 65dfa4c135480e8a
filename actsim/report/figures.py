"""Static figures of a run: the correlation with human judgement, layer by layer.

Figures are built through matplotlib's object interface under its default settings, so that neither the user's
settings nor pyplot's state are read or changed for longer than a call.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from actsim.report.contrast import takes_dark_ink
from actsim.report.lines import lines_beside
from actsim.report.palette import (
    BAND_COLOUR,
    INTERVAL_OPACITY,
    LineStyle,
    matplotlib_dashes,
    measure_style,
)
from actsim.report.tables import measure_layers
from actsim.report.wording import (
    Row,
    band_label,
    data_label,
    defined,
    number,
    one_line,
    percent,
    runs_of_layers,
)

WIDTH_INCHES = 7.5
PNG_DPI = 200
PLOT_INCHES, LEGEND_LINE_INCHES = 4.2, 0.2
LEGEND_COLUMNS = 2
TITLE_CHARACTERS, LEGEND_CHARACTERS = 64, 48
MANY_LAYERS = 40

SETTINGS = ("axes.", "figure.", "font.", "legend.", "lines.", "mathtext.", "patch.", "path.", "savefig.", "text.")
TICK_SETTINGS = ("xaxis.", "xtick.", "yaxis.", "ytick.")


@contextmanager
def own_settings() -> Iterator[None]:
    """Matplotlib's defaults for whatever shapes a figure, readable text in svg, reproducible identifiers."""
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if k.startswith(SETTINGS + TICK_SETTINGS)}
    with matplotlib.rc_context({**defaults, "svg.fonttype": "none", "svg.hashsalt": "actsim"}):
        yield


def layer_curve(summary: Row) -> Figure:
    """Spearman's ρ of every layer with its interval, the hidden states of the same layers and other baselines.

    One line per measure. The layers of the headline band are shaded; an undefined value leaves a gap.
    """
    with own_settings():
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        _shade_band(axes, summary)
        _draw_measures(axes, summary)
        _draw_lines_beside(axes, summary)
        _finish_axes(axes, summary)
        _add_legend(figure, axes, summary)
        return figure


def layer_curve_svg(summary: Row) -> str:
    """The layer curve as an SVG document; equal summaries give equal bytes."""
    return svg(layer_curve(summary), f"Spearman correlation with human judgement by layer: {_data_line(summary)}")


def svg(figure: Figure, title: str) -> str:
    """A figure as an SVG document; equal figures give equal bytes."""
    stream = io.StringIO()
    with own_settings(), warnings.catch_warnings():
        # text stays text: signs that matplotlib's own font lacks are drawn by the viewer's
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Title": title})
    return stream.getvalue()


def png(figure: Figure, title: str) -> bytes:
    """A figure as a PNG file of 200 dots per inch."""
    stream = io.BytesIO()
    with own_settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.set_dpi(PNG_DPI)
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None, "Title": title})
    return stream.getvalue()


def drawn(name: str, title: str, figure: Figure) -> dict[str, bytes]:
    """A figure as the files ``name``.svg and ``name``.png."""
    files = {f"{name}.svg": svg(figure, title).encode()}
    figure.set_layout_engine("none")  # what was laid out for the one form stays where it is in the other
    return files | {f"{name}.png": png(figure, title)}


def write_cells(axes: Axes, values: np.ndarray, *, first_row: int = 1) -> None:
    """The figure in every cell of a heat map, in the ink that can be read on its colour.

    Columns are counted from 1, rows from ``first_row``; undefined cells stay empty.
    """
    dark = takes_dark_ink(values)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "black" if dark[row, column] else "white"
            place = (column + 1, row + first_row)
            axes.text(*place, number(value, 2), ha="center", va="center", fontsize=8, color=ink)


def floats(values: Iterable[float | None]) -> np.ndarray:
    """Statistics as numbers, NaN where one is undefined."""
    return np.array([np.nan if value is None else value for value in map(defined, values)])


def _values(rows: dict[int, Row], layers: Iterable[int], name: str) -> np.ndarray:
    """One statistic per layer, NaN where it is undefined or the layer has no row."""
    return floats(rows[int(layer)][name] if int(layer) in rows else None for layer in layers)


def _all_layers(summary: Row) -> np.ndarray:
    return np.arange(1, summary["n_layers"] + 1)


def _shade_band(axes: Axes, summary: Row) -> None:
    for first, last in runs_of_layers(summary["band"]["layers"]):
        axes.axvspan(first - 0.5, last + 0.5, color=BAND_COLOUR, linewidth=0, zorder=0)


def _marker_size(summary: Row) -> float:
    return 2.5 if summary["n_layers"] > MANY_LAYERS else 4.5


def _draw_measures(axes: Axes, summary: Row) -> None:
    layers = _all_layers(summary)
    for index, measure in enumerate(summary["measures"]):
        style = measure_style(index)
        rows = measure_layers(summary, measure)
        low, high = (_values(rows, layers, name) for name in ("ci_low", "ci_high"))
        axes.fill_between(layers, low, high, color=style.colour, alpha=INTERVAL_OPACITY, linewidth=0, zorder=2)
        alone = _without_neighbours(np.isfinite(low) & np.isfinite(high))
        axes.vlines(layers[alone], low[alone], high[alone], color=style.colour, alpha=0.5, linewidth=2, zorder=2)
        _draw_line(axes, summary, style, rows, label=measure, linewidth=1.6, zorder=4)


def _draw_line(axes: Axes, summary: Row, style: LineStyle, rows: dict[int, Row], **look: Any) -> None:
    layers = _all_layers(summary)
    axes.plot(
        layers,
        _values(rows, layers, "spearman"),
        color=style.colour,
        linestyle=matplotlib_dashes(style.dashes),
        marker=style.marker,
        markersize=_marker_size(summary),
        **look,
    )


def _without_neighbours(known: np.ndarray) -> np.ndarray:
    """Which known values stand alone: there is no area between two layers, so their interval is drawn as a line."""
    padded = np.concatenate([[False], known, [False]])
    return known & ~padded[:-2] & ~padded[2:]


def _draw_lines_beside(axes: Axes, summary: Row) -> None:
    for line in lines_beside(summary, summary["headline"]["measure"]):
        if line.level is not None:
            dashes = matplotlib_dashes(line.style.dashes)
            axes.axhline(
                line.level["spearman"],
                color=line.style.colour,
                linestyle=dashes,
                linewidth=1.6,
                label=line.label,
                zorder=1,
            )
        elif line.shown:
            _draw_line(axes, summary, line.style, line.rows, label=line.label, linewidth=1.2, zorder=3)
            if line.intervals:
                layers = _all_layers(summary)
                low, high = (_values(line.rows, layers, name) for name in ("ci_low", "ci_high"))
                axes.vlines(layers, low, high, color=line.style.colour, alpha=0.5, linewidth=1.2, zorder=2)


def _data_line(summary: Row) -> str:
    return f"{data_label(summary)}, n = {summary['n_pairs']}"


def figure_title(summary: Row, *details: str) -> str:
    """Data on the first line, the model on the second, each cut to what the figure's width holds."""
    lines = (_data_line(summary), ", ".join((one_line(summary["model"]["name"]), *details)))
    return "\n".join(shortened(line, TITLE_CHARACTERS) for line in lines)


def shortened(text: str, characters: int) -> str:
    """The text, its middle left out where it is longer than ``characters``."""
    if len(text) <= characters:
        return text
    half = (characters - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _limits(axes: Axes) -> tuple[float, float]:
    """The limits that matplotlib chose, at least 0.2 apart and within [-1.02, 1.02]."""
    low, high = axes.get_ylim()
    missing = max(0.2 - (high - low), 0.0) / 2
    return max(low - missing, -1.02), min(high + missing, 1.02)


def _finish_axes(axes: Axes, summary: Row) -> None:
    last = summary["n_layers"]
    axes.set_xlim(0.5, last + 0.5)
    axes.set_ylim(*_limits(axes))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.set_xlabel("layer", fontsize=11)
    axes.set_ylabel("Spearman's ρ with human judgement", fontsize=11)
    axes.set_title(figure_title(summary), loc="left", fontsize=11, parse_math=False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_ylim()[0] < 0:
        axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)


def _add_legend(figure: Figure, axes: Axes, summary: Row) -> None:
    """The legend below the plot, the figure as high as plot and legend need."""
    drawn, labels = axes.get_legend_handles_labels()
    handles: list[Any] = list(drawn)
    colours = (measure_style(index).colour for index in range(len(summary["measures"])))
    handles.append(tuple(Patch(facecolor=colour, alpha=INTERVAL_OPACITY, linewidth=0) for colour in colours))
    labels.append(f"{percent(summary['level'])} interval")
    handles.append(Patch(facecolor=BAND_COLOUR))
    labels.append(shortened(f"headline: {band_label(summary['band'])}", LEGEND_CHARACTERS))
    lines = -(-len(handles) // LEGEND_COLUMNS)
    figure.set_size_inches(WIDTH_INCHES, PLOT_INCHES + LEGEND_LINE_INCHES * lines)
    legend = figure.legend(
        handles,
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
