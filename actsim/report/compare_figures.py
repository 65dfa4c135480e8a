"""Static figures of a comparison: curves over relative depth with the headlines beside them, layer against layer."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from actsim.report.figures import _shortened, own_settings
from actsim.report.wording import Row, data_label, defined, number, one_line, percent

WIDTH_INCHES = 8.0
PLOT_INCHES, LEGEND_LINE_INCHES = 4.2, 0.2
LABEL_CHARACTERS, AXIS_CHARACTERS = 90, 44
PNG_DOTS_PER_INCH = 200
ANNOTATED_LAYERS = 16
"""Up to so many layers on either side, the cells of a heat map show their figures."""
HEAT_MAP = "cividis"

# Okabe and Ito's colours; run n + 7 has the colour of run n and another dash pattern and marker
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
DASHES = ("-", (0, (6, 2)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def run_colour(index: int) -> str:
    """The colour of a run by its position."""
    return COLOURS[index % len(COLOURS)]


def curves_figure(summary: Row) -> Figure:
    """Left: ρ of every layer over layer / number of layers, with its interval. Right: the headlines with theirs.

    A ring marks the best layer of each run. Both parts share the axis of ρ.
    """
    with own_settings():
        figure = Figure(layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
        for index, run in enumerate(summary["runs"]):
            _draw_run(left, run, index)
            _draw_headline(right, run, index)
        left.set_xlim(0, 1.03)
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        left.set_xlabel("relative depth: layer / number of layers", fontsize=11)
        left.set_ylabel("Spearman's ρ with human judgement", fontsize=11)
        heading = f"{data_label(summary)}, n = {summary['n_pairs']}, {summary['measure']}"
        left.set_title(_shortened(heading, LABEL_CHARACTERS), loc="left", fontsize=11, parse_math=False)
        keys = [run["key"] for run in summary["runs"]]
        right.set_xlim(-0.7, len(keys) - 0.3)
        right.set_xticks(range(len(keys)), keys)
        right.set_title("headline", fontsize=11)
        for axes in (left, right):
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        _add_legend(figure, left, len(keys))
        return figure


def _draw_run(axes: Axes, run: Row, index: int) -> None:
    depth = np.array([row["depth"] for row in run["layers"]])
    rho, low, high = (_column(run["layers"], name) for name in ("spearman", "ci_low", "ci_high"))
    colour = run_colour(index)
    axes.fill_between(depth, low, high, color=colour, alpha=0.15, linewidth=0, zorder=2)
    label = _shortened(f"{run['key']}: {one_line(run['label'])}", LABEL_CHARACTERS)
    axes.plot(
        depth,
        rho,
        color=colour,
        linestyle=DASHES[index % len(DASHES)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=4.5 if len(depth) <= 40 else 2.5,
        linewidth=1.6,
        label=label,
        zorder=4,
    )
    best = run["best_layer"]
    if best is not None:
        axes.plot(
            best["depth"], best["spearman"], marker="o", markersize=11, fillstyle="none", color=colour, linestyle="none"
        )


def _draw_headline(axes: Axes, run: Row, index: int) -> None:
    value, low, high = (defined(run["headline"][name]) for name in ("spearman", "ci_low", "ci_high"))
    if value is None:
        return
    colour = run_colour(index)
    if low is not None and high is not None:
        axes.vlines(index, low, high, color=colour, linewidth=2)
    axes.plot(index, value, marker=MARKERS[index % len(MARKERS)], color=colour, markersize=7, linestyle="none")


def _add_legend(figure: Figure, axes: Axes, runs: int) -> None:
    figure.set_size_inches(WIDTH_INCHES, PLOT_INCHES + LEGEND_LINE_INCHES * (runs + 1))
    legend = figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower left",
        ncols=1,
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def heatmap_figure(summary: Row, agreement: Row) -> Figure:
    """Spearman's ρ between the pair scores of every layer of one run and of another; undefined cells stay empty."""
    runs = {run["key"]: run for run in summary["runs"]}
    a, b = runs[agreement["a"]], runs[agreement["b"]]
    values = np.array([[np.nan if value is None else value for value in line] for line in agreement["layers"]])
    with own_settings():
        height = min(max(2.4 + 0.35 * a["n_layers"], 3.6), 9)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        edges = [np.arange(size + 1) + 0.5 for size in reversed(values.shape)]
        mesh = axes.pcolormesh(*edges, values, cmap=HEAT_MAP, edgecolors="face", linewidth=0.1)
        figure.colorbar(mesh, ax=axes, label="Spearman's ρ between pair scores")
        for axis, run, set_label in ((axes.yaxis, a, axes.set_ylabel), (axes.xaxis, b, axes.set_xlabel)):
            axis.set_major_locator(MaxNLocator(nbins=16, integer=True, min_n_ticks=1))
            label = _shortened(one_line(run["label"]), AXIS_CHARACTERS)
            set_label(f"layer of {run['key']}: {label}", parse_math=False)
        heading = f"{data_label(summary)}, n = {summary['n_pairs']}, {summary['measure']}"
        axes.set_title(_shortened(heading, LABEL_CHARACTERS), loc="left", fontsize=11, parse_math=False)
        if max(values.shape) <= ANNOTATED_LAYERS:
            _annotate(axes, values)
        return figure


def _annotate(axes: Axes, values: np.ndarray) -> None:
    """Each figure in its cell, in black or white, whichever stands out."""
    middle = (np.nanmin(values) + np.nanmax(values)) / 2 if np.isfinite(values).any() else 0
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "#000000" if value > middle else "#FFFFFF"
            axes.text(column + 1, row + 1, number(value, 2), ha="center", va="center", fontsize=8, color=colour)


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    found = [defined(row[name]) for row in rows]
    return np.array([np.nan if value is None else value for value in found])


def svg_text(figure: Figure, title: str) -> str:
    """The figure as an SVG document; equal figures give equal bytes."""
    stream = io.StringIO()
    with own_settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Title": title})
    return stream.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG."""
    stream = io.BytesIO()
    with own_settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    return stream.getvalue()


def intervals_sentence(level: float) -> str:
    """What the figure's marks mean, for the text beside it."""
    return (
        f"Shaded: {percent(level)} percentile intervals of the bootstrap. Ringed: the best layer of each run. Right: "
        "the headline, the mean of the scores of each run's band."
    )
