"""What interactive figures are made of: plotly's names for dashes and markers, dark colours, layouts, intervals.

A figure is ``{"traces": [...], "layout": {...}}``. The ``meta`` of a trace says when it is shown: every choice that it
names (``measure``, ``kind``, ``scores``, ``line``, ``runs``) has to be made on the page. In the place of a figure a
list of several may stand; the first whose own ``meta`` is chosen is drawn.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from actsim.report.contrast import takes_dark_ink
from actsim.report.palette import BAND_COLOUR, CELL_TEXT_LAYERS, GROUND, HEAT_MAP, INK, INTERVAL_OPACITY, LineStyle
from actsim.report.wording import Row, defined, interval, number, one_line, runs_of_layers

Trace = dict[str, Any]
Figure = dict[str, Any]
Meta = Mapping[str, str]
"""When a trace is shown: what has to be chosen on the page."""

MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "D": "diamond",
    "d": "diamond-tall",
    "P": "cross",
    "X": "x",
    "x": "x-thin",
    "*": "star",
    "p": "pentagon",
}
DARK = {
    GROUND: "#14171A",
    INK: "#E4E7EA",
    BAND_COLOUR: "#24292E",
    "#000000": "#E4E7EA",
    "#666666": "#A5ABB1",
    "#DDDDDD": "#2E343A",
    "#0072B2": "#4DA3FF",
    "#56B4E9": "#A9D8F5",
    "#D55E00": "#FF8A3D",
    "#009E73": "#2CC79B",
    "#882255": "#E06C9F",
    "#332288": "#A08BFF",
    "#999933": "#C9C95E",
    "#44AA99": "#5FD0BD",
    "#C6DDEE": "#123A55",
    "#5BA3CF": "#1F6C9E",
    "#00324F": "#D6EEFF",
}
"""Colour on a light ground -> its counterpart on a dark one, in this order of meaning; others serve both."""
GRID = "#DDDDDD"
LIGHT_ON_CELL, DARK_ON_CELL = "#FEFEFE", "#010101"
"""Figures in the cells of a heat map, whose colours are those of both themes: none of DARK, which would turn them."""


def plotly_text(text: object) -> str:
    """Text that plotly, which reads a little HTML in its labels, shows as it is."""
    return html.escape(one_line(text), quote=False)


def statistics_text(row: Row) -> str:
    """``0.653 [0.602, 0.699], n = 1379``."""
    return f"{number(row['spearman'])} {interval(row['ci_low'], row['ci_high'])}, n = {row['n']}"


def dash(style: LineStyle) -> str:
    """The dash pattern as SVG takes it; lengths in multiples of a thin line's width."""
    return ",".join(f"{1.5 * length:g}px" for length in style.dashes) if style.dashes else "solid"


def layer_axis(n_layers: int) -> dict[str, Any]:
    """The axis of the layers 1 … L: at most twelve ticks, at whole numbers."""
    step = next(step for step in (1, 2, 4, 8, 16, n_layers) if n_layers / step <= 12)
    start = 1 if step == 1 else step
    return {"range": [0.5, n_layers + 0.5], "tickmode": "linear", "tick0": start, "dtick": step, "showgrid": False}


def interval_area(rows: Mapping[int, Row], colour: str, shown: Meta, place: Callable[[float], float] = float) -> Trace:
    """One closed outline per run of layers with an interval, so that an undefined layer leaves a gap.

    ``place`` says where on the axis a layer stands.
    """
    known = [
        layer
        for layer, row in rows.items()
        if defined(row["ci_low"]) is not None and defined(row["ci_high"]) is not None
    ]
    x: list[float | None] = []
    y: list[float | None] = []
    for first, last in runs_of_layers(known):
        layers = list(range(first, last + 1))
        widened = 0.06 if first == last else 0.0
        places = list(map(place, [first - widened, first + widened] if first == last else layers))
        layers = layers * 2 if first == last else layers
        x += [*places, *reversed(places), None]
        y += [*(plain_value(rows[layer]["ci_high"]) for layer in layers)]
        y += [*(plain_value(rows[layer]["ci_low"]) for layer in reversed(layers)), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": colour,
        "opacity": INTERVAL_OPACITY + 0.03,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
        "meta": dict(shown),
    }


def heat_map(
    x: Sequence[int | str],
    y: Sequence[int | str],
    z: Sequence[Sequence[float | None]],
    hover: list[list[str]],
    shown: Meta,
) -> Trace:
    """ρ in cells, z[row][column] with rows y; what a cell says when pointed at."""
    return {
        "type": "heatmap",
        "x": list(x),
        "y": list(y),
        "z": [list(line) for line in z],
        "hovertext": [[plotly_text(cell) for cell in line] for line in hover],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "colorscale": HEAT_MAP,
        "colorbar": colour_bar("ρ"),
        "xgap": 1,
        "ygap": 1,
        "meta": dict(shown),
    }


def numbered(trace: Trace, digits: int = 2) -> list[Trace]:
    """A heat map with the figures of its cells in them, where it is small enough.

    Two traces: the map with the light figures, and over it, in the same colours, the cells that dark ones can be read
    on. Plotly by itself writes grey on cells of middle lightness.
    """
    if max(len(trace["x"]), len(trace["y"])) > CELL_TEXT_LAYERS:
        return [trace]
    cells = np.array([[np.nan if cell is None else cell for cell in line] for line in trace["z"]])
    dark = takes_dark_ink(cells)
    texts = np.array([["" if cell is None else number(cell, digits) for cell in line] for line in trace["z"]])
    if np.isfinite(cells).any():
        trace = trace | {"zmin": float(np.nanmin(cells)), "zmax": float(np.nanmax(cells))}
    under, over = (
        trace
        | {"text": np.where(own, texts, "").tolist(), "texttemplate": "%{text}", "textfont": {"size": 11, "color": ink}}
        for own, ink in ((~dark, LIGHT_ON_CELL), (dark, DARK_ON_CELL))
    )
    shown = [
        [cell if own else None for cell, own in zip(*pair, strict=True)] for pair in zip(trace["z"], dark, strict=True)
    ]
    return [under, over | {"z": shown, "showscale": False}]


def legend_mark(style: LineStyle, label: str) -> dict[str, Any]:
    """A line of a legend in the page, for the macro ``swatch``: colours of both themes, dashes, label."""
    dashes = dash(style)
    return {
        "light": style.colour,
        "dark": DARK.get(style.colour, style.colour),
        "dashes": "" if dashes == "solid" else dashes,
        "label": label,
        "area": 0,
        "measure": None,
    }


def figure_layout(x: str, y: str) -> dict[str, Any]:
    """The layout of a figure with the titles of its two axes; a fresh one, to be added to."""
    axis = {
        "gridcolor": GRID,
        "linecolor": INK,
        "tickcolor": INK,
        "zerolinecolor": GRID,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "fixedrange": True,
    }
    return {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", "size": 13}
        | {"color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 16, "t": 12, "b": 52},
        "xaxis": {**axis, "title": {"text": x, "standoff": 8, "font": {"size": 13}}},
        "yaxis": {**axis, "title": {"text": y, "standoff": 8, "font": {"size": 13}}},
        "hoverlabel": {"bgcolor": GROUND, "bordercolor": INK, "font": {"color": INK}},
        "showlegend": False,
    }


def legend_above(layout: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a layout show the names of its traces, above the plot."""
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    return {
        "showlegend": True,
        "legend": {**legend, "bgcolor": "rgba(0,0,0,0)"},
        "margin": {**layout["margin"], "t": 36},
    }


def colour_bar(title: str) -> dict[str, Any]:
    """The scale beside a heat map."""
    return {
        "title": {"text": title, "font": {"size": 13}},
        "thickness": 12,
        "outlinewidth": 0,
        "len": 1,
        "xpad": 4,
        "ypad": 0,
    }


def plain_value(value: float | None) -> float | None:
    """A statistic to five decimals, None where it is undefined."""
    known = defined(value)
    return None if known is None else round(known, 5)
