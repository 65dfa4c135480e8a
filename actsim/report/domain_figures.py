"""Static figures of a run over domains: the matrix, the layers, and the distributions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from actsim.report.domain_tables import ACTIVATION, NUMBERS, SERIES, cells
from actsim.report.figures import MANY_LAYERS, floats, own_settings, shortened, write_cells
from actsim.report.palette import (
    CELL_TEXT_LAYERS,
    HEAT_MAP,
    INTERVAL_OPACITY,
    MEASURE_STYLES,
    LineStyle,
    baseline_style,
    control_style,
    matplotlib_dashes,
)
from actsim.report.wording import Row, band_label, one_line

WIDTH_INCHES, PLOT_INCHES = 8.0, 4.2
NAME_CHARACTERS, TITLE_CHARACTERS = 18, 80

LEVELS = {"within": ("within domains", MEASURE_STYLES[0]), "cross": ("between domains", MEASURE_STYLES[1])}
"""The two similarities of a layer: how they are called and drawn."""
SERIES_STYLES = {
    ACTIVATION: MEASURE_STYLES[0],
    "hidden_mean": baseline_style("hidden_mean"),
    "tfidf": baseline_style("word_overlap"),
    "same_token": LineStyle(control_style(0).colour, (4, 1.5, 1, 1.5), None),
}


def title(summary: Row) -> str:
    """The model, and where the figures are from."""
    text = f"{one_line(summary['model']['name'])}, {summary['objective']}"
    return shortened(text, TITLE_CHARACTERS)


def levels(summary: Row) -> dict[str, Row]:
    """The separation by what is the same for all layers."""
    by_layer = (ACTIVATION, "hidden_mean")
    return {row["name"]: row["separation"] for row in summary["bands"] if row["name"] not in by_layer}


def matrix_figure(summary: Row) -> Figure:
    """Mean cosines over the band within and between domains, similar domains side by side."""
    names, found = summary["order"], cells(summary)
    values = np.array([floats(found[a, b]["value"] for b in names) for a in names])
    with own_settings():
        size = max(4.0, 2.2 + 0.52 * len(names))
        figure = Figure(figsize=(size + 1, size), layout="constrained")
        axes = figure.add_subplot()
        edges = np.arange(len(names) + 1)
        mesh = axes.pcolormesh(
            edges + 0.5, edges - 0.5, values, cmap=HEAT_MAP.lower(), edgecolors="white", linewidth=0.5
        )
        labels = [shortened(one_line(name), NAME_CHARACTERS) for name in names]
        axes.set_yticks(range(len(names)), labels)
        axes.set_xticks(range(1, len(names) + 1), labels, rotation=45, ha="right", rotation_mode="anchor")
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_parse_math(False)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{title(summary)}\n{band_label(summary['band'])}", loc="left", fontsize=11, parse_math=False)
        bar = figure.colorbar(mesh, ax=axes, pad=0.015, aspect=30)
        bar.set_label("mean cosine")
        bar.outline.set_visible(False)
        if len(names) <= CELL_TEXT_LAYERS:
            write_cells(axes, values, first_row=0)
        return figure


def layers_figure(summary: Row) -> Figure:
    """Left: mean cosine within and between domains, layer by layer. Right: separation, beside that of other sources."""
    with own_settings():
        figure = Figure(figsize=(WIDTH_INCHES, PLOT_INCHES), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, (label, style) in LEVELS.items():
            _draw_series(left, summary["layers"], name, style, label)
        for name, rows in (("hidden_mean", summary["hidden_layers"]), (ACTIVATION, summary["layers"])):
            _draw_series(right, rows, "separation", SERIES_STYLES[name], SERIES[name])
        for name, level in levels(summary).items():
            style = SERIES_STYLES[name]
            dashes = matplotlib_dashes(style.dashes)
            right.axhline(level["value"], color=style.colour, linestyle=dashes, linewidth=1.6, label=SERIES[name])
        _finish(left, summary, "mean cosine")
        _finish(right, summary, "separation (0.5 by chance)")
        left.set_title(title(summary), loc="left", fontsize=11, parse_math=False)
        return figure


def _draw_series(axes: Axes, rows: list[Row], name: str, style: LineStyle, label: str) -> None:
    layers = np.array([row["layer"] for row in rows])
    value, low, high = (floats(row[name][end] for row in rows) for end in ("value", "ci_low", "ci_high"))
    axes.fill_between(layers, low, high, color=style.colour, alpha=INTERVAL_OPACITY, linewidth=0, zorder=2)
    axes.plot(
        layers,
        value,
        color=style.colour,
        linestyle=matplotlib_dashes(style.dashes),
        marker=style.marker,
        markersize=4.5 if len(layers) <= MANY_LAYERS else 2.5,
        linewidth=1.6,
        label=label,
        zorder=4,
    )


def _finish(axes: Axes, summary: Row, label: str) -> None:
    axes.set_xlim(0.5, summary["n_layers"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.set_xlabel("layer", fontsize=11)
    axes.set_ylabel(label, fontsize=11)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best", handlelength=3.0)


def boxes_figure(summary: Row) -> Figure:
    """All cosines within domains, and all between them, a box each per layer; whiskers reach to the extremes."""
    with own_settings():
        figure = Figure(figsize=(WIDTH_INCHES, PLOT_INCHES), layout="constrained")
        axes = figure.add_subplot()
        layers = [str(row["layer"]) for row in summary["layers"]]
        for place, (name, (label, style)) in enumerate(LEVELS.items()):
            found = {row["layer"]: row for row in summary["spread"] if row["which"] == name}
            keys = dict(zip(("whislo", "q1", "med", "q3", "whishi"), NUMBERS, strict=True))
            boxes = [{key: found[layer][number] for key, number in keys.items()} for layer in layers]
            drawn = axes.bxp(
                boxes,
                positions=[int(layer) + 0.32 * place - 0.16 for layer in layers],
                widths=0.26,
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": style.colour, "alpha": 0.45},
                medianprops={"color": "black", "linewidth": 1.4},
            )
            drawn["boxes"][0].set_label(label)
        _finish(axes, summary, "cosine")
        axes.set_title(title(summary), loc="left", fontsize=11, parse_math=False)
        return figure
