"""Static figures of a run: the correlation with human judgement, layer by layer.

Figures are built through matplotlib's object interface under its default settings, so that neither the user's
settings nor pyplot's state are read or changed for longer than a call.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from actsim.report.tables import beside_layers, layer_baselines, measure_layers
from actsim.report.wording import (
    Row,
    band_label,
    baseline_label,
    data_label,
    defined,
    given_label,
    number,
    one_line,
    percent,
    runs_of_layers,
)

WIDTH_INCHES = 7.5
PLOT_INCHES, LEGEND_LINE_INCHES = 4.2, 0.2
LEGEND_COLUMNS = 2
TITLE_CHARACTERS, LEGEND_CHARACTERS = 64, 48
MANY_LAYERS = 40

# Okabe and Ito's palette; every line also has its own dash pattern and marker
MEASURE_STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (6, 2)), "s"),
    ("#009E73", (0, (6, 2, 1.5, 2)), "^"),
    ("#CC79A7", (0, (3, 1.5)), "D"),
)
BASELINE_STYLES = {
    "hidden_mean": ("#000000", (0, (2, 2)), "v"),
    "hidden_last": ("#56B4E9", (0, (5, 2, 1, 2, 1, 2)), "P"),
    "embedding": ("#E69F00", (0, (8, 3)), None),
    "word_overlap": ("#666666", (0, (1, 1.5)), None),
}
# of Tol's muted palette, which stays apart from Okabe and Ito's
CONTROL_STYLES = {
    "control_random_weights": ("#882255", (0, (3, 1.2)), "X"),
    "control_shuffled_tokens": ("#999933", (0, (4, 1, 1, 1)), "<"),
    "partial": ("#332288", (0, (9, 2, 3, 2)), "*"),
}
OTHER_BASELINE_STYLE = ("#999999", (0, (4, 4)), "x")
BESIDE = 0.06
"""Layers by which the bars of a control are moved to the right, so that bars do not lie on each other."""
BAND_COLOUR = "#EFEFEF"
SETTINGS = ("axes.", "figure.", "font.", "legend.", "lines.", "mathtext.", "patch.", "path.", "savefig.", "text.")
TICK_SETTINGS = ("xaxis.", "xtick.", "yaxis.", "ytick.")


@contextmanager
def _own_settings() -> Iterator[None]:
    """Matplotlib's defaults for whatever shapes a figure, readable text in svg, reproducible identifiers."""
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if k.startswith(SETTINGS + TICK_SETTINGS)}
    with matplotlib.rc_context({**defaults, "svg.fonttype": "none", "svg.hashsalt": "actsim"}):
        yield


def layer_curve(summary: Row) -> Figure:
    """Spearman's ρ of every layer with its interval, the hidden states of the same layers and other baselines.

    One line per measure. The layers of the headline band are shaded; an undefined value leaves a gap.
    """
    with _own_settings():
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        _shade_band(axes, summary)
        _draw_measures(axes, summary)
        _draw_baselines(axes, summary)
        _draw_beside(axes, summary)
        _finish_axes(axes, summary)
        _add_legend(figure, axes, summary)
        return figure


def layer_curve_svg(summary: Row) -> str:
    """The layer curve as an SVG document; equal summaries give equal bytes."""
    figure = layer_curve(summary)
    stream = io.StringIO()
    with _own_settings(), warnings.catch_warnings():
        # text stays text: signs that matplotlib's own font lacks are drawn by the viewer's
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        title = f"Spearman correlation with human judgement by layer: {_data_line(summary)}"
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Title": title})
    return stream.getvalue()


def _values(rows: dict[int, Row], layers: Iterable[int], name: str) -> np.ndarray:
    """One statistic per layer, NaN where it is undefined or the layer has no row."""
    found = [defined(rows[int(layer)][name]) if int(layer) in rows else None for layer in layers]
    return np.array([np.nan if value is None else value for value in found])


def _all_layers(summary: Row) -> np.ndarray:
    return np.arange(1, summary["n_layers"] + 1)


def _shade_band(axes: Axes, summary: Row) -> None:
    for first, last in runs_of_layers(summary["band"]["layers"]):
        axes.axvspan(first - 0.5, last + 0.5, color=BAND_COLOUR, linewidth=0, zorder=0)


def _marker_size(summary: Row) -> float:
    return 2.5 if summary["n_layers"] > MANY_LAYERS else 4.5


def _draw_measures(axes: Axes, summary: Row) -> None:
    layers = _all_layers(summary)
    size = _marker_size(summary)
    for index, measure in enumerate(summary["measures"]):
        colour, dashes, marker = MEASURE_STYLES[index % len(MEASURE_STYLES)]
        rows = measure_layers(summary, measure)
        rho, low, high = (_values(rows, layers, name) for name in ("spearman", "ci_low", "ci_high"))
        axes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
        alone = _without_neighbours(np.isfinite(low) & np.isfinite(high))
        axes.vlines(layers[alone], low[alone], high[alone], color=colour, alpha=0.5, linewidth=2, zorder=2)
        axes.plot(
            layers,
            rho,
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=size,
            label=measure,
            linewidth=1.6,
            zorder=4,
        )


def _without_neighbours(known: np.ndarray) -> np.ndarray:
    """Which known values stand alone: there is no area between two layers, so their interval is drawn as a line."""
    padded = np.concatenate([[False], known, [False]])
    return known & ~padded[:-2] & ~padded[2:]


def _draw_baselines(axes: Axes, summary: Row) -> None:
    layers = _all_layers(summary)
    size = _marker_size(summary)
    for name, rows in layer_baselines(summary).items():
        colour, dashes, marker = BASELINE_STYLES.get(name, OTHER_BASELINE_STYLE)
        axes.plot(
            layers,
            _values(rows, layers, "spearman"),
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=size,
            label=baseline_label(name),
            linewidth=1.2,
            zorder=3,
        )
    for row in summary["baselines"]:
        value = defined(row["spearman"])
        if row["layer"] is None and value is not None:
            colour, dashes, _ = BASELINE_STYLES.get(row["name"], OTHER_BASELINE_STYLE)
            label = f"{baseline_label(row['name'])} ({number(value)})"
            axes.axhline(value, color=colour, linestyle=dashes, linewidth=1.6, label=label, zorder=1)


def _draw_beside(axes: Axes, summary: Row) -> None:
    """The controls and the partial correlations, each with its intervals as thin bars a little beside the layer."""
    layers = _all_layers(summary)
    found = beside_layers(summary)
    for index, (key, (label, rows)) in enumerate(found.items()):
        colour, dashes, marker = CONTROL_STYLES.get(key, OTHER_BASELINE_STYLE)
        rho, low, high = (_values(rows, layers, name) for name in ("spearman", "ci_low", "ci_high"))
        text = f"control: {label}"
        if key == "partial":
            measure = f"{summary['headline']['measure']}, " if len(summary["measures"]) > 1 else ""
            text = f"{measure}partial, given {given_label(next(iter(rows.values()))['given'])}"
        places = layers + BESIDE * (index + 1)
        axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=1.2, zorder=2)
        axes.plot(
            places,
            rho,
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=_marker_size(summary) + 1,
            label=_shortened(text, LEGEND_CHARACTERS),
            linewidth=1.2,
            zorder=3,
        )


def _data_line(summary: Row) -> str:
    return f"{data_label(summary)}, n = {summary['n_pairs']}"


def _title(summary: Row) -> str:
    """Data on the first line, the model on the second, each cut to what the figure's width holds."""
    lines = (_data_line(summary), one_line(summary["model"]["name"]))
    return "\n".join(_shortened(line, TITLE_CHARACTERS) for line in lines)


def _shortened(text: str, characters: int) -> str:
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
    axes.set_title(_title(summary), loc="left", fontsize=11, parse_math=False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_ylim()[0] < 0:
        axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)


def _add_legend(figure: Figure, axes: Axes, summary: Row) -> None:
    """The legend below the plot, the figure as high as plot and legend need."""
    band = _shortened(f"headline: {band_label(summary['band'])}", LEGEND_CHARACTERS)
    handles = [
        *axes.get_legend_handles_labels()[0],
        Patch(facecolor="#666666", alpha=0.3, label=f"{percent(summary['level'])} interval"),
        Patch(facecolor=BAND_COLOUR, label=band),
    ]
    lines = -(-len(handles) // LEGEND_COLUMNS)
    figure.set_size_inches(WIDTH_INCHES, PLOT_INCHES + LEGEND_LINE_INCHES * lines)
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9, handlelength=3.5
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
