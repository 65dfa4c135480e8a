"""Static figures of a density run: shares over the layers, and what the threshold does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from actsim.report.density_curves import MEAN, Measure, contrasts, curve, domain_names, share_over, values_by_layer
from actsim.report.figures import MANY_LAYERS, floats, own_settings, shortened
from actsim.report.palette import (
    INK,
    INTERVAL_OPACITY,
    LineStyle,
    domain_style,
    matplotlib_dashes,
)
from actsim.report.wording import Row, one_line

WIDTH_INCHES, PLOT_INCHES, LEGEND_LINE_INCHES = 8.0, 4.2, 0.2
LEGEND_COLUMNS, LABEL_CHARACTERS = 3, 30
LAYER_COLOURS = ("#1F78C8", "#E08214")
"""Of the first and of the last layer."""
MEAN_STYLE = LineStyle(INK, (), None)


def layers_figure(summary: Row) -> Figure:
    """The share over the first γ, layer by layer, a line per domain with its interval."""
    measure = share_over(summary["headline"][0])
    with own_settings():
        figure = Figure(layout="constrained")
        axes = figure.add_subplot()
        for index, name in enumerate(domain_names(summary)):
            rows = curve(summary, measure, name)
            layers = np.array(list(rows))
            value, low, high = (floats(row[end] for row in rows.values()) for end in ("value", "ci_low", "ci_high"))
            style = domain_style(index)
            axes.fill_between(layers, low, high, color=style.colour, alpha=INTERVAL_OPACITY, linewidth=0, zorder=2)
            _line(axes, layers, value, style, name)
        axes.set_xlim(0.5, summary["n_layers"] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        _finish(axes, "layer", measure.axis)
        _legend(figure, axes)
        return figure


def gamma_figure(summary: Row) -> Figure:
    """Left: shares over γ, a line per layer, the mean of the domains. Right: shallow minus deep half over γ."""
    with own_settings():
        figure = Figure(layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_layers(left, summary)
        _draw_contrast(right, summary)
        for axes in (left, right):
            axes.set_xscale("log")
        _finish(left, "γ", "parameters with Ā > γ, %")
        _finish(right, "γ", "shallow half minus deep half, points")
        _legend(figure, right)
        return figure


def thresholds_of(summary: Row) -> list[Measure]:
    """The shares over every γ > 0, which a logarithmic axis has a place for."""
    return [share_over(gamma) for gamma in summary["gammas"] if gamma > 0]


def layer_colours(layers: Sequence[int]) -> list[str]:
    """A colour for every layer, from the first to the last one's; all are seen on light ground and on dark."""
    ends = [np.array(to_rgb(colour)) for colour in LAYER_COLOURS]
    steps = np.linspace(0, 1, len(layers))
    return [to_hex((1 - step) * ends[0] + step * ends[1]) for step in steps]


def _draw_layers(axes: Axes, summary: Row) -> None:
    measures, layers = thresholds_of(summary), summary["layers"]
    found = [values_by_layer(summary, measure, None) for measure in measures]
    gammas = np.array([measure.gamma for measure in measures])
    for layer, colour in zip(layers, layer_colours(layers), strict=True):
        values = floats(own[layer] for own in found) * measures[0].factor
        axes.plot(gammas, values, color=colour, linewidth=1.2)
    axes.set_title(f"layers {layers[0]} (blue) to {layers[-1]} (orange)", loc="left", fontsize=10)


def _draw_contrast(axes: Axes, summary: Row) -> None:
    measures = thresholds_of(summary)
    gammas = np.array([measure.gamma for measure in measures])
    names = [*domain_names(summary), None]
    for index, name in enumerate(names):
        rows = [row for measure in measures for row in contrasts(summary["depth"], measure) if row["domain"] == name]
        if not rows:
            continue
        value, low, high = (
            measures[0].factor * floats(row[end] for row in rows) for end in ("difference", "ci_low", "ci_high")
        )
        style = MEAN_STYLE if name is None else domain_style(index)
        if name is None:
            axes.fill_between(gammas, low, high, color=style.colour, alpha=INTERVAL_OPACITY, linewidth=0, zorder=2)
        _line(axes, gammas, value, style, name or MEAN)
    axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, style: LineStyle, label: str) -> None:
    axes.plot(
        x,
        y,
        color=style.colour,
        linestyle=matplotlib_dashes(style.dashes),
        marker=style.marker,
        markersize=4.5 if len(x) <= MANY_LAYERS else 2.5,
        linewidth=1.6,
        label=shortened(one_line(label), LABEL_CHARACTERS),
        zorder=4,
    )


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axes: Axes) -> None:
    """The legend below, the figure as high as plot and legend need."""
    handles, labels = axes.get_legend_handles_labels()
    lines = -(-len(handles) // LEGEND_COLUMNS)
    figure.set_size_inches(WIDTH_INCHES, PLOT_INCHES + LEGEND_LINE_INCHES * lines)
    if not handles:
        return
    legend = figure.legend(
        handles, labels, loc="outside lower left", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9, handlelength=3.5
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
