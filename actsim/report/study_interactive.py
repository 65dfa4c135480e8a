"""Interactive figures of a pruning study as plotly's JSON; what is shown is chosen on the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actsim.report.palette import domain_style
from actsim.report.plotly_parts import (
    INK,
    MARKERS,
    Figure,
    Trace,
    colour_bar,
    dash,
    figure_layout,
    heat_map,
    layer_axis,
    legend_above,
    numbered,
    plain_value,
    plotly_text,
)
from actsim.report.study_series import (
    PERPLEXITY,
    CalibrationGrid,
    allocations,
    calibration_grids,
    difference_ends,
    difference_text,
    figure_name,
    grid_label,
    measure_label,
    of,
    places,
    unit,
    value_text,
    way_label,
    ways,
)
from actsim.report.study_wording import figure_unit
from actsim.report.wording import Row, number, percent

AGAINST = {"text": "the mean of each text", "dense": "the dense model"}
"""What the cells of a calibration grid are set against."""


def choices(summary: Row) -> dict[str, list[tuple[str, str]]]:
    """What the page's selects offer: value and text."""
    grids = calibration_grids(summary)
    return {
        "measure": [(row["measure"], measure_label(row["measure"])) for row in summary["dense"]],
        "against": [(name, name) for name in _against(summary)],
        "way": [(str(number), way_label(summary, way)) for number, way in enumerate(ways(summary))],
        "grid": [(str(number), grid_label(grid, grids)) for number, grid in enumerate(grids)],
        "set": list(AGAINST.items()),
    }


def _against(summary: Row) -> list[str]:
    return list(dict.fromkeys(row["against"] for row in summary["differences"]))


def results(summary: Row) -> list[Figure]:
    """The mean of every allocation with its interval, a series per way of pruning, for every measure."""
    return [_results(summary, dense) for dense in summary["dense"]]


def _results(summary: Row, dense: Row) -> Figure:
    names = allocations(summary)
    traces: list[Trace] = []
    for index, way in enumerate(ways(summary)):
        rows = of(summary["figures"], way, measure=dense["measure"])
        text = [f"{row['allocation']}, {way_label(summary, way)}: {value_text(row)}" for row in rows]
        values, ends = [row["value"] for row in rows], [(row["ci_low"], row["ci_high"]) for row in rows]
        label = {"name": plotly_text(way_label(summary, way))}
        traces.append(_points(places(summary, names, rows, way), values, ends, text, index) | label)
    layout = _over_allocations(names, figure_name(dense))
    layout["shapes"] = [_level_line(dense["value"])]
    note = {
        "text": f"dense {number(dense['value'], 2)}",
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "yanchor": "bottom",
    }
    layout["annotations"] = [note | {"y": dense["value"], "showarrow": False}]
    return {"traces": traces, "layout": layout | legend_above(layout), "meta": {"measure": dense["measure"]}}


def _over_allocations(names: list[str], label: str) -> dict[str, Any]:
    """A layout with the allocations side by side."""
    layout = figure_layout("", label)
    layout["xaxis"] |= {"range": [-0.5, len(names) - 0.5], "showgrid": False, "tickvals": list(range(len(names)))}
    layout["xaxis"] |= {"ticktext": [plotly_text(name) for name in names]}
    return layout


def _points(x: list[float], y: list[float], ends: list[tuple[Any, Any]], text: list[str], index: int) -> Trace:
    """Points with vertical intervals."""
    style = domain_style(index)
    up, down = (
        [0 if end[side] is None else plain_value(abs(end[side] - value)) for end, value in zip(ends, y, strict=True)]
        for side in (1, 0)
    )
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": [plain_value(value) for value in y],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": up,
            "arrayminus": down,
            "color": style.colour,
            "width": 3,
        },
        "marker": {"symbol": MARKERS[style.marker or "o"], "size": 8, "color": style.colour},
        "text": [plotly_text(own) for own in text],
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {},
    }


def _level_line(value: float) -> dict[str, Any]:
    return {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": value, "y1": value, "layer": "below"} | {
        "line": {"color": INK, "width": 1, "dash": "3px,3px"}
    }


def differences(summary: Row) -> list[Figure]:
    """Every difference to an allocation with its interval, for every measure and allocation to compare with."""
    return [_differences(summary, dense, against) for dense in summary["dense"] for against in _against(summary)]


def _differences(summary: Row, dense: Row, against: str) -> Figure:
    names = [name for name in allocations(summary) if name != against]
    traces: list[Trace] = []
    for index, way in enumerate(ways(summary)):
        rows = of(summary["differences"], way, measure=dense["measure"], against=against)
        text = [
            f"{row['allocation']} minus {against}, {way_label(summary, way)}: {difference_text(row)}, {row['verdict']}"
            for row in rows
        ]
        values, ends = [row["difference"] for row in rows], [difference_ends(row) for row in rows]
        label = {"name": plotly_text(way_label(summary, way))}
        traces.append(_points(places(summary, names, rows, way), values, ends, text, index) | label)
    better = "lower" if dense["figure"] == PERPLEXITY else "higher"
    layout = _over_allocations(names, f"minus {plotly_text(against)}, {unit(dense['figure'])} ({better} is better)")
    layout["shapes"] = [_level_line(0.0)]
    meta = {"measure": dense["measure"], "against": against}
    return {"traces": traces, "layout": layout | legend_above(layout), "meta": meta}


def plans(summary: Row) -> list[Figure]:
    """The planned sparsity of every block, a line per allocation, for every way of pruning."""
    return [_plans(summary, str(number), of(summary["plans"], way)) for number, way in enumerate(ways(summary))]


def _plans(summary: Row, way: str, rows: list[Row]) -> Figure:
    layout = figure_layout("layer", "sparsity, %")
    layout["xaxis"] |= layer_axis(summary["n_layers"])
    traces = list(_plan_lines(summary, rows))
    return {
        "traces": traces,
        "layout": layout | legend_above(layout) | {"hovermode": "x unified"},
        "meta": {"way": way},
    }


def _plan_lines(summary: Row, rows: list[Row]) -> Iterator[Trace]:
    names = allocations(summary)
    for plan in rows:
        style = domain_style(names.index(plan["allocation"]))
        text = [
            f"{percent(round(planned, 4))}, achieved {percent(round(achieved, 4))}"
            for planned, achieved in zip(plan["planned"], plan["achieved"], strict=True)
        ]
        label = plotly_text(plan["allocation"])
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": label,
            "x": list(range(1, summary["n_layers"] + 1)),
            "y": [plain_value(100 * share) for share in plan["planned"]],
            "text": text,
            "line": {"color": style.colour, "width": 2, "dash": dash(style)},
            "marker": {"symbol": MARKERS[style.marker or "o"], "size": 6, "color": style.colour},
            "hovertemplate": f"{label}: %{{text}}<extra></extra>",
            "meta": {},
        }


def matrices(summary: Row) -> list[Figure]:
    """Calibrations by texts, for every way of pruning, against each text's mean and against the dense model."""
    return [
        _matrix(grid, str(number), against)
        for number, grid in enumerate(calibration_grids(summary))
        for against in AGAINST
    ]


def _matrix(grid: CalibrationGrid, place: str, against: str) -> Figure:
    values = grid.against_text() if against == "text" else grid.against_dense
    hover = [
        [
            f"calibrated on {calibration}, measured on {text}: {number(grid.values[row, column], 2)}, "
            f"{number(values[row, column], 2, signed=True)} {unit(grid.figure)} against {AGAINST[against]}"
            for column, text in enumerate(grid.texts)
        ]
        for row, calibration in enumerate(grid.calibrations)
    ]
    layout = figure_layout("measured on", "calibrated on")
    layout["xaxis"] |= {"type": "category", "tickangle": -45}
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showline": False, "ticks": "", "showgrid": False}
    labels = [[plotly_text(name) for name in names] for names in (grid.texts, grid.calibrations)]
    cells = [[plain_value(value) for value in line] for line in values.tolist()]
    shown = {"grid": place, "set": against}
    trace = heat_map(labels[0], labels[1], cells, hover, shown) | {"colorbar": colour_bar(figure_unit(grid.figure))}
    return {"traces": numbered(trace, 1), "layout": layout, "meta": shown}
