"""Static figures of a comparison: curves over relative depth with the headlines beside them, layer against layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from actsim.report.figures import MANY_LAYERS, floats, own_settings, shortened, write_cells
from actsim.report.palette import CELL_TEXT_LAYERS, HEAT_MAP, INTERVAL_OPACITY, matplotlib_dashes, run_style
from actsim.report.wording import Row, data_label, defined, one_line, percent

WIDTH_INCHES = 8.0
PLOT_INCHES, LEGEND_LINE_INCHES = 4.2, 0.2
LABEL_CHARACTERS, AXIS_CHARACTERS = 90, 44


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
        left.set_title(shortened(heading, LABEL_CHARACTERS), loc="left", fontsize=11, parse_math=False)
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
    rho, low, high = (floats(row[name] for row in run["layers"]) for name in ("spearman", "ci_low", "ci_high"))
    style = run_style(index)
    axes.fill_between(depth, low, high, color=style.colour, alpha=INTERVAL_OPACITY, linewidth=0, zorder=2)
    label = shortened(f"{run['key']}: {one_line(run['label'])}", LABEL_CHARACTERS)
    axes.plot(
        depth,
        rho,
        color=style.colour,
        linestyle=matplotlib_dashes(style.dashes),
        marker=style.marker,
        markersize=4.5 if len(depth) <= MANY_LAYERS else 2.5,
        linewidth=1.6,
        label=label,
        zorder=4,
    )
    best = run["best_layer"]
    if best is not None:
        ring: dict[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "linestyle": "none"}
        axes.plot(best["depth"], best["spearman"], color=style.colour, **ring)


def _draw_headline(axes: Axes, run: Row, index: int) -> None:
    value, low, high = (defined(run["headline"][name]) for name in ("spearman", "ci_low", "ci_high"))
    if value is None:
        return
    style = run_style(index)
    if low is not None and high is not None:
        axes.vlines(index, low, high, color=style.colour, linewidth=2)
    axes.plot(index, value, marker=style.marker, color=style.colour, markersize=7, linestyle="none")


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
    values = np.array([floats(line) for line in agreement["layers"]])
    with own_settings():
        height = min(max(2.4 + 0.35 * a["n_layers"], 3.6), 9)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = figure.add_subplot()
        edges = [np.arange(size + 1) + 0.5 for size in reversed(values.shape)]
        mesh = axes.pcolormesh(*edges, values, cmap=HEAT_MAP.lower(), edgecolors="face", linewidth=0.1)
        figure.colorbar(mesh, ax=axes, label="Spearman's ρ between pair scores")
        for axis, run, set_label in ((axes.yaxis, a, axes.set_ylabel), (axes.xaxis, b, axes.set_xlabel)):
            axis.set_major_locator(MaxNLocator(nbins=16, integer=True, min_n_ticks=1))
            label = shortened(one_line(run["label"]), AXIS_CHARACTERS)
            set_label(f"layer of {run['key']}: {label}", parse_math=False)
        heading = f"{data_label(summary)}, n = {summary['n_pairs']}, {summary['measure']}"
        axes.set_title(shortened(heading, LABEL_CHARACTERS), loc="left", fontsize=11, parse_math=False)
        if max(values.shape) <= CELL_TEXT_LAYERS:
            write_cells(axes, values)
        return figure


def intervals_sentence(level: float) -> str:
    """What the figure's marks mean, for the text beside it."""
    return (
        f"Shaded: {percent(level)} percentile intervals of the bootstrap. Ringed: the best layer of each run. Right: "
        "the headline, the mean of the scores of each run's band."
    )
