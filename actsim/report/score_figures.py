"""Static figures beside the layer curve: module kinds as a heat map, and the scores against the human scores."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from actsim.report.figures import figure_title, own_settings, write_cells
from actsim.report.histograms import Floats, ScoreDensity, gold_thirds, score_density
from actsim.report.palette import (
    CELL_TEXT_LAYERS,
    DENSITY_SCALE,
    HEAT_MAP,
    MEASURE_STYLES,
    THIRD_DASHES,
    THIRDS,
    matplotlib_dashes,
)
from actsim.report.tables import kind_rows, measure_layers
from actsim.report.wording import Row, band_label, defined
from actsim.store import PairScores


def kinds_heat_map(summary: Row) -> Figure:
    """ρ of every layer and module kind, and of whole layers, for the headline measure."""
    measure = summary["headline"]["measure"]
    rows = {"whole layer": measure_layers(summary, measure), **kind_rows(summary, measure)}
    layers = range(1, summary["n_layers"] + 1)
    found = [[defined(of.get(layer, {}).get("spearman")) for layer in layers] for of in rows.values()]
    values = np.array([[np.nan if value is None else value for value in line] for line in found])
    with own_settings():
        figure = Figure(figsize=(7.5, 1.3 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.pcolormesh(
            np.arange(len(layers) + 1) + 0.5,
            np.arange(len(rows) + 1) - 0.5,
            np.ma.masked_invalid(values),
            cmap=HEAT_MAP.lower(),
            edgecolors="white",
            linewidth=0.5,
        )
        axes.invert_yaxis()
        axes.set_yticks(range(len(rows)), list(rows))
        for label in axes.get_yticklabels():
            label.set_parse_math(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        axes.set_xlabel("layer", fontsize=11)
        axes.set_title(figure_title(summary, measure), loc="left", fontsize=11, parse_math=False)
        bar = figure.colorbar(drawn, ax=axes, pad=0.015, aspect=30)
        bar.set_label("Spearman's ρ")
        bar.outline.set_visible(False)
        if len(layers) <= CELL_TEXT_LAYERS:
            write_cells(axes, values, first_row=0)
        return figure


def scores_figure(scores: PairScores, gold: Floats, summary: Row) -> Figure:
    """The headline's scores: their density per bin of the human score, and their spread in thirds of it."""
    measure = summary["headline"]["measure"]
    values = scores.band_scores(measure, summary["band"]["layers"])
    density = score_density(gold, values)
    with own_settings():
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_density(figure, left, density)
        _draw_thirds(right, gold, values, density)
        similarity = f"{measure}, {band_label(summary['band'])}"
        left.set_ylabel(similarity)
        right.set_xlabel(similarity)
        left.set_title(figure_title(summary), loc="left", fontsize=11, parse_math=False)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        return figure


def _draw_density(figure: Figure, axes: Axes, density: ScoreDensity) -> None:
    scale = LinearSegmentedColormap.from_list("density", DENSITY_SCALE)
    shares = np.ma.masked_invalid(density.shares().T)
    drawn = axes.pcolormesh(density.gold_edges, density.score_edges, shares, cmap=scale, vmin=0, rasterized=False)
    low, middle, high = density.quartiles.T
    known = np.isfinite(middle)
    axes.errorbar(
        density.gold_centres[known],
        middle[known],
        yerr=(np.array([middle - low, high - middle]))[:, known],
        color=MEASURE_STYLES[1].colour,
        marker="o",
        markersize=4,
        linewidth=1.4,
    )
    axes.set_xlabel("human score")
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30, format=PercentFormatter(1, symbol=" %"))
    bar.set_label("share of the pairs of a bin")
    bar.outline.set_visible(False)


def _draw_thirds(axes: Axes, gold: Floats, values: Floats, density: ScoreDensity) -> None:
    thirds = gold_thirds(gold, values, density.score_edges)
    for third, colour, dashes in zip(thirds, THIRDS, THIRD_DASHES, strict=False):
        axes.stairs(
            third.counts,
            density.score_edges,
            color=colour,
            linestyle=matplotlib_dashes(dashes),
            linewidth=1.6,
            label=f"human score {third.low:g} to {third.high:g} (n = {third.n})",
        )
    axes.set_ylabel("pairs")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=8, handlelength=2.5)
