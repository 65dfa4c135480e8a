"""Static figures of a pruning study: results with their intervals, sparsity plans, calibrations against texts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from actsim.report.figures import MANY_LAYERS, floats, own_settings, shortened, write_cells
from actsim.report.palette import CELL_TEXT_LAYERS, HEAT_MAP, domain_style, matplotlib_dashes
from actsim.report.study_series import (
    CalibrationGrid,
    Way,
    allocations,
    calibration_grids,
    figure_name,
    fixed_text,
    grid_label,
    measure_label,
    of,
    places,
    way_label,
    ways,
)
from actsim.report.study_wording import figure_unit
from actsim.report.wording import Row, one_line

WIDTH_INCHES, PLOT_INCHES, LEGEND_LINE_INCHES = 8.0, 3.6, 0.24
NAME_CHARACTERS, TITLE_CHARACTERS, LEGEND_COLUMNS = 22, 80, 3


def title(summary: Row) -> str:
    """The model, and what all its pruned forms share."""
    shared = fixed_text(summary)
    return shortened(one_line(summary["model"]["name"]) + (f"; {shared}" if shared else ""), TITLE_CHARACTERS)


def results_figure(summary: Row) -> Figure:
    """The mean of every allocation with its interval, a series per way of pruning, a plot per measure."""
    measures, known = summary["dense"], ways(summary)
    columns = min(2, len(measures))
    lines = -(-len(measures) // columns)
    with own_settings():
        height = PLOT_INCHES * lines + LEGEND_LINE_INCHES * -(-(len(known) + 1) // LEGEND_COLUMNS)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        plots = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in plots[len(measures) :]:
            axes.set_visible(False)
        for axes, dense in zip(plots, measures, strict=False):
            _draw_results(axes, summary, dense, known)
        _finish(figure, plots[0], summary)
        return figure


def _finish(figure: Figure, first: Axes, summary: Row) -> None:
    """The title above all plots, and below them the legend of the first, which is that of all."""
    handles, labels = first.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9, handlelength=3.0
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(title(summary), x=0.01, ha="left", fontsize=11, parse_math=False)


def _draw_results(axes: Axes, summary: Row, dense: Row, known: list[Way]) -> None:
    names = allocations(summary)
    axes.axhline(dense["value"], color="black", linestyle=(0, (2, 2)), linewidth=1.2, label="dense")
    for index, way in enumerate(known):
        rows = of(summary["figures"], way, measure=dense["measure"])
        value, low, high = (floats(row[end] for row in rows) for end in ("value", "ci_low", "ci_high"))
        style = domain_style(index)
        reach = np.nan_to_num(np.stack([value - low, high - value]))
        axes.errorbar(
            places(summary, names, rows, way),
            value,
            yerr=reach,
            color=style.colour,
            linestyle="none",
            marker=style.marker,
            markersize=5,
            capsize=2.5,
            label=shortened(way_label(summary, way), 2 * NAME_CHARACTERS),
        )
    axes.set_xticks(range(len(names)), [shortened(one_line(name), NAME_CHARACTERS) for name in names])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylabel(f"{shortened(measure_label(dense['measure']), NAME_CHARACTERS)}: {figure_name(dense)}", fontsize=10)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plans_figure(summary: Row) -> Figure:
    """The planned sparsity of every block, a line per allocation, a plot per way of pruning."""
    known, names = ways(summary), allocations(summary)
    columns = min(2, len(known))
    lines = -(-len(known) // columns)
    with own_settings():
        height = PLOT_INCHES * lines + LEGEND_LINE_INCHES * -(-len(names) // LEGEND_COLUMNS)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        plots = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in plots[len(known) :]:
            axes.set_visible(False)
        for axes, way in zip(plots, known, strict=False):
            for plan in of(summary["plans"], way):
                style = domain_style(names.index(plan["allocation"]))
                axes.plot(
                    range(1, summary["n_layers"] + 1),
                    [100 * share for share in plan["planned"]],
                    color=style.colour,
                    linestyle=matplotlib_dashes(style.dashes),
                    marker=style.marker,
                    markersize=4.5 if summary["n_layers"] <= MANY_LAYERS else 2.5,
                    linewidth=1.6,
                    label=shortened(one_line(plan["allocation"]), 2 * NAME_CHARACTERS),
                )
            axes.set_xlim(0.5, summary["n_layers"] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
            axes.set_xlabel("layer", fontsize=10)
            axes.set_ylabel("sparsity, %", fontsize=10)
            label = way_label(summary, way)
            axes.set_title("" if label == "all" else label, loc="left", fontsize=10, parse_math=False)
            _tidy(axes)
        _finish(figure, plots[0], summary)
        return figure


def matrix_figure(summary: Row) -> Figure:
    """Calibrations by texts, a heat map for every way of pruning: the change against the mean of each text."""
    grids = calibration_grids(summary)
    rows, columns = (max(len(getattr(grid, name)) for grid in grids) for name in ("calibrations", "texts"))
    with own_settings():
        size = (max(5.0, 2.8 + 0.56 * columns), (1.6 + 0.42 * rows) * len(grids))
        figure = Figure(figsize=size, layout="constrained")
        plots = figure.subplots(len(grids), 1, squeeze=False)[:, 0]
        for axes, grid in zip(plots, grids, strict=True):
            _draw_matrix(figure, axes, grid)
            label = grid_label(grid, grids)
            axes.set_title("" if label == "all" else label, loc="left", fontsize=10, parse_math=False)
        figure.suptitle(title(summary), x=0.01, ha="left", fontsize=11, parse_math=False)
        return figure


def _draw_matrix(figure: Figure, axes: Axes, grid: CalibrationGrid) -> None:
    values = grid.against_text()
    places = np.arange(len(grid.texts) + 1) + 0.5, np.arange(len(grid.calibrations) + 1) - 0.5
    mesh = axes.pcolormesh(*places, values, cmap=HEAT_MAP.lower(), edgecolors="white", linewidth=0.5)
    names = [[shortened(one_line(name), NAME_CHARACTERS) for name in own] for own in (grid.texts, grid.calibrations)]
    axes.set_yticks(range(len(names[1])), names[1])
    axes.set_xticks(range(1, len(names[0]) + 1), names[0], rotation=45, ha="right", rotation_mode="anchor")
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("measured on", fontsize=10)
    axes.set_ylabel("calibrated on", fontsize=10)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, aspect=30)
    bar.set_label(f"{figure_unit(grid.figure)},\nagainst the mean of the text", fontsize=9)
    bar.outline.set_visible(False)
    if max(values.shape) <= CELL_TEXT_LAYERS:
        write_cells(axes, values, first_row=0)
